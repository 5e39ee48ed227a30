"""VICReg, https://arxiv.org/abs/2105.04906."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from torch import Tensor
from typing_extensions import Unpack

from eztorch.losses import vicreg_terms
from eztorch.models.siamese.base import Scalars, SiameseKeys, SiameseModel
from eztorch.models.siamese.checks import not_negative
from eztorch.models.siamese.features import Features
from eztorch.modules import gather_with_gradient


@final
class VICRegModel(SiameseModel):
    """Bring views together, keep the variance of each feature and remove their covariance; no negatives, no target.

    Args:
        invariance: Weight of the distance of the views (lambda in the paper).
        variance: Weight of the variance (mu).
        covariance: Weight of the covariance (nu).
        **shared: Keys of every siamese method, see `SiameseModel`; `normalize_outputs` is false by default.

    Raises:
        ConfigError: A weight is negative, or the views are not compared both ways.
    """

    def __init__(
        self,
        *,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
        **shared: Unpack[SiameseKeys],
    ) -> None:
        shared.setdefault("sym", True)
        shared.setdefault("normalize_outputs", False)
        super().__init__(**shared)
        self.require_all_views()
        self.invariance = not_negative("invariance", invariance)
        self.variance = not_negative("variance", variance)
        self.covariance = not_negative("covariance", covariance)

    def compute_loss(
        self, queries: Mapping[int, Features], keys: Mapping[int, Tensor], batch: Mapping[str, Any]
    ) -> tuple[Tensor, Scalars]:
        """Weigh the three terms over the batch of all processes."""
        terms = vicreg_terms([gather_with_gradient(features.z[0]) for features in queries.values()])
        loss = self.invariance * terms.invariance + self.variance * terms.variance + self.covariance * terms.covariance
        return loss, {name: term.detach() for name, term in terms._asdict().items()}
