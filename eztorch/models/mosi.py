"""MoSI, motion learning from static images: https://arxiv.org/abs/2104.00240."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import Unpack

from eztorch.models.heads.linear import LinearHead
from eztorch.models.metrics import accuracies
from eztorch.models.pretext import PretextKeys, PretextModel
from eztorch.models.steps import apply_transform, seed_step
from eztorch.transforms.batch import PseudoMotions
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose

_HEADS = {"joint": False, "separate": True}


@final
class MoSIModel(PretextModel):
    """Tell apart camera motions that were made from a still.

    Every still gives a clip of each motion (see `PseudoMotions`), and the loss is the cross-entropy of a linear
    classifier of the motions: one over all of them, or one of the speeds along each axis, whose losses are added.

    Training gives the scalars `pretrain/loss` and `pretrain/acc_joint`, or `pretrain/acc_x` and `pretrain/acc_y`.

    Args:
        heads: `joint` or `separate`.
        dropout: Probability to drop a feature before a classifier.
        **keys: See `PretextModel`; the trunk takes clips, shape (B, 3, T, H, W), and tells its `num_features`, and
            `train_transform` is a `PseudoMotions` or the spec of one, run on the stills of a training batch.

    Raises:
        ConfigError: The trunk does not tell its features, the transform makes no pseudo motions, or other `heads`.
    """

    called: ClassVar = "MoSI"

    def __init__(self, *, heads: str = "joint", dropout: float = 0.5, **keys: Unpack[PretextKeys]) -> None:
        super().__init__(**keys)
        num_features = getattr(self.trunk, "num_features", None)
        if not isinstance(num_features, int):
            raise ConfigError(f"model.trunk is a {type(self.trunk).__name__} that does not tell its num_features.")
        if not isinstance(self.train_transform, PseudoMotions):
            raise ConfigError(
                f"model.train_transform is a {type(self.train_transform).__name__}; MoSI needs an "
                "eztorch.transforms.batch.PseudoMotions (transform@model.train_transform: pseudo_motions), whose "
                "still_transform and clip_transform take other transforms."
            )
        classes = motion_labels(self.train_transform.speeds, separate=choose(_HEADS, heads, "heads"))
        self.heads = nn.ModuleDict()
        for name, labels in classes.items():
            self.register_buffer(f"labels_{name}", labels, persistent=False)
            num_classes = int(labels.max()) + 1
            self.heads[name] = LinearHead(input_dim=num_features, output_dim=num_classes, dropout=dropout)
        self.chance_level = sum(_entropy(labels) for labels in classes.values())

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> dict[str, Any]:
        """Return the loss, the scalars, and as h the mean features of the clips of each still, shape (B, C)."""
        seed_step(self, batch_idx)
        clips: Tensor = apply_transform(self.train_transform, batch["input"])
        features = self(clips.flatten(0, 1))
        losses, scalars = [], {}
        for name, head in self.heads.items():
            logits, labels = head(features).float(), getattr(self, f"labels_{name}").repeat(len(clips))
            losses.append(functional.cross_entropy(logits, labels))
            scalars[f"pretrain/acc_{name}"] = accuracies(logits.detach(), labels)["acc_1"]
        loss = torch.stack(losses).sum()
        h = features.detach().unflatten(0, clips.shape[:2]).mean(dim=1)
        return {"loss": loss, "scalars": {"pretrain/loss": loss.detach(), **scalars}, "h": h}


def motion_labels(speeds: list[tuple[int, int]], *, separate: bool) -> dict[str, Tensor]:
    """Return the class of each of N motions for every classifier, int64, shape (N,).

    Args:
        speeds: Speeds (x, y) of the motions.
        separate: Whether a classifier tells the speed along each axis, or one tells the motions.

    >>> motion_labels([(-1, 0), (1, 0), (0, 0)], separate=False)
    {'joint': tensor([0, 1, 2])}
    >>> motion_labels([(-1, 0), (1, 0), (0, 0)], separate=True)
    {'x': tensor([0, 2, 1]), 'y': tensor([0, 0, 0])}
    """
    if not separate:
        return {"joint": torch.arange(len(speeds))}
    along = zip("xy", torch.tensor(speeds).unbind(1), strict=True)
    return {axis: speed - speed.min() for axis, speed in along}


def _entropy(labels: Tensor) -> float:
    """Return the loss of a classifier that knows how frequent the classes are, and nothing else."""
    shares = labels.bincount() / len(labels)
    return float(torch.special.entr(shares).sum())
