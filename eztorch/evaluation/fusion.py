"""Late fusion: the predictions of several streams for the same videos, as one."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from eztorch.datasets.annotations import VIDEO_EXTENSIONS
from eztorch.evaluation.predictions import Predictions
from eztorch.utils.errors import ConfigError, DataError
from eztorch.utils.names import choose

_SHOWN = 5


def fuse(
    streams: Sequence[Predictions],
    weights: Sequence[float] | None = None,
    *,
    of: str = "probabilities",
    names: Sequence[str] | None = None,
) -> Predictions:
    """Average the predictions of several streams.

    With weights w_i that are scaled to a sum of 1, the probabilities of a video are sum_i w_i p_i; or, of logits,
    softmax(sum_i w_i log p_i), which is the softmax of the weighted mean of the logits where each p_i is the softmax of
    some. Where a video has several labels, the latter is sigmoid(sum_i w_i logit(p_i)).

    Args:
        streams: Two or more; see `match` for which of their videos belong together.
        weights: One a stream, none of them negative; equal when they are not given.
        of: `probabilities` or `logits`. A probability of 0 counts as the smallest normal float32 there.
        names: What messages call the streams; their numbers when they are not given.

    Returns:
        The fusion, with the videos, labels and names of the first stream.

    Raises:
        ConfigError: The weights cannot be.
        DataError: The streams are not about the same videos and labels.

    >>> zero = torch.tensor([0])
    >>> one, two = (Predictions(zero, zero, torch.tensor([p])) for p in ([0.9, 0.1], [0.3, 0.7]))
    >>> fuse([one, two], [1, 2]).scores
    tensor([[0.5000, 0.5000]])
    """
    choose({"probabilities": 0, "logits": 0}, of, "of")
    names = [f"stream {number}" for number in range(1, len(streams) + 1)] if names is None else names
    aligned = match(streams, names)
    shares = _shares(weights, len(streams))
    return replace(
        aligned[0],
        scores=combine([one.scores for one in aligned], shares, of=of, multi_label=aligned[0].multi_label),
        protocol={
            "fusion_of": list(names),
            "weights": shares,
            "of": of,
            "n_evaluated": len(aligned[0].idx),
            "n_expected": aligned[0].protocol.get("n_expected"),
            "streams": [dict(one.protocol) for one in aligned],
        },
        num_views=None,
        views=None,
    )


def combine(scores: Sequence[Tensor], shares: Sequence[float], *, of: str, multi_label: bool) -> Tensor:
    """Return the probabilities of a fusion, float32, shape (V, K); see `fuse`."""
    values = [one.double() for one in scores]
    if of == "logits":
        tiny = torch.finfo(torch.float32).tiny
        values = [_logit(one) if multi_label else one.clamp_min(tiny).log() for one in values]
    total = torch.stack([share * one for share, one in zip(shares, values, strict=True)]).sum(dim=0)
    if of == "logits":
        total = total.sigmoid() if multi_label else total.softmax(dim=1)
    return total.float()


def match(streams: Sequence[Predictions], names: Sequence[str]) -> list[Predictions]:
    """Bring the videos of all streams into the order of the first.

    Videos belong together by their name, which is compared without the extension of a video file: frames of it are a
    folder. Where a name stands for several videos, segments of one, or there are none, they do by their index.

    Args:
        streams: Two or more.
        names: What messages call them.

    Raises:
        DataError: A video is missing in one of them, has another label there, or the classes are others.
    """
    if len(streams) < 2:
        raise ConfigError(f"A fusion is one of two or more streams, not of {len(streams)}.")
    by_name = all(_names_are_unique(one) for one in streams)
    keys = [_names(one) if by_name else [str(place) for place in one.idx.tolist()] for one in streams]
    missing = [
        f"{name} lacks {len(lacking)} of {other}: {', '.join(lacking[:_SHOWN])}"
        for name, mine in zip(names, keys, strict=True)
        for other, theirs in zip(names, keys, strict=True)
        if (lacking := sorted(set(theirs) - set(mine)))
    ]
    if missing:
        raise DataError("The streams are not about the same videos. " + "; ".join(missing) + ".")
    aligned = [streams[0]]
    for name, one, mine in zip(names[1:], streams[1:], keys[1:], strict=True):
        place = {key: row for row, key in enumerate(mine)}
        aligned.append(_rows(one, [place[key] for key in keys[0]]))
        _check_agreement(aligned[0], aligned[-1], names[0], name, keys[0])
    return aligned


def weight_grid(num_streams: int, steps: int = 10) -> Iterator[tuple[float, ...]]:
    """Yield all weights of a fusion that are multiples of 1 / steps and sum to 1.

    >>> list(weight_grid(2, steps=2))
    [(0.0, 1.0), (0.5, 0.5), (1.0, 0.0)]
    """

    def parts(left: int, streams: int) -> Iterator[tuple[int, ...]]:
        if streams == 1:
            yield (left,)
            return
        for first in range(left + 1):
            yield from ((first, *rest) for rest in parts(left - first, streams - 1))

    yield from (tuple(part / steps for part in one) for one in parts(steps, num_streams))


def _shares(weights: Sequence[float] | None, count: int) -> list[float]:
    if weights is None:
        return [1 / count] * count
    if len(weights) != count:
        raise ConfigError(f"There are {count} streams and {len(weights)} weights; expected one a stream.")
    if min(weights) < 0 or sum(weights) <= 0:
        raise ConfigError(f"weights={list(weights)}; expected positive numbers, or 0 for a stream that is left out.")
    return [float(weight) / sum(weights) for weight in weights]


def _logit(probabilities: Tensor) -> Tensor:
    tiny = torch.finfo(torch.float32).tiny
    return probabilities.clamp_min(tiny).log() - (1 - probabilities).clamp_min(tiny).log()


def _names(stream: Predictions) -> list[str]:
    return [name[: -len(end)] if (end := _extension(name)) else name for name in stream.names]


def _extension(name: str) -> str:
    end = os.path.splitext(name)[1]
    return end if end.lower() in VIDEO_EXTENSIONS else ""


def _names_are_unique(stream: Predictions) -> bool:
    return bool(stream.names) and max(Counter(_names(stream)).values()) == 1


def _rows(stream: Predictions, rows: list[int]) -> Predictions:
    return replace(
        stream,
        idx=stream.idx[rows],
        labels=stream.labels[rows],
        scores=stream.scores[rows],
        names=tuple(stream.names[row] for row in rows) if stream.names else (),
        num_views=None,
        views=None,
    )


def _check_agreement(first: Predictions, other: Predictions, name: str, other_name: str, keys: Sequence[str]) -> None:
    if first.scores.shape != other.scores.shape or first.multi_label != other.multi_label:
        raise DataError(
            f"{name} has {first.scores.shape[1]} classes and {other_name} {other.scores.shape[1]}, or one of them has "
            "several labels a video; they do not go together."
        )
    if first.class_names and other.class_names and first.class_names != other.class_names:
        pairs = zip(first.class_names, other.class_names, strict=True)
        place, (mine, theirs) = next((place, pair) for place, pair in enumerate(pairs) if pair[0] != pair[1])
        raise DataError(f"Class {place} is {mine!r} in {name} and {theirs!r} in {other_name}.")
    differs = first.labels != other.labels
    rows = (differs.any(dim=1) if differs.ndim == 2 else differs).nonzero()
    if len(rows):
        raise DataError(
            f"{len(rows)} video(s) have other labels in {other_name} than in {name}, the first: {keys[int(rows[0])]}."
        )
    if first.names and other.names and _names(first) != _names(other):
        row = next(row for row, pair in enumerate(zip(_names(first), _names(other), strict=True)) if pair[0] != pair[1])
        raise DataError(
            f"Video {int(first.idx[row])} is {first.names[row]} in {name} and {other.names[row]} in {other_name}."
        )
