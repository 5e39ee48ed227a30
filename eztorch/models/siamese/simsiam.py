"""SimSiam: simple siamese representation learning, https://arxiv.org/abs/2011.10566."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from torch import Tensor
from typing_extensions import Unpack

from eztorch.losses import simsiam_loss
from eztorch.models.siamese.base import Scalars, SiameseKeys, SiameseModel
from eztorch.models.siamese.checks import check_both_ways
from eztorch.models.siamese.features import Features


@final
class SimSiamModel(SiameseModel):
    """Predict the projection of another view by the same networks; no negatives, no target.

    The predictor and the stopped gradient are what keeps it from collapsing.

    Args:
        **shared: Keys of every siamese method, see `SiameseModel`.

    Raises:
        ConfigError: A value is out of its range, or the views are not compared both ways.
    """

    def __init__(self, **shared: Unpack[SiameseKeys]) -> None:
        shared.setdefault("sym", True)
        super().__init__(**shared)
        check_both_ways(self.plan, type(self).__name__)

    def compute_loss(
        self, queries: Mapping[int, Features], keys: Mapping[int, Tensor], batch: Mapping[str, Any]
    ) -> tuple[Tensor, Scalars]:
        """Average the negative cosine over the pairs of views, of which one side takes no gradient."""
        loss = self.mean_over_pairs(queries, lambda q, view: simsiam_loss(q, queries[view].z.mean(dim=0)))
        return loss, {}
