"""The protocols of a scorecard: which fit a model and its data, and what each measures.

A protocol runs the code of the task of its name, so that its numbers are those of that task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eztorch.engine.evaluation.feature_measures import classify_sets, retrieve_sets
from eztorch.engine.evaluation.feature_settings import ExtractSettings, KNNSettings, RetrievalSettings, read_settings
from eztorch.engine.evaluation.features import extract
from eztorch.engine.evaluation.probing import fit_probe, why_not_probed
from eztorch.engine.evaluation.scorecard.entries import Entry, read_entries, repeating_command
from eztorch.engine.evaluation.testing import Metrics, read_protocol, run_test, sizes, view_settings
from eztorch.utils.errors import DataError

if TYPE_CHECKING:
    from eztorch.engine.run import Job
    from eztorch.evaluation.feature_store import FeatureStore
    from eztorch.evaluation.predictions import Predictions
    from eztorch.evaluation.probe import LinearProbe

_BANK, _QUERY = "train", "val"
# Predictions in the run directory.
_OF_PROBE = "linear_probe.safetensors"


@dataclass
class Measured:
    """A job, and what its protocols found so far.

    Attributes:
        job: The job.
        metrics: Everything that was measured, by name.
        entries: The numbers of the scorecard.
        probe: The linear probe, once it is fitted.
    """

    job: Job
    metrics: Metrics = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    probe: LinearProbe | None = None

    @cached_property
    def stores(self) -> dict[str, FeatureStore]:
        """The features of the training and the validation split, extracted when they are first asked for."""
        settings = read_settings(ExtractSettings, self.job.config.get("extract"), "extract")
        return extract(self.job, settings, (_BANK, _QUERY))

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """How many views of which size a sample of the validation split has: the first that can be read tells."""
        dataset: Any = self.job.datamodule.dataset(_QUERY)  # type: ignore[attr-defined]  # ours have it
        for index in range(min(len(dataset), 10)):
            item = dataset[index]
            views = item if isinstance(item, list) else [item]
            if all(isinstance(view, Mapping) for view in views):
                return {"views": len(views), "input": sizes(sorted({tuple(view["input"].shape) for view in views}))}
        return {}

    @property
    def checkpoint(self) -> Path | None:
        """The checkpoint that is measured; None for other weights."""
        path = self.job.config.get("ckpt_path")
        return None if path is None else Path(path)

    def predictions(self) -> list[tuple[str, Predictions]]:
        """Return the predictions of the test, of every target of a model with several, else those of the probe."""
        from eztorch.evaluation.predictions import Predictions

        protocols = {entry.protocol for entry in self.entries}
        if "test" in protocols:
            found = [Predictions.load(path) for path in _tested(self.job)]
            return [(", ".join(["Test", *filter(None, [one.protocol.get("target")])]), one) for one in found]
        probed = self.job.run_dir / _OF_PROBE
        return [("Linear probe", Predictions.load(probed))] if "linear probe" in protocols and probed.is_file() else []

    def add(
        self, metrics: Mapping[str, float], protocol: str, prefix: str, settings: Mapping[str, Any], task: str
    ) -> None:
        """Take the metrics of a protocol."""
        command = repeating_command(self.job, task)
        self.metrics |= metrics
        self.entries += read_entries(protocol, prefix, metrics, settings, command)


@dataclass(frozen=True)
class Protocol:
    """A way to measure a checkpoint.

    Attributes:
        why_not: Says why it does not fit a job, before anything is run; None where it does.
        run: Measures.
    """

    why_not: Callable[[Job], str | None]
    run: Callable[[Measured], None]


def _why_not_tested(job: Job) -> str | None:
    if not hasattr(job.model, "test_metric"):
        return f"{type(job.model).__name__} is no classifier"
    return None if job.config["datamodule"].get("test") else "the data has no test split"


def _test(measured: Measured) -> None:
    metrics = run_test(measured.job, measured.checkpoint)
    measured.add(metrics, "test", "test/", _test_settings(_tested(measured.job)), "test")


def _tested(job: Job) -> list[Path]:
    """Return the predictions that a test has written: a file, or one for each target of the model."""
    return sorted((job.run_dir / "predictions").glob("test*.safetensors"))


def _test_settings(written: list[Path]) -> dict[str, Any]:
    """Return what there is to say of how a test was made, of the predictions that it has written."""
    if not written:
        return {}
    protocol = read_protocol(written[0])
    how = {"views brought together by": protocol["aggregation"], "unreadable": protocol["on_error"]}
    return {**view_settings(protocol), **how}


def _why_no_features(job: Job) -> str | None:
    if not hasattr(job.model, "trunk"):
        name = type(job.model).__name__
        return (
            f"{name} has no trunk apart from its classifier; model: trunk_features, pretrained.path=CHECKPOINT has one"
        )
    missing = [split for split in (_BANK, _QUERY) if not job.config["datamodule"].get(split)]
    return f"the data has no {' and no '.join(missing)} split" if missing else None


def _why_not_compared(job: Job) -> str | None:
    return _why_no_features(job) or _why_no_labels(job)


def _why_no_labels(job: Job) -> str | None:
    from eztorch.datasets.subsets import labels_of

    for split in (_BANK, _QUERY):
        dataset: Any = job.datamodule.dataset(split, read_as=_QUERY)  # type: ignore[attr-defined]  # ours have it
        try:
            labels = labels_of(dataset)
        except DataError as error:
            return f"the {split} split has not one class a sample: {error}"
        if not (labels >= 0).any():
            return f"no sample of the {split} split has a label"
    return None


def _knn(measured: Measured) -> None:
    job, settings = measured.job, read_settings(KNNSettings, measured.job.config.get("knn"), "knn")
    bank, query = measured.stores[_BANK], measured.stores[_QUERY]
    metrics = classify_sets(job.trainer, query, bank, settings, job.run_dir)
    counts = {name: value for name, value in metrics.items() if name.endswith(("n_evaluated", "n_expected"))}
    for k in settings.ks:
        for temperature in settings.temperatures:
            ending = f"_k{k}_t{temperature:g}"
            own = {name.removesuffix(ending): value for name, value in metrics.items() if name.endswith(ending)}
            how = {"temperature": temperature, **_feature_settings(measured)}
            measured.add(own | counts, f"kNN, k = {k}", "knn/", how, "knn")
    measured.metrics |= metrics


def _retrieval(measured: Measured) -> None:
    job, settings = measured.job, read_settings(RetrievalSettings, measured.job.config.get("retrieval"), "retrieval")
    bank, query = measured.stores[_BANK], measured.stores[_QUERY]
    metrics = retrieve_sets(job.trainer, query, bank, settings, job.run_dir)
    side = settings.sides[0]
    how = {"features": f"{'centred, ' if side.center else ''}{'L2-normalised' if side.normalize else 'as they are'}"}
    measured.add(metrics, "retrieval", "retrieval/", {**how, **_feature_settings(measured)}, "retrieval_from_bank")


def _linear_probe(measured: Measured) -> None:
    metrics, probe = fit_probe(measured.job)
    measured.probe, measured.metrics = probe, measured.metrics | metrics
    chosen_by = metrics.pop("linear/held_out_acc_1", None)  # over other samples than the rest
    how = probe.chosen_settings | ({} if chosen_by is None else {"with an accuracy there of": f"{chosen_by:.1%}"})
    measured.add(metrics, "linear probe", "linear/", {**how, **measured.inputs}, "linear_probe")


def _features(measured: Measured) -> None:
    """Measure how much of their space the features of the validation split use."""
    from eztorch.evaluation.health import effective_rank, feature_std

    store = measured.stores[_QUERY]
    rows = store.rows(0, len(store))
    metrics = {
        "features/effective_rank": float(effective_rank(rows)),
        "features/std_over_even": float(feature_std(rows)) * store.dim**0.5,
        "features/n_evaluated": float(store.n_evaluated),
        "features/n_expected": float(store.n_expected),
    }
    command = repeating_command(measured.job, "extract_features")
    how = {"of dimensions": store.dim, **measured.inputs}
    measured.metrics |= metrics
    counts = (store.n_evaluated, store.n_expected)
    for name, title, is_share in (
        ("effective_rank", "effective rank", False),
        ("std_over_even", "spread, relative to an even one", True),
    ):
        value = metrics[f"features/{name}"]
        measured.entries.append(Entry("features", title, value, is_share, *counts, how, command))


def _feature_settings(measured: Measured) -> dict[str, Any]:
    bank = measured.stores[_BANK]
    return {"bank": f"{bank.n_evaluated} of {bank.n_expected} {_BANK} samples", **measured.inputs}


PROTOCOLS: dict[str, Protocol] = {
    "test": Protocol(_why_not_tested, _test),
    "knn": Protocol(_why_not_compared, _knn),
    "retrieval": Protocol(_why_not_compared, _retrieval),
    "linear_probe": Protocol(lambda job: _why_not_compared(job) or why_not_probed(job), _linear_probe),
    "features": Protocol(_why_no_features, _features),
}
