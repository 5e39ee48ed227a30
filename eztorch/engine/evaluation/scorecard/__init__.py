"""The task `scorecard`: a checkpoint measured by every protocol that fits it and its data."""

from eztorch.engine.evaluation.scorecard.scoring import scorecard

__all__ = ["scorecard"]
