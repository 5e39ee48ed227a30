"""What each of two processes does for the tests here: evaluate its share of the samples; results on disk."""

import sys
import warnings
from pathlib import Path

import torch
import torch.distributed as dist
from target_views import METRICS, make_views, measure, share_of
from tiny_classifier import predict, validate
from tiny_targets import predict_targets, validate_targets

from eztorch.models.metrics import SampleMean, ViewAverage
from eztorch.models.multi_label import MultiLabelScores
from eztorch.models.views import Aggregation

CLASSES, VIDEOS, VIEWS = 7, 11, 5
DDP = {"devices": 2, "strategy": "ddp"}


def metrics_of_share(rank):
    """Values by metric and way of sharing the views of test_metrics.py."""
    generator = torch.Generator().manual_seed(0)
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
        metrics = {"mean": ViewAverage(), "max": ViewAverage(Aggregation("max")), "samples": SampleMean()}
        for key, metric in metrics.items():
            mine = [part[share] for part in views]
            for batch in zip(*(part.split(4) for part in mine), strict=True):
                if len(batch[0]):
                    metric.update(*batch)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="The ``compute`` method of metric")
                results[key, name] = {measure: value.item() for measure, value in metric.compute().items()}
    return results


def multi_label_of_share(rank):
    """Values by reduction and way of sharing the views of test_multi_label.py."""
    generator = torch.Generator().manual_seed(1)
    idx = torch.arange(12).repeat_interleave(3)[torch.randperm(36, generator=generator)]
    labels = (torch.rand(12, CLASSES, generator=generator) < 0.3).float()
    labels[:, 6] = 0
    labels[2] = 0
    views = (2 * torch.randn(len(idx), CLASSES, generator=generator), labels[idx], idx)
    shares = {
        "interleaved": slice(rank, None, 2),
        "uneven": slice(0, 29) if rank == 0 else slice(29, None),
        "one_rank_without_samples": slice(None) if rank == 0 else slice(0, 0),
    }
    results = {}
    for name, share in shares.items():
        for reduction in (None, "mean", "max"):
            metric = MultiLabelScores(None if reduction is None else Aggregation(reduction))
            mine = [part[share] for part in views]
            for batch in zip(*(part.split(5) for part in mine), strict=True):
                if len(batch[0]):
                    metric.update(*batch)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="The ``compute`` method of metric")
                results[reduction, name] = {measure: value.item() for measure, value in metric.compute().items()}
    return results


def targets_of_share(rank):
    """Values by metric and way of sharing the views of test_target_scores.py."""
    shares = {
        "interleaved": slice(rank, None, 2),
        "uneven": slice(0, 41) if rank == 0 else slice(41, None),
        "one_rank_without_samples": slice(None) if rank == 0 else slice(0, 0),
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The ``compute`` method of metric")
        views = make_views()
        return {
            (metric, name): measure(metric, share_of(views, part))
            for name, part in shares.items()
            for metric in METRICS
        }


def main():
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    results = {
        "metrics": metrics_of_share(dist.get_rank()),
        "multi_label": multi_label_of_share(dist.get_rank()),
        "targets": targets_of_share(dist.get_rank()),
        "predict": {n: predict(Path(sys.argv[1]) / f"predictions_{n}", n, **DDP) for n in (7, 8, 9)},
        "predict_targets": predict_targets(Path(sys.argv[1]) / "predictions_targets", **DDP),
        "validate_targets": {name: validate_targets(name, **DDP) for name in (None, "avg_group")},
        "validate": {name: validate(name, **DDP) for name in (None, "avg_group", "same_max")},
    }
    torch.save(results, f"{sys.argv[1]}/{dist.get_rank()}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
