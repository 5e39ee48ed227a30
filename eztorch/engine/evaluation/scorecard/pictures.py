"""The pictures of a scorecard, of what its protocols left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from eztorch.engine.evaluation.scorecard.protocols import Measured
from eztorch.engine.evaluation.scorecard.settings import ScorecardSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from eztorch.evaluation.predictions import Predictions
    from eztorch.visualization.scorecard import Picture

_MAX_NEIGHBOURS = 6
_Drawn = tuple[str, Callable[..., "Figure"]]  # a title, and what draws it by day or by night


def draw_pictures(measured: Measured, settings: ScorecardSettings) -> list[Picture]:
    """Draw what there is to draw of features, neighbours and predictions."""
    from eztorch.visualization.canvas import png
    from eztorch.visualization.scorecard import Picture

    found: list[Picture] = []
    for title, draw in _figures(measured, settings):
        found.append(Picture(title, png(draw(dark=False)), png(draw(dark=True))))
    return found


def _figures(measured: Measured, settings: ScorecardSettings) -> Iterator[_Drawn]:
    if "features/effective_rank" in measured.metrics:
        yield from _embedding(measured, settings)
    if "retrieval/n_evaluated" in measured.metrics:
        yield from _neighbours(measured, settings)
    for title, predictions in measured.predictions():
        if predictions.multi_label:
            continue
        yield from _answers(title, predictions)
        yield from _failures(measured, title, predictions, settings)
        if "target" not in predictions.protocol:  # what speaks for a class is asked of networks with one answer
            yield from _activation_maps(measured, title, predictions, settings)


def _embedding(measured: Measured, settings: ScorecardSettings) -> Iterator[_Drawn]:
    from eztorch.visualization.embedding import embed, embedding_figure

    store = measured.stores["val"]
    if store.labels.ndim > 1 or len(store) < 5:
        return
    points = embed(store.rows(0, len(store)).numpy(), most=settings.most_points)
    yield (
        "Features of the validation split",
        partial(embedding_figure, points, store.labels.numpy(), store.label_names or None),
    )


def _neighbours(measured: Measured, settings: ScorecardSettings) -> Iterator[_Drawn]:
    """Show queries, evenly spread over the split, and what is nearest to them."""
    import torch
    from safetensors.torch import load_file

    from eztorch.visualization.strips import Tile, neighbours_figure

    kept = load_file(measured.job.run_dir / "neighbours.safetensors")
    names = measured.stores["val"].label_names
    rows = torch.linspace(0, len(kept["query_idx"]) - 1, min(settings.num_queries, len(kept["query_idx"]))).long()

    def tile(split: str, idx: int, label: int) -> Tile:
        return Tile(_thumbnail(measured, split, idx), _name(names, label))

    queries, neighbours = [], []
    for row in rows.tolist():
        queries.append(tile("val", int(kept["query_idx"][row]), int(kept["query_labels"][row])))
        found = zip(kept["idx"][row].tolist(), kept["labels"][row].tolist(), strict=True)
        neighbours.append([tile("train", idx, label) for idx, label in list(found)[:_MAX_NEIGHBOURS] if idx >= 0])
    shortest = min(map(len, neighbours))
    similarity = kept["similarity"][rows, :shortest].numpy()
    cut = [row[:shortest] for row in neighbours]
    yield "Nearest neighbours", partial(neighbours_figure, queries, cut, similarity)


def _answers(title: str, predictions: Predictions) -> Iterator[_Drawn]:
    """Show which classes are confused, how each fares, and how far probabilities can be trusted."""
    from eztorch.evaluation.metrics import confusion_matrix, reliability_bins
    from eztorch.visualization.calibration import reliability_figure
    from eztorch.visualization.confusion import confusion_figure
    from eztorch.visualization.per_class import class_accuracy_figure

    if not (predictions.labels >= 0).any():
        return
    names = list(predictions.class_names) or None
    matrix = confusion_matrix(predictions.scores, predictions.labels).numpy()
    yield f"{title}: confusions", partial(confusion_figure, matrix, names)
    yield f"{title}: classes", partial(class_accuracy_figure, matrix.diagonal(), matrix.sum(axis=1), names)
    yield (
        f"{title}: calibration",
        partial(reliability_figure, reliability_bins(predictions.scores, predictions.labels)),
    )


def _failures(
    measured: Measured, title: str, predictions: Predictions, settings: ScorecardSettings
) -> Iterator[_Drawn]:
    from eztorch.visualization.strips import Failure, confident_failures, failures_figure

    rows = confident_failures(predictions.labels.numpy(), predictions.scores.numpy(), number=settings.num_failures)
    if not len(rows):
        return
    split = "test" if title.startswith("Test") else "val"
    failures = []
    for row in rows.tolist():
        confidence, answer = predictions.scores[row].max(dim=0)
        failures.append(
            Failure(
                _thumbnail(measured, split, int(predictions.idx[row])),
                _name(predictions.class_names, int(predictions.labels[row])),
                _name(predictions.class_names, int(answer)),
                float(confidence),
            )
        )
    yield f"{title}: most confident failures", partial(failures_figure, failures)


def _activation_maps(
    measured: Measured, title: str, predictions: Predictions, settings: ScorecardSettings
) -> Iterator[_Drawn]:
    """Show where the network saw the class that it told, of samples that are evenly spread over the split."""
    import torch

    from eztorch.evaluation.activation_maps import class_activation_maps
    from eztorch.models.steps import apply_transform
    from eztorch.utils.errors import ConfigError
    from eztorch.visualization.strips import activation_figure
    from eztorch.visualization.thumbnails import find_normalisation, first_view, frames_of, to_display

    split = "test" if title == "Test" else "val"
    network = measured.job.model if title == "Test" else measured.probe and measured.probe.classifier()
    if network is None:
        return
    transform = getattr(measured.job.model, f"{split}_transform")
    scale = find_normalisation(measured.job.config["model"].get(f"{split}_transform"))
    device = measured.job.trainer.strategy.root_device
    network.to(device)
    rows = torch.linspace(0, len(predictions.idx) - 1, min(settings.num_maps, len(predictions.idx))).long()
    for row in rows.tolist():
        clip = first_view(_dataset(measured, split), int(predictions.idx[row]))
        if isinstance(clip, str):  # it cannot be read
            continue
        clip = apply_transform(transform, clip[None].to(device))[0]
        answer = int(predictions.scores[row].argmax())
        try:
            maps = class_activation_maps(network, clip, class_index=answer).cpu()
        except ConfigError:  # a network without places
            return
        frames = frames_of(to_display(clip, scale), num_frames=len(maps))
        label, told = (_name(predictions.class_names, one) for one in (int(predictions.labels[row]), answer))
        yield (
            f"What speaks for {told!r} in a sample of {label!r}",
            partial(activation_figure, frames, maps.numpy(), note=f"{title.lower()}, Grad-CAM of the last maps"),
        )


def _thumbnail(measured: Measured, split: str, idx: int) -> Any:
    from eztorch.visualization.thumbnails import sample_thumbnail

    return sample_thumbnail(_dataset(measured, split), idx)


def _dataset(measured: Measured, split: str) -> Any:
    datamodule: Any = measured.job.datamodule
    return datamodule.dataset(split, read_as="test" if split == "test" else "val")


def _name(names: Sequence[str], label: int) -> str:
    from eztorch.visualization.canvas import class_name

    return "no label" if label < 0 else class_name(names, label)
