"""What a model said of each video, in a file: for measures, pictures and fusion that need no model.

V videos or images, K classes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from eztorch.utils.errors import DataError
from eztorch.utils.files import atomic_file

SUFFIX = ".safetensors"


class ViewScores(NamedTuple):
    """The views of the videos, each by itself, by video and then in the order of their crops.

    Attributes:
        idx: Index of the video of each view, shape (N,).
        clip_index: Which crop in time it is, shape (N,); 0 where that is not known.
        aug_index: Which crop in space it is, shape (N,); 0 where that is not known.
        scores: Its probabilities, float32, shape (N, K).
    """

    idx: Tensor
    clip_index: Tensor
    aug_index: Tensor
    scores: Tensor


class Unanswered(NamedTuple):
    """Samples that could not be read and count as wrong answers.

    Attributes:
        idx: Index of each, shape (W,).
        labels: Its labels, as in `Predictions`, shape (W,) or (W, K).
    """

    idx: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Predictions:
    """The probabilities of the videos of a split, each video once.

    Attributes:
        idx: Index of each video in its split, rising, int64, shape (V,).
        labels: Its class, -1 where there is none, int64, shape (V,); or, where a video has several, a weight of every
            class, float32, shape (V, K).
        scores: Its probabilities, float32, shape (V, K).
        names: What each is called, its path as the annotation has it, length V; empty where they have none.
        class_names: Names of the classes, length K; empty where they have none.
        protocol: How they came to be: plain values, nested at will.
        num_views: How many views each video has, shape (V,); None where that is not known.
        unanswered: Samples without scores that count as wrong answers; None for none.
        views: The views by themselves, where they were asked for.

    Raises:
        DataError: The shapes do not belong together.
    """

    idx: Tensor
    labels: Tensor
    scores: Tensor
    names: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    protocol: Mapping[str, Any] = field(default_factory=dict)
    num_views: Tensor | None = None
    unanswered: Unanswered | None = None
    views: ViewScores | None = None

    def __post_init__(self) -> None:
        videos, classes = self.scores.shape
        shapes = {
            "idx": tuple(self.idx.shape) == (videos,),
            "labels": tuple(self.labels.shape) in ((videos,), (videos, classes)),
            "names": len(self.names) in (0, videos),
            "class_names": len(self.class_names) in (0, classes),
            "num_views": self.num_views is None or tuple(self.num_views.shape) == (videos,),
        }
        wrong = [name for name, fits in shapes.items() if not fits]
        if wrong:
            raise DataError(
                f"Predictions of {videos} videos and {classes} classes have other sizes of {', '.join(wrong)}."
            )

    @property
    def multi_label(self) -> bool:
        """Whether a video has a weight for every class instead of one class."""
        return self.labels.ndim == 2

    @property
    def unanswered_labels(self) -> Tensor | None:
        """Labels of the samples without scores that count as wrong answers, shape (W,) or (W, K); None for none."""
        return None if self.unanswered is None else self.unanswered.labels

    def save(self, path: str | Path) -> None:
        """Write the tensors to a safetensors file, and the rest to the json file beside it, which has its digest.

        Args:
            path: The file, whose suffix is `.safetensors`. What is there is replaced.

        Raises:
            DataError: It has another suffix.
        """
        file = _checked(path)
        content = save(self._tensors())
        facts = {
            "sha256": hashlib.sha256(content).hexdigest(),
            "protocol": dict(self.protocol),
            "class_names": list(self.class_names),
            "names": list(self.names),
        }
        with atomic_file(file) as temporary:
            temporary.write_bytes(content)
        with atomic_file(file.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Predictions:
        """Read a file that `save` wrote, and the json file beside it.

        Raises:
            DataError: One of them is missing, cannot be read, or belongs to another.
        """
        file = _checked(path)
        content, facts = _read(file), _read_facts(file.with_suffix(".json"))
        if facts["sha256"] != hashlib.sha256(content).hexdigest():
            raise DataError(f"{file} and {file.with_suffix('.json').name} do not belong together; write them anew.")
        try:
            tensors = load(content)
            return cls(
                tensors["idx"],
                tensors["labels"],
                tensors["scores"],
                tuple(facts["names"]),
                tuple(facts["class_names"]),
                facts["protocol"],
                tensors.get("num_views"),
                _part(Unanswered, "unanswered", tensors),
                _part(ViewScores, "view", tensors),
            )
        except (SafetensorError, KeyError) as error:
            raise DataError(f"{file} is no file of predictions: {error}.") from error

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {"idx": self.idx.long(), "labels": self.labels, "scores": self.scores.float()}
        if self.num_views is not None:
            tensors["num_views"] = self.num_views.long()
        for prefix, part in (("unanswered", self.unanswered), ("view", self.views)):
            if part is not None:
                tensors |= {f"{prefix}_{name}": tensor for name, tensor in part._asdict().items()}
        # Whole tensors of their own: none shares its memory with another.
        return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


Part = TypeVar("Part", Unanswered, ViewScores)


def _part(kind: type[Part], prefix: str, tensors: Mapping[str, Tensor]) -> Part | None:
    names = [f"{prefix}_{name}" for name in kind._fields]
    return kind(*(tensors[name] for name in names)) if names[0] in tensors else None


def _checked(path: str | Path) -> Path:
    file = Path(path)
    if file.suffix != SUFFIX:
        raise DataError(f"{file}: predictions are in a file *{SUFFIX}, with a json file beside it.")
    return file


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        near = sorted(str(one) for one in path.parent.glob(f"*{SUFFIX}"))[:5] if path.parent.is_dir() else []
        hint = f" In that folder are: {', '.join(near)}." if near else ""
        raise DataError(f"{path} cannot be read: {error.strerror}.{hint}") from error


def _read_facts(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(_read(path))
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}.") from error
    missing = [key for key in ("sha256", "protocol", "class_names", "names") if key not in facts]
    if missing:
        raise DataError(f"{path} is not about predictions: it has no {', '.join(missing)}.")
    return dict(facts)
