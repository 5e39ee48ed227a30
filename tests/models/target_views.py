"""Views of videos with a verb and a noun each, for test_target_scores.py and the processes that it looks at."""

import torch

from eztorch.models.target_scores import TargetScores
from eztorch.models.views import Aggregation

CLASSES = {"verb": 7, "noun": 4}
WEIGHTS = {"verb": 1.0, "noun": 0.5}
VIDEOS, VIEWS = 11, 5
METRICS = {None: None, "mean": Aggregation("mean"), "max": Aggregation("max")}


def make_views():
    """Logits (55, K) and labels (55,) by target, and the video of each view; shuffled, some labels are not known."""
    generator = torch.Generator().manual_seed(0)
    video = torch.arange(VIDEOS).repeat_interleave(VIEWS)[torch.randperm(VIDEOS * VIEWS, generator=generator)]
    logits = {name: 2 * torch.randn(len(video), k, generator=generator) for name, k in CLASSES.items()}
    labels = {name: torch.randint(k, (VIDEOS,), generator=generator) for name, k in CLASSES.items()}
    for name, label in labels.items():  # so that there is something right
        logits[name][torch.arange(len(video)), label[video]] += 1.5
    labels["verb"][3] = labels["noun"][3] = labels["noun"][5] = -1
    return logits, {name: label[video] for name, label in labels.items()}, 10 * video


def measure(metric_name, views, batch_size=4):
    """Values of a metric that is given some views, batch by batch."""
    metric = TargetScores(WEIGHTS, METRICS[metric_name])
    logits, labels, idx = views
    for start in range(0, len(idx), batch_size):
        part = slice(start, start + batch_size)
        metric.update({n: x[part] for n, x in logits.items()}, {n: x[part] for n, x in labels.items()}, idx[part])
    return {name: value.item() for name, value in metric.compute().items()}


def share_of(views, part):
    """Some of the views."""
    logits, labels, idx = views
    return {n: x[part] for n, x in logits.items()}, {n: x[part] for n, x in labels.items()}, idx[part]
