"""The distance of BYOL and SimSiam: predictions and what they predict, on the unit sphere.

Papers: https://arxiv.org/abs/2006.07733 (BYOL), https://arxiv.org/abs/2011.10566 (SimSiam).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def byol_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Compute the mean squared distance of the normalised vectors (BYOL, eq. 2): 2 - 2 cos(prediction, target).

    Args:
        prediction: Predictions of the online branch, shape (B, D).
        target: What they predict, shape (B, D); takes no gradient.

    Returns:
        Mean over the batch, shape (), in float32 or finer, from 0 to 4.

    >>> import torch
    >>> byol_loss(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 3.0]]))
    tensor(2.)
    """
    return 2 + 2 * simsiam_loss(prediction, target)


def simsiam_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Compute the negative cosine of predictions and targets (SimSiam, eq. 1).

    Args:
        prediction: Predictions of one view, shape (B, D).
        target: Projections of the other, shape (B, D); takes no gradient.

    Returns:
        Mean over the batch, shape (), in float32 or finer, from -1 to 1.

    >>> import torch
    >>> simsiam_loss(torch.tensor([[2.0, 0.0]]), torch.tensor([[3.0, 0.0]]))
    tensor(-1.)
    """
    prediction, target = (x if x.dtype.itemsize > 2 else x.float() for x in (prediction, target.detach()))
    return -F.cosine_similarity(prediction, target, dim=1).mean()
