"""Compares our bottleneck networks with pytorchvideo's, in a process of its own: importing pytorchvideo warns."""

import warnings

import torch

from eztorch.models.trunks import create_resnet3d_basic


def main():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pytorchvideo's imports alone
        from pytorchvideo.models.resnet import create_resnet

    torch.set_num_threads(1)
    torch.manual_seed(0)
    for depth in (50, 101):
        arguments = {"model_depth": depth, "stem_conv_kernel_size": (1, 7, 7), "head": None}
        theirs = create_resnet(**arguments, stem_dim_out=8)
        ours = create_resnet3d_basic(**arguments, stem_dim_out=8)
        ours.load_state_dict(theirs.state_dict())
        clips = torch.randn(2, 3, 4, 33, 32)
        for mode in (True, False):  # batch statistics, then the running ones that came of them
            torch.testing.assert_close(ours.train(mode)(clips), theirs.train(mode)(clips))
        with torch.device("meta"):
            for create in (create_resnet, create_resnet3d_basic):
                print(sum(p.numel() for p in create(**arguments).parameters()))


if __name__ == "__main__":
    main()
