"""The section `scorecard` of a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eztorch.utils.errors import ConfigError
from eztorch.utils.values import as_count


@dataclass(frozen=True, kw_only=True)
class ScorecardSettings:
    """What a scorecard measures and shows.

    Attributes:
        protocols: Names of protocols, see `eztorch.engine.evaluation.scorecard.protocols`; None for all that fit.
        pictures: Whether the page has pictures.
        most_points: Samples in the picture of the features at most.
        num_queries: Queries whose neighbours are shown.
        num_failures: Most confident failures that are shown.
        num_maps: Samples whose class activation maps are shown.
    """

    protocols: Sequence[str] | None = None
    pictures: bool = True
    most_points: int = 2000
    num_queries: int = 6
    num_failures: int = 12
    num_maps: int = 3

    def __post_init__(self) -> None:
        if isinstance(self.protocols, str) or not isinstance(self.protocols, Sequence | None):
            raise ConfigError(f"scorecard.protocols={self.protocols!r}; expected a list of names, or null.")
        for name in ("most_points", "num_queries", "num_failures", "num_maps"):
            as_count(getattr(self, name), f"scorecard.{name}")
