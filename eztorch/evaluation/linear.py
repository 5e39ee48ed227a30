"""Many linear classifiers on the same features, trained side by side.

N samples with features of length C, K classes, G heads, each with a learning rate and a weight decay of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from eztorch.schedulers.schedules import warmed_up
from eztorch.utils.errors import ConfigError

_INIT_STD = 0.01  # of the weights, as in `eztorch.models.heads.LinearHead`
_MAX_LOGITS = 2**26  # in memory at a time: 256 MiB of float32


class LinearHeads(NamedTuple):
    """Linear classifiers of the same features.

    Attributes:
        weight: Shape (G, K, C).
        bias: Shape (G, K).
    """

    weight: Tensor
    bias: Tensor

    def logits(self, features: Tensor) -> Tensor:
        """Return the logits of all heads, shape (N, G, K), of features, shape (N, C), in one product of matrices."""
        heads, classes, length = self.weight.shape
        flat: Tensor = torch.addmm(self.bias.flatten(), features, self.weight.reshape(heads * classes, length).T)
        return flat.view(len(features), heads, classes)


class Standardization(NamedTuple):
    """Shift and scale that give the features of a training set mean 0 and standard deviation 1.

    Attributes:
        mean: Shape (C,).
        std: Shape (C,).
    """

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, features: Tensor) -> Standardization:
        """Measure features, shape (N, C); one that never changes is left as it is, but for its mean."""
        std = features.std(dim=0, correction=0)
        return cls(features.mean(dim=0), torch.where(std > 0, std, torch.ones_like(std)))

    def __call__(self, features: Tensor) -> Tensor:
        """Return the features, shape (N, C), shifted and scaled."""
        return (features - self.mean) / self.std


@torch.no_grad()
def fit_linear_heads(
    features: Tensor,
    labels: Tensor,
    learning_rates: Tensor,
    weight_decays: Tensor,
    *,
    num_classes: int,
    epochs: int,
    batch_size: int,
    warmup_epochs: float = 0.0,
    momentum: float = 0.9,
    seed: int = 0,
) -> LinearHeads:
    """Train a head for every pair of a learning rate and a weight decay.

    Each head is what `torch.optim.SGD` makes of `nn.Linear` with its own rate and decay, trained with cross-entropy,
    the rate warmed up and then lowered along a cosine to 0. All see the same batches and begin with the same weights
    (normal, standard deviation 0.01, biases 0). A step is two products of matrices for all of them: the gradient of
    the cross-entropy is `softmax(logits) - one_hot(label)`.

    Args:
        features: Shape (N, C), on the device to train on.
        labels: Classes, shape (N,); samples labelled -1 are left out.
        learning_rates: Rate of each head, shape (G,).
        weight_decays: Weight decay of each head, shape (G,).
        num_classes: K.
        epochs: Passes over the samples.
        batch_size: Samples of a step; the last one of an epoch may have fewer.
        warmup_epochs: Length of the warm-up from rate 0.
        momentum: Of SGD.
        seed: Of the first weights and of the order of the samples.

    Raises:
        ConfigError: There is nothing to learn from, or the rates and decays are not as many.

    >>> features, labels, rates = torch.eye(2), torch.tensor([0, 1]), torch.tensor([1.0, 1e-6])
    >>> heads = fit_linear_heads(features, labels, rates, torch.zeros(2), num_classes=2, epochs=9, batch_size=2)
    >>> heads.logits(features).shape, heads.logits(features)[:, 0].argmax(1).tolist()
    (torch.Size([2, 2, 2]), [0, 1])
    """
    labelled = labels >= 0
    if not labelled.all():  # features may be large, so they are copied where it is needed alone
        features, labels = features[labelled], labels[labelled]
    features, labels = features.float(), labels.long()
    if not len(features):
        raise ConfigError("There is no sample with a label to fit linear heads on.")
    if learning_rates.shape != weight_decays.shape:
        raise ConfigError(f"{len(learning_rates)} learning rates and {len(weight_decays)} weight decays of heads.")
    heads, length, device = len(learning_rates), features.shape[1], features.device
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(num_classes, length, generator=generator).mul_(_INIT_STD).to(device)
    found = LinearHeads(first.repeat(heads, 1, 1), torch.zeros(heads, num_classes, device=device))
    velocity = LinearHeads(torch.zeros_like(found.weight), torch.zeros_like(found.bias))
    rates, decays = learning_rates.to(features)[:, None], weight_decays.to(features)[:, None]
    steps = -(-len(features) // batch_size)
    for step in range(epochs * steps):
        if step % steps == 0:
            order = torch.randperm(len(features), generator=generator).to(device).split(batch_size)
        rows = order[step % steps]
        gradient = _gradient(found, features[rows], labels[rows])
        factor = warmed_up(step, warmup=warmup_epochs * steps, total=epochs * steps, start=0.0, base=1.0, end=0.0)
        for weight, moving, change in zip(found, velocity, gradient, strict=True):
            # As rows of heads, so that each has its own rate and decay.
            weight, moving, change = (part.flatten(1) for part in (weight, moving, change))
            moving.mul_(momentum).add_(change.addcmul_(decays, weight))
            weight.addcmul_(rates, moving, value=-factor)
    return found


def _gradient(heads: LinearHeads, features: Tensor, labels: Tensor) -> LinearHeads:
    """Return the gradient of the mean cross-entropy of a batch for every head."""
    error = heads.logits(features).softmax(dim=2)
    error[torch.arange(len(labels), device=labels.device), :, labels] -= 1
    error /= len(labels)
    return LinearHeads((error.flatten(1).T @ features).view_as(heads.weight), error.sum(dim=0))


@torch.no_grad()
def head_accuracies(heads: LinearHeads, features: Tensor, labels: Tensor, *, num_wrong: int = 0) -> Tensor:
    """Measure every head.

    Args:
        heads: G of them.
        features: Shape (N, C).
        labels: Classes, shape (N,); samples labelled -1 are left out.
        num_wrong: Further samples that count as wrong answers.

    Returns:
        Top-1 and top-5 accuracy of each head, shape (G, 2); not a number for top-5 of 5 classes or fewer, and without
        any sample.
    """
    num_heads, classes = heads.bias.shape
    labelled = int((labels >= 0).sum())
    correct = torch.zeros(num_heads, 2, device=features.device)
    for logits, answers in _in_parts(heads, features, labels):
        hits = logits.topk(min(5, classes), dim=2).indices == answers[:, None, None]
        correct += torch.stack([hits[..., 0].sum(dim=0), hits.any(dim=2).sum(dim=0)], dim=1)
    found = correct / (labelled + num_wrong) if labelled else correct * torch.nan
    if classes <= 5:
        found[:, 1] = torch.nan
    return found


@torch.no_grad()
def head_losses(heads: LinearHeads, features: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of every head, shape (G,): infinite where it diverged, or no sample has a label.

    Args:
        heads: G of them.
        features: Shape (N, C).
        labels: Classes, shape (N,); samples labelled -1 are left out.
    """
    total = torch.zeros(len(heads.bias), device=features.device)
    for logits, answers in _in_parts(heads, features, labels):
        every = answers[:, None].expand(-1, len(heads.bias))
        total += F.cross_entropy(logits.transpose(1, 2), every, reduction="none").sum(dim=0)
    return (total / (labels >= 0).sum()).nan_to_num(nan=torch.inf, posinf=torch.inf)


def _in_parts(heads: LinearHeads, features: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield logits, shape (n, G, K), and labels, shape (n,), of the samples that have one, as many as fit in memory."""
    labelled = labels >= 0
    size = max(1, _MAX_LOGITS // max(1, heads.bias.numel()))
    for part, answers in zip(features[labelled].split(size), labels[labelled].split(size), strict=True):
        yield heads.logits(part.float()), answers


def held_out_rows(count: int, share: float, seed: int = 0) -> Tensor:
    """Say which samples are held out of training to choose by.

    Args:
        count: Number of samples N.
        share: How many of them, between 0 and 1.
        seed: Of the draw.

    Returns:
        Booleans, shape (N,), at least one of them True and one False.

    Raises:
        ConfigError: The share leaves nothing on one side.

    >>> held_out_rows(10, 0.3).sum().item()
    3
    """
    size = max(1, round(share * count))
    if not 0 < share < 1 or size >= count:
        raise ConfigError(f"held_out={share} of {count} samples leaves nothing to train on or to choose by.")
    rows = torch.zeros(count, dtype=torch.bool)
    rows[torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:size]] = True
    return rows
