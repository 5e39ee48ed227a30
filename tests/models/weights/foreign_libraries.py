"""Loads weights of another library's networks into ours and compares what both compute; the argument names the library.

A process of its own, because some of these libraries warn when they are imported.
"""

import sys
import warnings

import torch

from eztorch.models.trunks import create_resnet, create_resnet3d_basic, create_slowfast, create_swin, create_vit
from eztorch.models.trunks.positions import sine_cosine_positions
from eztorch.models.weights import load_tensors

IMAGES, CLIPS = torch.randn(2, 3, 64, 64), torch.randn(2, 3, 8, 48, 48)


def stir(network):
    """Give statistics, scales and shifts values of their own, so that ones and zeros hide no mistake."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point() and value.ndim == 1:
                noise = torch.rand(value.shape, generator=generator)
                value.copy_(0.5 + noise if name.endswith(("weight", "running_var")) else 0.2 * (noise - 0.5))
    return network.eval()


def check(ours, theirs, state, x, forward=None, missing=()):
    report = load_tensors(ours, state)
    with torch.no_grad():
        expected = (forward or theirs)(x)
        torch.testing.assert_close(ours.eval()(x), expected, rtol=1e-4, atol=1e-4)
    assert tuple(report.missing) == missing, report
    return report


def timm():
    from timm import create_model

    net = stir(create_model("resnet26", num_classes=0))
    check(create_resnet_like(net), net, net.state_dict(), IMAGES)
    vit = stir(create_model("vit_tiny_patch16_224", num_classes=10, img_size=64, depth=2))
    with torch.no_grad():
        vit.pos_embed[:, :1] = 0
        vit.pos_embed[0, 1:] = sine_cosine_positions((4, 4), 192)
    ours = create_vit("tiny", depth=2, pool="token")
    report = check(ours, vit, vit.state_dict(), IMAGES, lambda x: vit.forward_features(x)[:, 0])
    assert report.left_over["pos_embed"] == "positions: this network has fixed ones"
    assert report.left_over["head.weight"] == "classifier"

    vit = stir(create_model("vit_tiny_patch16_224", num_classes=5, depth=2, dynamic_img_size=True))
    torch.nn.init.normal_(vit.pos_embed)
    options = {"depth": 2, "pool": "token", "positions": "learned", "num_classes": 5}
    for size in (224, 64):  # positions of another grid are interpolated when they are loaded, or in the forward pass
        ours = create_vit("tiny", **options, input_size=(size, size))
        report = check(ours, vit, vit.state_dict(), IMAGES)
        assert report.left_over == {}
        assert set(report.interpolated) == (set() if size == 224 else {"pos_embed"})
    for name, size, ours in (
        ("swin_tiny_patch4_window7_224", 224, create_swin("swin_t", num_classes=5)),
        ("swinv2_tiny_window8_256", 256, create_swin("swin_v2_t", num_classes=5)),
    ):
        swin = stir(create_model(name, num_classes=5))
        indices = tuple(key for key in ours.state_dict() if "relative_position_index" in key or "coords_table" in key)
        report = check(ours, swin, swin.state_dict(), torch.randn(1, 3, size, size), missing=indices)
        assert report.left_over == {}


def create_resnet_like(net):
    """A bottleneck network of ours with timm's depths (2, 2, 2, 2)."""
    from eztorch.models.trunks import resnet

    depths = tuple(len(getattr(net, f"layer{i}")) for i in range(1, 5))
    network = resnet._Network(resnet._BOTTLENECK, depths)
    return resnet.ResNet(network, num_classes=0, small_input=False)


def lightly():
    import torchvision
    from lightly.models import ResNetGenerator
    from lightly.models.modules import SimCLRProjectionHead
    from torch import nn

    class Method(nn.Module):
        def __init__(self, backbone):
            super().__init__()
            self.backbone = backbone
            self.projection_head = SimCLRProjectionHead(512, 64, 32)

    net = stir(torchvision.models.resnet18())
    cut = Method(nn.Sequential(*list(net.children())[:-1]))  # as in lightly's examples
    report = check(
        create_resnet("resnet18", num_classes=0), net, cut.state_dict(), IMAGES, lambda x: cut.backbone(x).flatten(1)
    )
    assert report.matched["layer4.1.bn2.bias"] == "backbone.7.1.bn2.bias"
    whole = nn.Module()
    net.fc = nn.Identity()
    whole.backbone = net
    check(create_resnet("resnet18", num_classes=0), net, whole.state_dict(), IMAGES)
    own = ResNetGenerator("resnet-18")
    features = stir(nn.Sequential(*list(own.children())[:-1], nn.AdaptiveAvgPool2d(1)))
    small = create_resnet("resnet18", num_classes=0, small_input=True)
    report = load_tensors(small, Method(features).state_dict())
    assert not report.missing, report
    assert report.matched["layer4.1.bn2.bias"] == "backbone.5.1.bn2.bias"


def pytorchvideo():
    from pytorchvideo.models.resnet import create_resnet as create_slow
    from pytorchvideo.models.slowfast import create_slowfast as create_theirs

    options = {"model_depth": 50, "stem_conv_kernel_size": (1, 7, 7), "stem_dim_out": 8}
    slow = stir(create_slow(**options, head=None))
    check(create_resnet3d_basic(**options), slow, slow.state_dict(), CLIPS)
    # With a pooling between the stages, as I3D, the numbers of its blocks are others than ours.
    pooled = stir(create_slow(**options, stage1_pool=torch.nn.MaxPool3d, stage1_pool_kernel_size=(2, 1, 1), head=None))
    ours = create_resnet3d_basic(**options, stage1_pool=(2, 1, 1))
    check(ours, pooled, pooled.state_dict(), CLIPS)
    assert "blocks.5.res_blocks.0.branch2.conv_a.weight" in pooled.state_dict()
    report = load_tensors(create_resnet3d_basic(**options), pooled.state_dict())
    assert not report.missing
    sizes = {
        "slowfast_channel_reduction_ratio": 8,
        "stem_dim_outs": (16, 2),
        "head_pool_kernel_sizes": ((2, 2, 2), (8, 2, 2)),
    }
    both = stir(create_theirs(**sizes, model_num_class=5))
    ours = create_slowfast(stem_dim_out=16, lateral_kernel=7, num_classes=5)
    clips = torch.randn(1, 3, 8, 48, 48)
    check(ours, both, both.state_dict(), clips, lambda x: both([x[:, :, ::4], x]))


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.set_num_threads(1)
        torch.manual_seed(0)
        {"timm": timm, "lightly": lightly, "pytorchvideo": pytorchvideo}[sys.argv[1]]()
    print("equal")
