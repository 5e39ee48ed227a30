"""What the methods share that learn the sharpened scores of a teacher: temperatures, centre, prototypes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth
from typing_extensions import TypedDict

from eztorch.models.siamese.checks import above_zero, not_negative, share
from eztorch.models.siamese.schedules import WarmedTemperature
from eztorch.models.trunks.transformer import DropPath
from eztorch.modules import sum_over_processes


class SelfDistillationKeys(TypedDict, total=False):
    """Keys of these methods; `SelfDistillation` says what they mean."""

    temp: float
    temp_m: float
    start_warmup_temp_m: float
    warmup_epoch_temp_m: float
    centre_momentum: float
    freeze_last_layer_epochs: int


class SelfDistillation:
    """Temperatures, the centre's momentum, and how long the prototypes stay.

    Args:
        temp: Temperature of the student.
        temp_m: Temperature of the teacher after its warm-up.
        start_warmup_temp_m: The same at step 0 of the warm-up, which is linear.
        warmup_epoch_temp_m: Length of that warm-up in epochs.
        centre_momentum: Share of the centre that stays at an optimizer step.
        freeze_last_layer_epochs: Epochs at the beginning in which the prototypes stay as they are.

    Raises:
        ConfigError: A value is out of its range.
    """

    def __init__(
        self,
        *,
        temp: float = 0.1,
        temp_m: float = 0.04,
        start_warmup_temp_m: float = 0.04,
        warmup_epoch_temp_m: float = 0,
        centre_momentum: float = 0.9,
        freeze_last_layer_epochs: int = 1,
    ) -> None:
        self.temp = above_zero("temp", temp)
        self._temp_m = WarmedTemperature(
            temp_m, start=start_warmup_temp_m, epochs=warmup_epoch_temp_m, scheduler="linear"
        )
        self.centre_momentum = share("centre_momentum", centre_momentum)
        self.freeze_last_layer_epochs = not_negative("freeze_last_layer_epochs", freeze_last_layer_epochs)

    def temp_m_at(self, step: int, *, steps_per_epoch: int, total_steps: int) -> float:
        """Return the temperature of the teacher at an optimizer step."""
        return self._temp_m.at(step, steps_per_epoch=steps_per_epoch, total_steps=total_steps)

    def keep_prototypes(self, network: nn.Module | None, epoch: int) -> None:
        """Forget the gradients of what is named `prototypes` in a network, in the first epochs."""
        if network is None or epoch >= self.freeze_last_layer_epochs:
            return
        for name, parameter in network.named_parameters():
            if "prototypes" in name.split("."):
                parameter.grad = None


def keep_branches(teacher: nn.Module) -> None:
    """Let a teacher drop no residual branch: in DINO's and iBOT's code the student alone does.

    Args:
        teacher: Changed in place; of our trunks, and of those of torchvision, timm and pytorchvideo.
    """
    modules: Iterable[Any] = teacher.modules()
    for module in modules:
        if isinstance(module, DropPath):
            module.rate = 0.0
        elif isinstance(module, StochasticDepth):
            module.p = 0.0
        elif type(module).__name__ == "DropPath" and hasattr(module, "drop_prob"):  # timm's and pytorchvideo's
            module.drop_prob = 0.0


class TeacherOutputs:
    """What a teacher gave since the last optimizer step, for the centre, which it moves once a step."""

    def __init__(self) -> None:
        self._sums: list[Tensor] = []

    def clear(self) -> None:
        """Forget the outputs."""
        self._sums.clear()

    def add(self, outputs: Tensor, valid: Tensor | None = None) -> None:
        """Note the outputs of a batch.

        Args:
            outputs: Shape (R, K).
            valid: Which of them count, bool, shape (R,); None for all.
        """
        rows = outputs.float()
        if valid is not None:
            rows = rows * valid[:, None]
        number = rows.new_full((1,), len(rows)) if valid is None else valid.sum(dim=0, keepdim=True)
        self._sums.append(torch.cat([rows.sum(dim=0), number.to(rows.dtype)]))

    def move(self, centre: Tensor, momentum: float) -> None:
        """Move a centre towards the mean of the outputs of all processes (DINO, eq. 4), and forget them.

        Args:
            centre: Shape (K,), changed in place; it stays where there were no outputs.
            momentum: Share of it that stays.
        """
        total = sum_over_processes(torch.stack(self._sums).sum(dim=0))
        self.clear()
        mean = torch.where(total[-1] > 0, total[:-1] / total[-1].clamp_min(1), centre)
        centre.lerp_(mean, 1 - momentum)
