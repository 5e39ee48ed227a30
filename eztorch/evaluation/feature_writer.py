"""Writing the features of a split while a model runs: a few thousand rows in memory, any number of processes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

from eztorch.evaluation.feature_store import CLIP_COLUMNS, FORMAT, INDEX, FeatureStore
from eztorch.utils.distributed import all_gather_list, rank, world_size
from eztorch.utils.errors import ConfigError, DataError
from eztorch.utils.files import atomic_file, write_tensors

_PARTS = ".parts"
DTYPES = {"float32": torch.float32, "float16": torch.float16}


class _Columns(NamedTuple):
    """What is known of all rows of all parts, without their features."""

    part: Tensor
    row: Tensor
    idx: Tensor
    clips: Tensor


class FeatureWriter:
    """Writes a `FeatureStore`.

    While the model runs, every process writes what it has as parts of `rows_per_shard` rows. When all are done they
    put the parts together to shards in the order of `idx`, each process some of them, and the index is written last:
    a folder with an index is whole. So neither the rows nor their order depend on the number of processes.

    A mean over clips is made in float64, of sums in float64 where a batch has several clips of a sample; so it does not
    depend on how the clips are spread over batches and processes, but for the features that the model itself gives.

    Args:
        folder: Folder of the store. What is left there of an extraction that was stopped, or the store before, is
            removed.
        clips: `average` for the mean over the clips of a sample, `keep` for a row a clip.
        dtype: `float32` or `float16`.
        rows_per_shard: Rows of a shard, and of a part.
    """

    def __init__(
        self, folder: Path, *, clips: str = "average", dtype: str = "float32", rows_per_shard: int = 4096
    ) -> None:
        self.folder, self.clips, self.dtype, self.rows_per_shard = folder, clips, dtype, rows_per_shard
        self._rows: list[dict[str, Tensor]] = []
        self._num_rows = 0
        self._part_rows: list[int] = []
        self._failures: dict[int, dict[str, Any]] = {}
        if rank() == 0:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / INDEX).unlink(missing_ok=True)  # first, so that there is no index of half a store
            for shard in folder.glob("*.safetensors"):
                shard.unlink()
            shutil.rmtree(folder / _PARTS, ignore_errors=True)
            (folder / _PARTS).mkdir()
        all_gather_list([None])  # the others wait

    def add(self, features: Tensor, batch: Mapping[str, Any]) -> None:
        """Take the features of a batch.

        Args:
            features: Shape (B, C).
            batch: With `label` and `idx`; with `keep` the number and the times of each clip, where it has them.
        """
        values, idx, labels = features.detach().cpu().float(), batch["idx"].cpu().long(), batch["label"].cpu()
        if self.clips == "keep":
            rows = {"values": values, "idx": idx, "labels": labels, **_clip_columns(batch, len(idx))}
            rows["count"] = torch.ones_like(idx)
        else:
            unique, group, count = idx.unique(return_inverse=True, return_counts=True)
            if len(unique) == len(idx):
                rows = {"values": values, "idx": idx, "labels": labels, "count": torch.ones_like(idx)}
            else:
                sums = torch.zeros(len(unique), values.shape[1], dtype=torch.float64)
                label = labels.new_empty(len(unique), *labels.shape[1:]).index_copy_(0, group, labels)
                sums.index_add_(0, group, values.double())
                rows = {"values": sums, "idx": unique, "labels": label, "count": count}
        self._rows.append(rows)
        self._num_rows += len(rows["idx"])
        if self._num_rows >= self.rows_per_shard:
            self._write_part()

    def add_failures(self, failures: Sequence[Any]) -> None:
        """Take the samples of a batch that could not be read, each `SampleFailure` once."""
        for one in failures:
            label = one.label.tolist() if isinstance(one.label, Tensor) else int(one.label)
            has_label = not isinstance(label, int) or label >= 0
            self._failures[int(one.idx)] = {
                "idx": int(one.idx),
                "path": str(one.path),
                "decoder": str(one.decoder),
                "reason": " ".join(str(one.reason).split()),
                "label": label,
                "counts_as_wrong": bool(one.counts_as_wrong) and has_label,
            }

    def close(self, dataset: Any, facts: Mapping[str, Any]) -> FeatureStore:
        """Put everything together.

        Args:
            dataset: What the samples are of: its length, and, where it has them, its `name(idx)` and `classes`.
            facts: What else the index is to say.

        Returns:
            The store, on every process.

        Raises:
            ConfigError: The processes do not share the folder.
            DataError: There is no sample, or features are too large for the dtype.
        """
        if self._rows:
            self._write_part()
        told = all_gather_list([(self._part_rows, list(self._failures.values()))])
        parts = [self._part(process, n) for process, (written, _) in enumerate(told) for n in range(len(written))]
        missing = [part for part in parts if not part.is_file()]
        if missing:
            raise ConfigError(
                f"{missing[0]} is not seen by every process: they need a run directory that all of them share."
            )
        failures = sorted((one for _, listed in told for one in listed), key=lambda one: int(one["idx"]))
        if not parts:
            listed = (
                f" The first of {len(failures)} failures: {failures[0]['path']}: {failures[0]['reason']}."
                if failures
                else ""
            )
            raise DataError(f"{self.folder}: there is no sample to take features of.{listed}")
        columns = _read_columns(parts)
        order, sizes = self._order(columns)
        shards: list[dict[str, Any]] = []
        for number, begin in enumerate(range(0, len(sizes), self.rows_per_shard)):
            chosen = sizes[begin : begin + self.rows_per_shard]
            shards.append({"file": f"{number:05d}.safetensors", "rows": len(chosen)})
            if number % world_size() == rank():
                first = int(sizes[:begin].sum())
                self._write_shard(shards[-1]["file"], parts, columns, order[first : first + int(chosen.sum())], chosen)
        all_gather_list([None])
        if rank() == 0:
            self._write_index(dataset, facts, shards, columns.idx.unique().tolist(), failures, parts[0])
        all_gather_list([None])
        return FeatureStore.open(self.folder)

    def _order(self, columns: _Columns) -> tuple[Tensor, Tensor]:
        """Return the rows of the parts in their final order, and how many of them make up each row of the store."""
        order = columns.idx.argsort(stable=True)
        if self.clips == "keep":
            return order, torch.ones(len(order), dtype=torch.long)
        return order, columns.idx.unique(return_counts=True)[1]

    def _part(self, process: int, number: int) -> Path:
        return self.folder / _PARTS / f"{process}-{number:05d}.safetensors"

    def _write_part(self) -> None:
        tensors = {name: torch.cat([row[name] for row in self._rows]) for name in self._rows[0]}
        path = self._part(rank(), len(self._part_rows))
        write_tensors(path, tensors)
        self._part_rows.append(self._num_rows)
        self._rows, self._num_rows = [], 0

    def _write_shard(self, name: str, parts: list[Path], columns: _Columns, chosen: Tensor, sizes: Tensor) -> None:
        """Write a shard of rows of the parts, those of one sample next to each other."""
        gathered = _take(parts, columns.part[chosen], columns.row[chosen])
        group = torch.arange(len(sizes)).repeat_interleave(sizes)
        first = sizes.cumsum(0) - sizes
        values = gathered.pop("values")
        if self.clips == "average":
            count = torch.zeros(len(sizes), dtype=torch.long).index_add_(0, group, gathered.pop("count"))
            if int(count.max()) > 1:
                sums = torch.zeros(len(sizes), values.shape[1], dtype=torch.float64)
                values = sums.index_add_(0, group, values.double()) / count[:, None]
            gathered["num_clips"] = count.repeat_interleave(sizes)
        else:
            del gathered["count"]
        tensors = {key: value[first].contiguous() for key, value in gathered.items()}
        tensors["features"] = values.to(DTYPES[self.dtype]).contiguous()
        if bool((tensors["features"].isinf() & values.isfinite()).any()):
            raise DataError(
                f"{self.folder}: features of up to {float(values.abs().max()):.3g} do not fit {self.dtype}; write "
                "extract.dtype=float32."
            )
        write_tensors(self.folder / name, tensors)

    def _write_index(
        self,
        dataset: Any,
        facts: Mapping[str, Any],
        shards: list[dict[str, Any]],
        idx: list[int],
        failures: list[dict[str, Any]],
        part: Path,
    ) -> None:
        with safe_open(part, framework="pt") as file:
            dim = file.get_slice("values").get_shape()[1]
        evaluated = set(idx)  # a sample of which another clip was read has an answer
        index = {
            "format": FORMAT,
            **facts,
            "clips": self.clips,
            "dtype": self.dtype,
            "dim": dim,
            "num_rows": sum(int(shard["rows"]) for shard in shards),
            "n_evaluated": len(idx),
            "n_expected": len(dataset),
            "shards": shards,
            "failures": [
                {**one, "counts_as_wrong": one["counts_as_wrong"] and one["idx"] not in evaluated} for one in failures
            ],
            "label_names": list(getattr(dataset, "classes", ()) or ()),
            "names": [str(dataset.name(one)) for one in idx] if hasattr(dataset, "name") else [],
        }
        with atomic_file(self.folder / INDEX) as temporary:
            temporary.write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(self.folder / _PARTS, ignore_errors=True)


def _clip_columns(batch: Mapping[str, Any], length: int) -> dict[str, Tensor]:
    """Return number and times of the clips of a batch; 0 where it does not have them, as with images."""
    columns = {}
    for name in CLIP_COLUMNS:
        dtype = torch.long if name.endswith("index") else torch.float32
        value = batch.get(name)
        columns[name] = value.cpu().to(dtype) if isinstance(value, Tensor) else torch.zeros(length, dtype=dtype)
    return columns


def _read_columns(parts: Sequence[Path]) -> _Columns:
    """Read what is known of all rows, the clips of a sample in their order."""
    part, row, idx, count, clip, aug = [], [], [], [], [], []
    for number, path in enumerate(parts):
        with safe_open(path, framework="pt") as file:
            own = file.get_tensor("idx")
            part.append(torch.full_like(own, number))
            row.append(torch.arange(len(own)))
            idx.append(own)
            count.append(file.get_tensor("count"))
            has_clips = "clip_index" in file.keys()  # noqa: SIM118  (it is no mapping)
            clip.append(file.get_tensor("clip_index") if has_clips else torch.zeros_like(own))
            aug.append(file.get_tensor("aug_index") if has_clips else torch.zeros_like(own))
    columns = _Columns(*(torch.cat(one) for one in (part, row, idx, count)))
    order = torch.cat(aug).argsort(stable=True)
    order = order[torch.cat(clip)[order].argsort(stable=True)]
    return _Columns(*(one[order] for one in columns))


def _take(parts: Sequence[Path], part: Tensor, row: Tensor) -> dict[str, Tensor]:
    """Read rows of parts, in the order that they are asked for; of each part only the span that they lie in."""
    found: list[dict[str, Tensor]] = []
    places = []
    for number in part.unique().tolist():
        wanted = (part == number).nonzero().squeeze(1)
        rows = row[wanted]
        low, high = int(rows.min()), int(rows.max()) + 1
        with safe_open(parts[number], framework="pt") as file:
            names = list(file.keys())
            found.append({name: file.get_slice(name)[low:high][rows - low] for name in names})
        places.append(wanted)
    back = torch.cat(places).argsort()
    return {name: torch.cat([one[name] for one in found])[back] for name in found[0]}
