"""The task `extract_features`, and what the tasks that compare features begin with."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eztorch.engine.environment import say
from eztorch.engine.evaluation.feature_settings import ExtractSettings, read_settings
from eztorch.engine.resume import explained_misfit
from eztorch.engine.tables import print_table
from eztorch.utils.errors import ConfigError, DataError
from eztorch.utils.files import atomic_file, file_digest
from eztorch.utils.names import choose

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule

    from eztorch.engine.run import Job
    from eztorch.evaluation.feature_store import FeatureStore

_SPLITS = ("train", "val", "test")
# Keys of a split that say how it is read and not what is read.
_NOT_OF_SAMPLES = ("loader", "global_batch_size", "num_folds", "on_error")


def extract_features(job: Job) -> dict[str, float]:
    """Extract the features of the splits that are asked for."""
    settings = read_settings(ExtractSettings, job.config.get("extract"), "extract")
    stores = extract(job, settings, check_splits(job.config, settings.splits, "extract.splits"))
    if job.trainer.is_global_zero:
        rows = [
            (
                split,
                f"{store.n_evaluated} of {store.n_expected}",
                f"{len(store)} x {store.dim}",
                store.index["dtype"],
            )
            for split, store in stores.items()
        ]
        print_table(f"Features {settings.features}", ("split", "samples", "rows", "type"), rows)
        print(f"A folder for each split: {job.run_dir / settings.folder}")  # in a table a long path would be broken
    counts = (
        (split, name, store.index[name]) for split, store in stores.items() for name in ("n_evaluated", "n_expected")
    )
    return {f"features/{split}/{name}": float(value) for split, name, value in counts}


def check_splits(config: Mapping[str, Any], asked: Sequence[str] | None, key: str) -> list[str]:
    """Return the splits that are asked for, each once; all that there are when none is.

    Raises:
        ConfigError: The data has no such split.
    """
    datamodule = config.get("datamodule")
    if not isinstance(datamodule, Mapping):
        raise ConfigError("datamodule: this section is missing, and features are of its samples.")
    there = {split: split for split in _SPLITS if datamodule.get(split)}
    if isinstance(asked, str):
        asked = [asked]
    return list(dict.fromkeys(choose(there, split, key) for split in (there if asked is None else asked)))


def extract(job: Job, settings: ExtractSettings, splits: Iterable[str]) -> dict[str, FeatureStore]:
    """Write the features of splits, or find them where they are already.

    Args:
        job: The job; the weights of its checkpoint are loaded.
        settings: Which features, and how they are kept.
        splits: The splits.

    Returns:
        The stores by split.

    Raises:
        ConfigError: The checkpoint is of another model, or the model gives no such features.
    """
    from eztorch.callbacks.failures import append_failures
    from eztorch.evaluation.extraction import start_processes, write_features
    from eztorch.evaluation.feature_writer import FeatureWriter

    checkpoint = job.config.get("ckpt_path")
    if checkpoint is not None:
        load_checkpoint(job.model, Path(checkpoint))
    start_processes(job.trainer)
    weights = weights_facts(job.config)
    stores = {}
    for split in splits:
        folder = job.run_dir / settings.folder / split
        identity = _identity(job.config, settings, weights, split)
        store = _there_already(folder, identity) if settings.reuse else None
        if store is None:
            writer = FeatureWriter(
                folder, clips=settings.clips, dtype=settings.dtype, rows_per_shard=settings.rows_per_shard
            )
            facts = {
                "checkpoint": weights,
                "identity": identity,
                "command": shlex.join(job.info.command),
                "configuration": {key: job.config[key] for key in ("model", "datamodule", "trainer")},
            }
            store = write_features(
                job.trainer, job.model, job.datamodule, split, writer, features=settings.features, facts=facts
            )
            failures = store.index["failures"]
            if failures:
                columns = ("idx", "path", "decoder", "reason")
                rows = [(split, 0, *(one[key] for key in columns)) for one in failures]
                append_failures(job.run_dir / "failed_samples.csv", rows)
                say(f"{split}: {len(failures)} samples could not be read, see {job.run_dir / 'failed_samples.csv'}.")
        else:
            say(f"{split}: the features in {folder} are of these weights and data; they are taken as they are.")
        if settings.format == "legacy" and job.trainer.is_global_zero:
            _write_legacy(store, folder.parent, f"{split}{settings.prefix}")
        stores[split] = store
    return stores


def load_checkpoint(model: LightningModule, path: Path) -> None:
    """Load the weights of a checkpoint into the model that it is of.

    Raises:
        ConfigError: It cannot be read, or is of another model.
    """
    from eztorch.models.weights import read_weights

    checkpoint: dict[str, Any] = {"state_dict": read_weights(path, key="ckpt_path").tensors}
    model.on_load_checkpoint(checkpoint)  # where a model reads the names of other versions
    with explained_misfit(path):
        model.load_state_dict(checkpoint["state_dict"])


def weights_facts(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return which weights a job has: their file and its digest, both None for random weights."""
    path = config.get("ckpt_path") or (config.get("pretrained") or {}).get("path")
    path = path or config["model"].get("pretrained_trunk_path")
    if path is None:
        return {"path": None, "sha256": None}
    file = Path(path).expanduser().absolute()
    return {"path": str(file), "sha256": file_digest(file)}


def _identity(config: Mapping[str, Any], settings: ExtractSettings, weights: Mapping[str, Any], split: str) -> str:
    """Return a digest of all that features depend on."""
    datamodule = {
        key: {name: one for name, one in value.items() if name not in _NOT_OF_SAMPLES}
        if key in _SPLITS and value
        else value
        for key, value in config["datamodule"].items()
    }
    what = {
        "split": split,
        "weights": weights["sha256"] or {"seed": config.get("seed"), "pretrained": config.get("pretrained")},
        "model": config["model"],
        "datamodule": datamodule,
        "on_error": {one: (config["datamodule"].get(one) or {}).get("on_error") for one in ("val", "test")},
        "trainer": [config["trainer"].get(key) for key in ("precision", "limit_predict_batches")],
        "extract": [settings.features, settings.clips, settings.dtype],
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()


def _there_already(folder: Path, identity: str) -> FeatureStore | None:
    from eztorch.evaluation.feature_store import FeatureStore

    try:
        store = FeatureStore.open(folder)
    except DataError:  # none, or one that has to be made anew
        return None
    return store if store.index.get("identity") == identity else None


def _write_legacy(store: FeatureStore, folder: Path, stem: str) -> None:
    """Write the files of the predecessor; for them everything is in memory once."""
    import torch

    contents = {"features": store.rows(0, len(store)), "labels": store.labels, "ids": store.idx}
    for name, tensor in contents.items():
        with atomic_file(folder / f"{stem}_{name}.pth") as temporary:
            torch.save(tensor, temporary)
    say(f"Written: {folder / stem}_{{features,labels,ids}}.pth")


def need_weights(message: str) -> ConfigError:
    """Return the error of a job that has no weights."""
    return ConfigError(
        f"There is nothing to evaluate: {message} Write ckpt_path=/path/to/file.ckpt, pretrained.path=/path/to/weights "
        "for a trunk alone, or ckpt_path=untrained to measure random weights."
    )
