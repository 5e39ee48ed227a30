"""Accuracies and losses of samples that have several targets each, such as a verb and a noun.

B samples of a batch, K classes of a target. A label of -1 means that there is none: such samples are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from eztorch.models.evaluation_metric import NO_IDX, NO_ROWS, EvaluationMetric
from eztorch.models.metrics import hits
from eztorch.models.views import Aggregation, ViewTotals

_DEPTH = 5


def joint_hits(log_probabilities: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Say for which samples the labels together are among the k likeliest combinations of classes, k = 1 and 5.

    A combination is as likely as the product of the probabilities of its classes. As in the challenge of EPIC-Kitchens,
    any combination may be named, whether the data has it or not. So the first is right where the likeliest class of
    every target is.

    Args:
        log_probabilities: Of the classes of each target, shape (B, K).
        labels: Class of each target, shape (B,).

    Returns:
        `acc_1`, and `acc_5` when there are more than 5 combinations: booleans, shape (B,); False where a target has no
        label.

    >>> verbs, nouns = torch.tensor([[0.6, 0.4]]).log(), torch.tensor([[0.1, 0.7, 0.2]]).log()
    >>> joint_hits({"verb": verbs, "noun": nouns}, {"verb": torch.tensor([1]), "noun": torch.tensor([1])})
    {'acc_1': tensor([False]), 'acc_5': tensor([True])}
    """
    values = found = None
    for name, scores in log_probabilities.items():
        # None of the 5 best combinations has a class that is not among the 5 best of its target.
        best = scores.topk(min(_DEPTH, scores.shape[1]), dim=1)
        value, right = best.values.double(), best.indices == labels[name][:, None]
        if values is None or found is None:
            values, found = value, right
            continue
        sums = (values[:, :, None] + value[:, None]).flatten(1)
        order = sums.topk(min(_DEPTH, sums.shape[1]), dim=1).indices
        values, found = sums.gather(1, order), (found[:, :, None] & right[:, None]).flatten(1).gather(1, order)
    if found is None:
        return {}
    combinations = math.prod(scores.shape[1] for scores in log_probabilities.values())
    depths = [1, _DEPTH] if combinations > _DEPTH else [1]
    return {f"acc_{k}": found[:, :k].any(dim=1) for k in depths}


class TargetScores(EvaluationMetric):
    """Losses and accuracies of several targets, of samples or of videos whose views are first brought together.

    Of a target t, `compute` returns `{t}_loss`, `{t}_acc_1` and `{t}_acc_5` as `SampleMean` and `ViewAverage` do, over
    the samples with this label. `loss` is their weighted sum, `acc_1` and `acc_5` are of all targets at once
    (`joint_hits`), and `n_evaluated` is the number of different `idx` with any label; without one it is returned alone.
    The values are those of all processes, the same on each. A failure that counts as a wrong answer is wrong in every
    target.

    Args:
        weights: Of the loss of each target, by its name.
        aggregation: How the views of a video are brought together, for each target; None measures every sample by
            itself.
    """

    idx: list[Tensor]
    rows: list[Tensor]

    def __init__(self, weights: Mapping[str, float], aggregation: Aggregation | None = None) -> None:
        super().__init__()
        self.weights, self.aggregation = dict(weights), aggregation
        self.views = self._no_views()
        for name in ("idx", "rows"):
            self.add_state(name, [], dist_reduce_fx=None)

    def update(self, logits: Mapping[str, Tensor], labels: Mapping[str, Tensor], idx: Tensor) -> None:
        """Take the samples of a batch.

        Args:
            logits: Of each target, shape (B, K).
            labels: Of each target, shape (B,).
            idx: Index of the video or image of each sample, shape (B,).
        """
        for name, views in self.views.items():
            views.add(idx, labels[name], logits[name])
        if not self.views:
            self.idx.append(idx)
            self.rows.append(
                self._rows({name: logits[name].float().log_softmax(dim=1) for name in self.weights}, labels)
            )

    def reset(self) -> None:
        """Forget all samples."""
        super().reset()
        self.views = self._no_views()

    def compute(self) -> dict[str, Tensor]:
        """Return losses, accuracies and the number of videos or images.

        Raises:
            DataError: A video has more views than `Aggregation.max_views`.
        """
        if self.views:
            videos = {name: views.videos_of_all_processes(self.device) for name, views in self.views.items()}
            idx = next(iter(videos.values())).idx  # every video has all targets, so these are the same of each
            tiny = torch.finfo(torch.float64).tiny
            log_p = {name: video.scores.clamp_min(tiny).log() for name, video in videos.items()}
            rows = self._rows(log_p, {name: video.labels for name, video in videos.items()}) if len(idx) else None
        else:
            idx = self.of_all_processes(self.idx, NO_IDX)
            rows = self.of_all_processes(self.rows, NO_ROWS.double())
        return self._means(idx, rows if len(idx) else None, len(self.wrong_of_all_processes()))

    def _no_views(self) -> dict[str, ViewTotals]:
        return {} if self.aggregation is None else {name: ViewTotals(self.aggregation) for name in self.weights}

    def _rows(self, log_p: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> Tensor:
        """Return what is known of each sample, shape (N, 4 t + 3).

        For each of t targets, then for all at once: whether there is a label, the loss (not of all), acc_1, and acc_5,
        which is not a number where there are too few classes.
        """
        columns = []
        for name in self.weights:
            known, scores = labels[name] >= 0, log_p[name]
            loss = -scores.gather(1, labels[name].clamp(min=0)[:, None])[:, 0]
            columns += [known, torch.where(known, loss, 0), *_two(hits(scores, labels[name]))]
        known = torch.stack([labels[name] >= 0 for name in self.weights]).all(dim=0)
        columns += [known, *_two(joint_hits({name: log_p[name] for name in self.weights}, labels))]
        return torch.stack([column.double() for column in columns], dim=1)

    def _means(self, idx: Tensor, rows: Tensor | None, wrong: int) -> dict[str, Tensor]:
        """Return the means over what is known, to which wrong answers without a row come."""
        if rows is None:
            names = [*(f"{name}_acc_1" for name in self.weights), "acc_1"] if wrong else []
            return {**dict.fromkeys(names, torch.tensor(0.0)), "n_evaluated": torch.tensor(0.0)}
        values: dict[str, Tensor] = {}
        losses = []
        for place, (name, weight) in enumerate(self.weights.items()):
            known, loss, *found = rows[:, 4 * place : 4 * place + 4].unbind(1)
            if known.any():
                values[f"{name}_loss"] = loss.sum() / known.sum()
                losses.append(weight * values[f"{name}_loss"])
            values |= _accuracies(known, found, wrong, f"{name}_")
        known, *found = rows[:, -3:].unbind(1)
        values |= _accuracies(known, found, wrong, "")
        if losses:
            values["loss"] = torch.stack(losses).sum()
        labelled = rows[:, [4 * place for place in range(len(self.weights))]].any(dim=1)
        count = torch.tensor(float(len(idx[labelled].unique())))
        return {name: value.float() for name, value in values.items()} | {"n_evaluated": count}


def _two(found: Mapping[str, Tensor]) -> list[Tensor]:
    """Return the columns of acc_1 and acc_5."""
    first = found["acc_1"]
    return [first, found.get("acc_5", torch.full_like(first, math.nan, dtype=torch.float64))]


def _accuracies(known: Tensor, found: list[Tensor], wrong: int, prefix: str) -> dict[str, Tensor]:
    """Return the shares of the labels that are found, of those that are known or of failures."""
    count = known.sum() + wrong
    if not count:
        return {}
    depths = zip((1, _DEPTH), found, strict=True)
    return {f"{prefix}acc_{k}": (hit * known).sum() / count for k, hit in depths if not hit.isnan().any()}
