"""Which videos a split has and what their labels are."""

from eztorch.datasets.annotations.forms import VIDEO_EXTENSIONS
from eztorch.datasets.annotations.labeled_video import LabeledVideo
from eztorch.datasets.annotations.paths import LabeledVideoPaths

__all__ = ["VIDEO_EXTENSIONS", "LabeledVideo", "LabeledVideoPaths"]
