"""Which videos a split has and what their labels are."""

from eztorch.datasets.annotations.forms import VIDEO_EXTENSIONS, read_annotation, read_csv
from eztorch.datasets.annotations.labeled_video import Annotation, Label, LabeledVideo
from eztorch.datasets.annotations.paths import LabeledVideoPaths

__all__ = [
    "VIDEO_EXTENSIONS",
    "Annotation",
    "Label",
    "LabeledVideo",
    "LabeledVideoPaths",
    "read_annotation",
    "read_csv",
]
