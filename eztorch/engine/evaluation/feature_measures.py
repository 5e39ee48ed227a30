"""The tasks `knn` and `retrieval_from_bank`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eztorch.engine.environment import say
from eztorch.engine.evaluation.feature_settings import (
    ExtractSettings,
    KNNSettings,
    RetrievalSettings,
    RetrievalSide,
    read_settings,
)
from eztorch.engine.evaluation.features import check_splits, extract
from eztorch.engine.tables import print_table
from eztorch.utils.errors import ConfigError, DataError
from eztorch.utils.files import atomic_file, write_tensors

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from eztorch.engine.run import Job
    from eztorch.evaluation.comparison import Preparation
    from eztorch.evaluation.feature_store import FeatureSet
    from eztorch.evaluation.neighbours import Neighbours

_TOPS = (1, 5)


def evaluate_knn(job: Job) -> dict[str, float]:
    """Extract the features of two splits and classify one by its neighbours in the other."""
    settings = read_settings(KNNSettings, job.config.get("knn"), "knn")
    query, bank = _extract_two(job, settings.query, settings.bank)
    return classify_sets(job.trainer, query, bank, settings, job.run_dir)


def classify_sets(
    trainer: Trainer, query: FeatureSet, bank: FeatureSet, settings: KNNSettings, run_dir: Path
) -> dict[str, float]:
    """Classify a set of features by its neighbours in another; print a table and keep the predictions.

    `knn_predictions.safetensors` has `idx` (M,), `labels` (M,) and, for each number of neighbours and temperature, the
    best five classes, such as `k20_t0.07` (M, 5).

    Returns:
        `knn/acc_1_k20_t0.07` and so on for every combination, `knn/acc_1` of the first, `acc_5` where there are more
        than five classes, and what they are over.
    """
    from eztorch.evaluation.comparison import check_comparable, classify
    from eztorch.evaluation.knn import count_correct

    check_comparable(query, bank)
    num_classes = max(len(bank.label_names), int(bank.labels.max()) + 1, int(query.labels.max()) + 1)
    found = classify(
        query,
        bank,
        ks=settings.ks,
        temperatures=settings.temperatures,
        num_classes=num_classes,
        device=trainer.strategy.root_device,
    )
    evaluated = int((query.labels >= 0).sum())
    answers = _answers(query, evaluated)
    tops = [top for top in _TOPS if top < num_classes]
    metrics: dict[str, float] = {}
    rows = []
    for (k, temperature), classes in found.items():
        accuracies = {top: int(count_correct(classes, query.labels, top=top)[0]) / answers for top in tops}
        for top, accuracy in accuracies.items():
            metrics.setdefault(f"knn/acc_{top}", accuracy)  # the first combination gives it its value
            metrics[f"knn/acc_{top}_k{k}_t{temperature:g}"] = accuracy
        rows.append((str(k), f"{temperature:g}", *(f"{value:.2%}" for value in accuracies.values())))
    metrics |= {"knn/n_evaluated": float(evaluated), "knn/n_expected": float(query.n_expected)}
    if trainer.is_global_zero:
        title = f"kNN, {evaluated} of {query.n_expected} samples evaluated, {len(bank)} in the bank"
        print_table(title, ("k", "temperature", *(f"top-{top}" for top in tops)), rows)
        if max(settings.ks) > len(bank):
            say(f"The bank has {len(bank)} samples: where k is more, all of them vote.")
        tensors = {f"k{k}_t{temperature:g}": classes for (k, temperature), classes in found.items()}
        write_tensors(run_dir / "knn_predictions.safetensors", {"idx": query.idx, "labels": query.labels, **tensors})
    return metrics


def evaluate_retrieval(job: Job) -> dict[str, float]:
    """Extract the features of two splits and look in one for samples of the classes of the other."""
    settings = read_settings(RetrievalSettings, job.config.get("retrieval"), "retrieval")
    query, bank = _extract_two(job, *(side.split for side in settings.sides))
    return retrieve_sets(job.trainer, query, bank, settings, job.run_dir)


def retrieve_sets(
    trainer: Trainer, query: FeatureSet, bank: FeatureSet, settings: RetrievalSettings, run_dir: Path
) -> dict[str, float]:
    """Look for samples of the classes of a set of features in another; print a table and keep the neighbours.

    Returns:
        `retrieval/r_1` and so on, `retrieval/map`, and what they are over.
    """
    from eztorch.evaluation.comparison import check_comparable, retrieve
    from eztorch.evaluation.retrieval import count_hits

    check_comparable(query, bank)
    sides = settings.sides
    found = retrieve(
        query,
        bank,
        k=max(*settings.ranks, settings.num_neighbours),
        sides=(_preparation(sides[0]), _preparation(sides[1])),
        mean_average_precision=settings.mean_average_precision,
        device=trainer.strategy.root_device,
    )
    is_there = found.neighbours.rows >= 0
    labels = bank.labels[found.neighbours.rows].masked_fill(~is_there, -1)
    evaluated = int((query.labels >= 0).sum())
    answers = _answers(query, evaluated)
    hits = count_hits(query.labels, labels, settings.ranks).tolist()
    metrics = {f"retrieval/r_{rank}": hit / answers for rank, hit in zip(settings.ranks, hits, strict=True)}
    if found.average_precisions is not None:
        metrics["retrieval/map"] = float(found.average_precisions.sum()) / answers
    if trainer.is_global_zero:
        title = f"Retrieval, {evaluated} of {query.n_expected} queries evaluated, {len(bank)} in the bank"
        names = {f"retrieval/r_{rank}": f"R@{rank}" for rank in settings.ranks} | {"retrieval/map": "mAP"}
        print_table(title, [names[name] for name in metrics], [[f"{value:.2%}" for value in metrics.values()]])
        kept = type(found.neighbours)(*(part[:, : settings.num_neighbours] for part in found.neighbours))
        _keep_neighbours(run_dir, query, bank, kept)
    return metrics | {"retrieval/n_evaluated": float(evaluated), "retrieval/n_expected": float(query.n_expected)}


def check_settings(config: Mapping[str, Any], task: str) -> None:
    """Check what a task is told of features, before anything is built.

    Raises:
        ConfigError: A key is unknown, a value cannot be, or there is no such split.
    """
    kept = read_settings(ExtractSettings, config.get("extract"), "extract")
    if task == "extract_features":
        check_splits(config, kept.splits, "extract.splits")
        return
    if kept.clips == "keep":
        raise ConfigError("extract.clips=keep: neighbours are samples and not clips; write extract.clips=average.")
    if task == "knn":
        settings = read_settings(KNNSettings, config.get("knn"), "knn")
        splits = {"knn.query": settings.query, "knn.bank": settings.bank}
    else:
        sides = read_settings(RetrievalSettings, config.get("retrieval"), "retrieval").sides
        splits = {"retrieval.query.split": sides[0].split, "retrieval.bank.split": sides[1].split}
    for key, split in splits.items():
        check_splits(config, split, key)


def _extract_two(job: Job, query: str, bank: str) -> tuple[FeatureSet, FeatureSet]:
    """Extract the features of the queries and of the bank, which may be one split."""
    kept = read_settings(ExtractSettings, job.config.get("extract"), "extract")
    stores = extract(job, kept, dict.fromkeys((bank, query)))
    return stores[query], stores[bank]


def _answers(query: FeatureSet, evaluated: int) -> int:
    """Return what accuracies are over: the samples with a label, and those that count as wrong answers."""
    if not evaluated:
        raise DataError(f"{query.source}: none of its {len(query)} samples has a label.")
    return evaluated + query.num_wrong


def _preparation(side: RetrievalSide) -> Preparation:
    from eztorch.evaluation.comparison import Preparation

    return Preparation(center=side.center, normalize=side.normalize)


def _keep_neighbours(run_dir: Path, query: FeatureSet, bank: FeatureSet, found: Neighbours) -> None:
    """Write `neighbours.safetensors`, and `neighbours.json` with the names of all samples in it."""
    is_there = found.rows >= 0
    tensors = {
        "query_idx": query.idx,
        "query_labels": query.labels,
        "idx": bank.idx[found.rows].masked_fill(~is_there, -1),
        "labels": bank.labels[found.rows].masked_fill(~is_there, -1),
        "similarity": found.similarity,
    }
    write_tensors(run_dir / "neighbours.safetensors", tensors)
    content = {
        "format": "eztorch neighbours 1",
        "query": {"source": query.source, "names": _names(query, range(len(query)))},
        "bank": {"source": bank.source, "names": _names(bank, found.rows[is_there].unique().tolist())},
        "label_names": bank.label_names,
    }
    with atomic_file(run_dir / "neighbours.json") as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _names(features: FeatureSet, rows: Any) -> dict[str, str]:
    """Return the names of the samples of rows by their `idx`; empty where they have none."""
    from eztorch.evaluation.feature_store import FeatureStore

    if not isinstance(features, FeatureStore) or not features.index["names"]:
        return {}
    return {str(int(features.idx[row])): features.name(row) for row in rows}
