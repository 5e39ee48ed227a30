"""Noticing, while there is time to stop, that a run does not learn."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from eztorch.callbacks.scalars import ScalarSource
from eztorch.evaluation.health import effective_rank, feature_std

_FEATURE_NAMES = ("h", "z")


class CollapseMonitor(ScalarSource):
    """Watches the features of the training steps and warns once when they look collapsed.

    Written with the scalars of the steps, from the newest `rows` rows of this rank:

    * `health/std`: standard deviation of the L2-normalised projections `z`, mean over the D dimensions. Spread evenly
      over the sphere they have 1/sqrt(D); 0 is a constant.
    * `health/effective_rank` of `z` and `health/effective_rank_h` of `h`: number of directions that the features use
      (RankMe, arXiv 2210.02885); 1 is a line.
    * `health/loss_over_chance`: loss divided by `pl_module.chance_level` (the loss of a model that tells nothing
      apart), where the module has one.

    The warning comes after `patience` readings in a row that show collapse or are not finite, the first `warmup_steps`
    steps left out: an untrained network often looks collapsed.

    Args:
        rows: Number of feature rows that a reading is made of.
        every_n_steps: Optimizer steps between two readings, at least.
        warmup_steps: Optimizer steps before a reading counts.
        patience: Number of readings in a row that it takes to warn.
        min_std: Collapse is a `health/std` below this share of 1/sqrt(D).
        min_rank: Collapse is an effective rank of `z` below this.
        max_loss: Collapse is a loss above this share of the chance level.
    """

    def __init__(
        self,
        *,
        rows: int = 1024,
        every_n_steps: int = 100,
        warmup_steps: int = 300,
        patience: int = 3,
        min_std: float = 0.1,
        min_rank: float = 1.5,
        max_loss: float = 0.99,
    ) -> None:
        self._rows = rows
        self._every_n_steps = every_n_steps
        self._warmup_steps = warmup_steps
        self._patience = patience
        self._min_std, self._min_rank, self._max_loss = min_std, min_rank, max_loss
        self._features: dict[str, deque[Tensor]] = {name: deque() for name in _FEATURE_NAMES}
        self._losses: list[Tensor] = []
        self._dimension = 0
        self._last_step = -1
        self._bad_readings = 0
        self._has_warned = False

    def observe(self, outputs: Any, batch: Any) -> None:
        """Keep the newest features and the loss; nothing is computed here."""
        if not isinstance(outputs, Mapping):
            return
        for name, kept in self._features.items():
            if outputs.get(name) is not None:
                kept.append(outputs[name])
                while len(kept) * len(kept[0]) - len(kept[0]) >= self._rows:
                    kept.popleft()
        self._losses.append(outputs["loss"])

    def collect(self, trainer: Trainer, pl_module: LightningModule) -> Mapping[str, float]:
        """Return a reading of this rank, or nothing when the last one is not old enough."""
        if self._last_step >= 0 and trainer.global_step - self._last_step < self._every_n_steps:
            return {}
        self._last_step = trainer.global_step
        reading = self._read(trainer, pl_module)
        if trainer.global_step >= self._warmup_steps:
            self._judge(reading, trainer.global_step)
        return reading

    @torch.no_grad()
    def _read(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, float]:
        reading: dict[str, float] = {}
        features = {name: torch.cat(list(kept)) for name, kept in self._features.items() if kept}
        if "z" in features:
            self._dimension = features["z"].shape[1]
            reading["health/std"] = float(feature_std(features["z"]))
            reading["health/effective_rank"] = float(effective_rank(features["z"]))
        if "h" in features:
            reading["health/effective_rank_h"] = float(effective_rank(features["h"]))
        chance = getattr(pl_module, "chance_level", None)
        if chance is not None and self._losses:
            # Lightning divides the loss of a batch by the number of batches that make an optimizer step.
            loss = torch.stack(self._losses).float().mean() * trainer.accumulate_grad_batches
            reading["health/loss_over_chance"] = float(loss) / float(chance)
        self._losses.clear()
        return reading

    def _judge(self, reading: Mapping[str, float], step: int) -> None:
        signs = [f"{name} is {value}" for name, value in reading.items() if not math.isfinite(value)]
        if "health/std" in reading:
            healthy = 1 / math.sqrt(self._dimension)
            if reading["health/std"] < self._min_std * healthy:
                signs.append(
                    f"the standard deviation of the projections is {reading['health/std']:.2g} "
                    f"(evenly spread they have {healthy:.2g})"
                )
            if reading["health/effective_rank"] < self._min_rank:
                signs.append(
                    f"their effective rank is {reading['health/effective_rank']:.2f} of {self._dimension} dimensions"
                )
        if reading.get("health/loss_over_chance", 0.0) > self._max_loss:
            signs.append(f"the loss is {reading['health/loss_over_chance']:.1%} of its chance level")
        self._bad_readings = self._bad_readings + 1 if signs else 0
        if self._bad_readings >= self._patience and not self._has_warned:
            self._has_warned = True
            rank_zero_warn(
                f"The model looks collapsed at step {step}: {'; '.join(signs)}; so in each of the last "
                f"{self._bad_readings} readings. Look at the learning rate, the temperatures and the augmentations."
            )
