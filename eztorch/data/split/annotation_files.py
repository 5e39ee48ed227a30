"""Writing annotation files that `LabeledVideoPaths.from_path` reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from eztorch.datasets.annotations import LabeledVideo
from eztorch.datasets.annotations.forms import read_annotation
from eztorch.utils.errors import DataError
from eztorch.utils.files import atomic_file


def refuse_existing(paths: Iterable[Path], *, force: bool) -> None:
    """Refuse to write where something is.

    Raises:
        DataError: One of the files exists, and it was not asked to replace them.
    """
    existing = [str(path) for path in paths if path.exists()]
    if existing and not force:
        more = f" and {len(existing) - 3} more" if len(existing) > 3 else ""
        raise DataError(
            f"{', '.join(existing[:3])}{more}: already there. Write --force to replace, or another --output."
        )


def write_annotation(path: Path, videos: Sequence[LabeledVideo]) -> Path:
    """Write an annotation file: csv, or json where it is asked for or csv would not be read as it is meant.

    Args:
        path: The file; its suffix is replaced by `.json` where csv cannot be.
        videos: The videos.

    Returns:
        The file that was written.

    Raises:
        DataError: A video has a segment or several labels, or is there twice, which these forms cannot say.
    """
    for video in videos:
        if isinstance(video.label, tuple) or video.segment is not None:
            raise DataError(f"{video.path}: a segment or several labels cannot be written as csv or json.")
    if path.suffix != ".json" and _write(path, "".join(map(_csv_line, videos)), videos):
        return path
    path = path.with_suffix(".json")
    entries = {video.path: _json_entry(video) for video in videos}
    ordered = sorted(videos, key=lambda video: video.path)
    if not _write(path, json.dumps({"annotation": entries}, indent=1) + "\n", ordered):
        raise DataError(f"{path}: these videos cannot be written as json; is one of them there twice?")
    return path


def needs_num_frames(video: LabeledVideo) -> bool:
    """Say whether a video can stand in a csv file only with its number of frames: its path has a space in it."""
    return video.num_frames is None and len(video.path.split()) > 1


def _write(path: Path, text: str, videos: Sequence[LabeledVideo]) -> bool:
    """Write a file if it is then read as it is meant; otherwise leave nothing, and return False."""
    try:
        with atomic_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
            if read_annotation(temporary).videos != list(videos):
                raise DataError("read as other videos")
    except (DataError, UnicodeEncodeError):
        return False
    return True


def _csv_line(video: LabeledVideo) -> str:
    columns = [video.path]
    if video.label != -1 or video.num_frames is not None:
        columns.append(str(video.label))
    if video.num_frames is not None:
        columns.append(str(video.num_frames))
    return " ".join(columns) + "\n"


def _json_entry(video: LabeledVideo) -> dict[str, int]:
    entry = {} if video.label == -1 else {"class": int(video.label)}  # type: ignore[arg-type]  # one label, see above
    return entry | ({} if video.num_frames is None else {"num_frames": video.num_frames})
