"""The files that an annotation lists: which of them there are, and what an index knows of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from eztorch.datasets.annotations.forms import VIDEO_EXTENSIONS
from eztorch.datasets.annotations.paths import LabeledVideoPaths
from eztorch.datasets.decoders.flow import FLOW_DIRECTION
from eztorch.datasets.video_index import VideoIndex


class _Folder(NamedTuple):
    """What is in a folder: the names, and the name of the video file of each stem."""

    names: frozenset[str]
    files: dict[str, str]


def locate(
    videos: LabeledVideoPaths, *, frame_folders: bool | None = False, as_published: bool = False
) -> tuple[LabeledVideoPaths, list[int]]:
    """Look for the files of videos, with one look into each folder that they are in, not at each file.

    Args:
        videos: The videos.
        frame_folders: Whether they are folders of frames; None where they may be either.
        as_published: Whether a file that differs from what is listed by its extension alone, or a folder without one,
            may stand for it.

    Returns:
        The videos, each with the path of the file that there is, and the indices of those that have none.
    """
    folders: dict[str, _Folder] = {}
    found: dict[str, str | None] = {}
    paths = [video.path for video in videos]
    for path in paths:
        if path not in found:
            parent, name = os.path.split(os.path.join(videos.path_prefix, path))
            if parent not in folders:
                folders[parent] = _look(parent or ".")
            known = name if FLOW_DIRECTION in parent else _match(name, folders[parent], frame_folders, as_published)
            found[path] = None if known is None else path[: len(path) - len(name)] + known
    missing = [index for index, path in enumerate(paths) if found[path] is None]
    if all(one in (path, None) for path, one in found.items()):
        return videos, missing
    return videos.with_videos([video._replace(path=found[video.path] or video.path) for video in videos]), missing


def _look(folder: str) -> _Folder:
    try:
        names = sorted(os.listdir(folder), reverse=True)
    except OSError:
        names = []
    return _Folder(frozenset(names), {_stem(name): name for name in names if _stem(name) != name})


def _match(name: str, folder: _Folder, frame_folders: bool | None, as_published: bool) -> str | None:
    """Return what stands in a folder for a name that is listed.

    >>> folder = _Folder(frozenset({"a.mp4", "b"}), {"a": "a.mp4"})
    >>> _match("a.avi", folder, False, False), _match("a.avi", folder, False, True), _match("b.avi", folder, True, True)
    (None, 'a.mp4', 'b')
    """
    stem = _stem(name) if as_published else name
    if not frame_folders:
        if name in folder.names:
            return name
        if as_published and stem in folder.files:
            return folder.files[stem]
    return stem if frame_folders is not False and stem in folder.names else None


def _stem(name: str) -> str:
    stem, extension = os.path.splitext(name)
    return stem if extension.lower() in VIDEO_EXTENSIONS else name


def with_known_lengths(videos: LabeledVideoPaths, index: VideoIndex) -> LabeledVideoPaths:
    """Return videos with the numbers of frames that an index knows where the annotation lacks them."""
    known = [
        index.facts(videos.full_path(row)) if video.num_frames is None else None for row, video in enumerate(videos)
    ]
    if not any(known):
        return videos
    return videos.with_videos(
        [
            video._replace(num_frames=facts.num_frames) if facts and facts.ok else video
            for video, facts in zip(videos, known, strict=True)
        ]
    )


def unreadable(videos: LabeledVideoPaths, index: VideoIndex) -> Iterator[tuple[str, str]]:
    """Yield the path and the reason of every video that an index knows to be unreadable, and that has not changed."""
    bad = {os.path.join(index.folder, facts.path) for facts in index if not facts.ok}
    for row in range(len(videos) if bad else 0):
        path = os.path.abspath(videos.full_path(row))
        if path in bad and (facts := index.facts(path)) is not None:
            yield path, facts.status
