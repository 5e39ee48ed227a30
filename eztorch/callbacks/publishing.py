"""How callbacks hand numbers over: to the loggers, to the checkpoint callback and to the progress bar, in one place."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_info


def publish(trainer: Trainer, metrics: Mapping[str, float], *, to_loggers: bool = True) -> None:
    """Hand over metrics that are the same on every rank.

    They stand in `trainer.callback_metrics` afterwards, where `ModelCheckpoint(monitor=...)` looks for them, and losses
    in `trainer.progress_bar_metrics`. The loggers get them at the index of the last optimizer step, counted from 0.

    Args:
        trainer: Whose loggers to write to.
        metrics: Numbers by name.
        to_loggers: False updates the callback metrics alone.
    """
    if not metrics:
        return
    trainer.callback_metrics.update({name: torch.tensor(value) for name, value in metrics.items()})
    trainer.progress_bar_metrics.update({n: float(v) for n, v in metrics.items() if n.endswith("/loss")})
    if to_loggers:
        step = max(trainer.global_step - 1, 0)
        for logger in trainer.loggers:
            logger.log_metrics({**metrics, "epoch": trainer.current_epoch}, step=step)
            logger.save()


def say(trainer: Trainer, text: str) -> None:
    """Tell the user something, once and above the progress bar where there is one."""
    bar = trainer.progress_bar_callback
    if bar is None:
        rank_zero_info(text)
    elif trainer.is_global_zero:
        bar.print(text)


class WritingSteps:
    """Tells after which optimizer steps numbers are written: the first, then every `trainer.log_every_n_steps`."""

    def __init__(self) -> None:
        self._last_step = 0

    def start(self, trainer: Trainer) -> None:
        """Begin at the step that the trainer stands at."""
        self._last_step = trainer.global_step

    def is_due(self, trainer: Trainer) -> bool:
        """Say, after a batch, whether it ended an optimizer step after which to write."""
        step = trainer.global_step
        if step == self._last_step:  # the gradients of this batch are still being accumulated
            return False
        self._last_step = step
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # a connector sets it
        return every > 0 and (step == 1 or step % every == 0)
