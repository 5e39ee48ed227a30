"""The files that an annotation lists: which of them there are, and what an index knows of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from eztorch.datasets.annotations.forms import VIDEO_EXTENSIONS
from eztorch.datasets.annotations.paths import LabeledVideoPaths
from eztorch.datasets.video_index import VideoIndex

# The field of a path that stands for the direction of optical flow.
FLOW_DIRECTION = "{flow_direction}"


class Located(NamedTuple):
    """Videos whose files have been looked for.

    Attributes:
        videos: The videos, each with the path of the file that there is.
        missing: Which of them have none.
    """

    videos: LabeledVideoPaths
    missing: list[int]


def locate(videos: LabeledVideoPaths, *, frame_folders: bool = False, any_extension: bool = False) -> Located:
    """Look for the files of videos, with one look at each folder that they are in, not at each file.

    Args:
        videos: The videos.
        frame_folders: Whether they are folders of frames: then their names have no extension.
        any_extension: Whether a file that differs by its extension alone may stand for a listed one, since official
            lists name the files as they were published, and prepared copies have other extensions.
    """
    folders: dict[str, dict[str, str]] = {}
    found: dict[str, str | None] = {}
    paths = [video.path for video in videos]
    for path in paths:
        if path not in found:
            found[path] = _find(os.path.join(videos.path_prefix, path), path, folders, frame_folders, any_extension)
    missing = [index for index, path in enumerate(paths) if found[path] is None]
    if all(found[path] in (path, None) for path in paths):
        return Located(videos, missing)
    return Located(videos.with_videos([one._replace(path=found[one.path] or one.path) for one in videos]), missing)


def _find(
    full: str, path: str, folders: dict[str, dict[str, str]], frame_folders: bool, any_extension: bool
) -> str | None:
    """Return the path with the name that the file has, None where there is no file."""
    parent, _, name = full.rpartition("/")
    if FLOW_DIRECTION in full:
        return path  # two folders, of which only the decoder knows the names
    names = folders.get(parent)
    if names is None:
        names = folders[parent] = _names(parent or ".")
    stem = _stem(name)
    for form in (name, stem) if any_extension else (name,):
        if form in names and not (frame_folders and any_extension and form != stem):
            return path[: len(path) - len(name)] + names[form]
    return None


def _names(folder: str) -> dict[str, str]:
    """Return the names in a folder by themselves and, of videos, by their stems."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return {}
    return {_stem(name): name for name in reversed(names)} | {name: name for name in names}


def _stem(name: str) -> str:
    stem, extension = os.path.splitext(name)
    return stem if extension.lower() in VIDEO_EXTENSIONS else name


def with_known_lengths(videos: LabeledVideoPaths, index: VideoIndex) -> LabeledVideoPaths:
    """Return videos with the numbers of frames that an index knows where the annotation lacks them."""
    if all(video.num_frames for video in videos):
        return videos
    known = []
    for row, video in enumerate(videos):
        facts = None if video.num_frames else index.facts(videos.full_path(row))
        known.append(video._replace(num_frames=facts.num_frames) if facts and facts.ok else video)
    return videos.with_videos(known)


def unreadable(videos: LabeledVideoPaths, index: VideoIndex) -> Iterator[tuple[str, str]]:
    """Yield the path and the reason of every video that an index knows to be unreadable, and that has not changed."""
    for row in range(len(videos)):
        path = videos.full_path(row)
        facts = index.facts(path, verify=False)
        if facts is not None and not facts.ok and (facts := index.facts(path)) is not None:
            yield path, facts.status
