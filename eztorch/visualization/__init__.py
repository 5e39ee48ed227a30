"""Pictures of a run: what the model saw, the curves of its metrics, the report, and pictures of an evaluation.

Names are imported when they are asked for: reading metrics needs no torch, and only drawing needs matplotlib.
"""

from typing import TYPE_CHECKING

from eztorch.utils.lazy import lazy_names

if TYPE_CHECKING:
    from eztorch.visualization.calibration import reliability_figure
    from eztorch.visualization.canvas import png
    from eztorch.visualization.confusion import confusion_figure
    from eztorch.visualization.curves import Chart, draw_chart, read_metrics
    from eztorch.visualization.embedding import embed, embedding_figure
    from eztorch.visualization.per_class import class_accuracy_figure
    from eztorch.visualization.report import write_report
    from eztorch.visualization.strips import activation_figure, confident_failures, failures_figure, neighbours_figure
    from eztorch.visualization.thumbnails import sample_thumbnail
    from eztorch.visualization.views import contact_sheet, save_contact_sheet

__all__ = [
    "Chart",
    "activation_figure",
    "class_accuracy_figure",
    "confident_failures",
    "confusion_figure",
    "contact_sheet",
    "draw_chart",
    "embed",
    "embedding_figure",
    "failures_figure",
    "neighbours_figure",
    "png",
    "read_metrics",
    "reliability_figure",
    "sample_thumbnail",
    "save_contact_sheet",
    "write_report",
]

_MODULES = {
    "calibration": ("reliability_figure",),
    "canvas": ("png",),
    "confusion": ("confusion_figure",),
    "curves": ("Chart", "draw_chart", "read_metrics"),
    "embedding": ("embed", "embedding_figure"),
    "per_class": ("class_accuracy_figure",),
    "report": ("write_report",),
    "strips": ("activation_figure", "confident_failures", "failures_figure", "neighbours_figure"),
    "thumbnails": ("sample_thumbnail",),
    "views": ("contact_sheet", "save_contact_sheet"),
}

__getattr__, __dir__ = lazy_names(__name__, _MODULES)
