"""What each of two processes does for test_metrics.py: metrics of its share of the views; results on disk."""

import sys
import warnings

import torch
import torch.distributed as dist

from eztorch.models.metrics import SampleMean, ViewAverage

CLASSES, VIDEOS, VIEWS = 7, 11, 5


def main():
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    generator = torch.Generator().manual_seed(0)  # the views of test_metrics.py
    idx = torch.arange(VIDEOS).repeat_interleave(VIEWS)[torch.randperm(VIDEOS * VIEWS, generator=generator)]
    labels = torch.randint(CLASSES, (VIDEOS,), generator=generator)
    labels[3] = -1
    views = (3 * torch.randn(len(idx), CLASSES, generator=generator), labels[idx], idx * 10)
    shares = {
        "interleaved": slice(rank, None, 2),
        "uneven": slice(0, 41) if rank == 0 else slice(41, None),
        "one_rank_without_samples": slice(None) if rank == 0 else slice(0, 0),
        "no_samples": slice(0, 0),
    }
    results = {}
    for name, share in shares.items():
        for metric, key in ((ViewAverage(), "mean"), (ViewAverage(reduction="max"), "max"), (SampleMean(), "samples")):
            mine = [part[share] for part in views]
            for batch in zip(*(part.split(4) for part in mine), strict=True):
                if len(batch[0]):
                    metric.update(*batch)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="The ``compute`` method of metric")
                results[key, name] = {measure: value.item() for measure, value in metric.compute().items()}
    torch.save(results, f"{sys.argv[1]}/{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
