"""How much of their space features use."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def feature_std(features: Tensor) -> Tensor:
    """Return the standard deviation of L2-normalised features, mean over their dimensions.

    Features that are spread evenly over the sphere have 1/sqrt(D), identical ones 0 (SimSiam, arXiv 2011.10566,
    section 4.1).

    Args:
        features: Shape (N, D).

    >>> feature_std(torch.eye(4)).item()
    0.5
    """
    normalised = functional.normalize(features.float(), dim=1)
    return normalised.std(dim=0).mean()


def effective_rank(features: Tensor) -> Tensor:
    """Return the number of directions that features use: RankMe (arXiv 2210.02885, equation 1).

    It is exp(-sum_k p_k log p_k), the singular values s of the matrix of features giving p_k = s_k / sum(s). The
    singular values come from the smaller Gram matrix in float64, which is several times faster than decomposing the
    features.

    Args:
        features: Shape (N, D).

    Returns:
        Between 1 and min(N, D); NaN when all features are 0 or one is not finite.

    >>> round(effective_rank(torch.eye(8)[:3]).item(), 4)
    3.0
    """
    matrix = (features.cpu() if features.device.type == "mps" else features).double()  # Metal has no float64
    gram = matrix @ matrix.T if len(matrix) < matrix.shape[1] else matrix.T @ matrix
    if not bool(gram.isfinite().all()):
        return gram.new_tensor(torch.nan)
    singular = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt()
    p = singular / singular.sum()
    rank: Tensor = torch.special.entr(p).sum().exp()
    return rank
