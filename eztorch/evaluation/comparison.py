"""Comparing two sets of features on disk: every process takes a share of the queries, and all learn what was found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from eztorch.evaluation.feature_store import FeatureSet, FeatureStore, blocks
from eztorch.evaluation.knn import knn_vote
from eztorch.evaluation.neighbours import BANK_ROWS, Neighbours, nearest_neighbours
from eztorch.evaluation.retrieval import average_precisions, mean_feature, prepared
from eztorch.utils.distributed import all_gather_uneven, rank, world_size
from eztorch.utils.errors import DataError

_MOST_CLASSES = 5  # of a prediction that are kept


@dataclass(frozen=True)
class Preparation:
    """What is done to a set of features before it is compared.

    Attributes:
        center: Take the mean of the bank off; of the queries too, so that both are seen from one point.
        normalize: Divide by the L2 norm afterwards, so that similarities are cosines.
    """

    center: bool = False
    normalize: bool = True


class Retrieved(NamedTuple):
    """What `retrieve` found.

    Attributes:
        neighbours: Of every query, in the order of the queries.
        average_precisions: Of every query, shape (M,); None where it was not asked for.
    """

    neighbours: Neighbours
    average_precisions: Tensor | None


def check_comparable(query: FeatureSet, bank: FeatureSet) -> None:
    """Check that neighbours of one set can be looked for in another.

    Raises:
        DataError: One is empty, has several labels or several rows for a sample, or they are of different lengths.
    """
    for one in (query, bank):
        if not len(one):
            raise DataError(f"{one.source}: there are no features in it.")
        if one.labels.ndim != 1:
            raise DataError(f"{one.source}: its samples have several labels, and neighbours are compared by one class.")
        if isinstance(one, FeatureStore) and one.clips != "average":
            raise DataError(
                f"{one.source}: it has a row for every clip, and neighbours are samples. Extract with "
                "extract.clips=average."
            )
    dims = [one.rows(0, 1).shape[1] for one in (query, bank)]
    if dims[0] != dims[1]:
        raise DataError(
            f"Features of {query.source} have {dims[0]} values and those of {bank.source} {dims[1]}: they are of "
            "different models."
        )
    if not bool((bank.labels >= 0).any()):
        raise DataError(f"{bank.source}: none of its {len(bank)} samples has a label.")


def classify(
    query: FeatureSet,
    bank: FeatureSet,
    *,
    ks: Sequence[int],
    temperatures: Sequence[float],
    num_classes: int,
    device: torch.device,
) -> dict[tuple[int, float], Tensor]:
    """Classify queries by the votes of their neighbours, for several numbers of neighbours and temperatures.

    Similarities are computed once, whatever the number of combinations; see `eztorch.evaluation.knn.knn_predict`. Where
    query and bank are one set, a sample is not its own neighbour.

    Args:
        query: What is classified.
        bank: The neighbours; those without a label do not vote.
        ks: Numbers of neighbours.
        temperatures: Of the votes.
        num_classes: Number of classes.
        device: Where it is computed.

    Returns:
        By number of neighbours and temperature the best classes of all queries, shape (M, 5) or with fewer classes
        (M, num_classes).
    """
    voters = (bank.labels >= 0).nonzero().squeeze(1)
    nearest = _neighbours_of_mine(query, bank, voters, max(ks), (Preparation(), Preparation()), device)
    labels = bank.labels[voters].to(device)[nearest.rows].long()
    found = {}
    for k in ks:
        for temperature in temperatures:
            votes = knn_vote(nearest.similarity[:, :k], labels[:, :k], temperature=temperature, num_classes=num_classes)
            found[k, temperature] = all_gather_uneven(votes[:, :_MOST_CLASSES].contiguous()).cpu()
    return found


def retrieve(
    query: FeatureSet,
    bank: FeatureSet,
    *,
    k: int,
    sides: tuple[Preparation, Preparation],
    mean_average_precision: bool,
    device: torch.device,
) -> Retrieved:
    """Find the nearest samples of a bank for every query; where both are one set, a sample does not find itself.

    Args:
        query: What is looked for.
        bank: Where.
        k: How many neighbours.
        sides: How the queries and how the bank are prepared.
        mean_average_precision: Order the whole bank for every query too.
        device: Where it is computed.
    """
    everyone = torch.arange(len(bank))
    nearest = _neighbours_of_mine(query, bank, everyone, k, sides, device)
    precisions = None
    if mean_average_precision:
        centre = mean_feature(bank) if any(side.center for side in sides) else None
        begin, end = _share(len(query))
        ids = _ids(query, bank, everyone)
        own = average_precisions(
            _prepare(query.rows(begin, end).to(device), sides[0], centre),
            query.labels[begin:end],
            bank,
            bank.labels,
            centre=centre if sides[1].center else None,
            normalize=sides[1].normalize,
            query_ids=None if ids is None else ids[0][begin:end],
            bank_ids=None if ids is None else ids[1],
        )
        precisions = all_gather_uneven(own).cpu()
    return Retrieved(Neighbours(*(all_gather_uneven(part).cpu() for part in nearest)), precisions)


def _neighbours_of_mine(
    query: FeatureSet,
    bank: FeatureSet,
    members: Tensor,
    k: int,
    sides: tuple[Preparation, Preparation],
    device: torch.device,
) -> Neighbours:
    """Return the neighbours of the queries of this process; their rows count the members of the bank."""
    centre = mean_feature(bank) if any(side.center for side in sides) else None
    begin, end = _share(len(query))
    ids = _ids(query, bank, members)
    return nearest_neighbours(
        _prepare(query.rows(begin, end).to(device), sides[0], centre),
        (_prepare(block.to(device), sides[1], centre) for block in _blocks_of(bank, members)),
        k=k,
        query_ids=None if ids is None else ids[0][begin:end],
        bank_ids=None if ids is None else ids[1],
    )


def _prepare(features: Tensor, side: Preparation, centre: Tensor | None) -> Tensor:
    return prepared(features, centre=centre if side.center else None, normalize=side.normalize)


def _share(length: int) -> tuple[int, int]:
    """Return the first query of this process and the one behind its last."""
    return length * rank() // world_size(), length * (rank() + 1) // world_size()


def _ids(query: FeatureSet, bank: FeatureSet, members: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return what tells that a query is a member of the bank; None for sets that are not the same."""
    return (query.idx, bank.idx[members]) if query.source == bank.source else None


def _blocks_of(bank: FeatureSet, members: Tensor) -> Iterator[Tensor]:
    """Read the members of a bank a block at a time."""
    is_member = torch.zeros(len(bank), dtype=torch.bool)
    is_member[members] = True
    for block, chosen in zip(blocks(bank, BANK_ROWS), is_member.split(BANK_ROWS), strict=True):
        yield block if bool(chosen.all()) else block[chosen]
