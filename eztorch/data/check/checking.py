"""Examining splits: each medium alone, in processes, then all of them together."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from eztorch.data.check.duplicates import candidates, digest, grouped
from eztorch.data.check.findings import KINDS, Finding
from eztorch.data.check.media import Examined, Task, examine
from eztorch.data.check.sets import (
    check_classes,
    check_copies,
    check_frame_counts,
    check_groups,
    check_lists,
    check_same_path,
    check_unlisted,
)
from eztorch.data.check.sources import Split
from eztorch.data.pool import run_all
from eztorch.data.progress import progress
from eztorch.datasets.video_index import VideoFacts, VideoIndex, stamp
from eztorch.utils.files import JsonLines, read_json_lines


def examine_all(
    splits: Sequence[Split], level: str, *, done: Path | None = None, workers: int = 0
) -> dict[str, Examined]:
    """Examine every medium of some splits once.

    Args:
        splits: The splits.
        level: See `Task`.
        done: File in which what was examined is kept, so that a second call goes on where one was stopped and does not
            examine again what has not changed; None keeps nothing.
        workers: Processes; 0 works in this one.

    Returns:
        What was found, by the path of the medium.
    """
    examined = _read_done(done, level)
    todo = [task for task in _tasks(splits, level) if not _still_true(examined.get(task.path), task)]
    with ExitStack() as stack:
        bar = stack.enter_context(progress("Examining", len(todo)))
        lines = None if done is None else stack.enter_context(JsonLines(done))
        for outcome in run_all(examine, todo, workers=workers):
            task, one = outcome.item, outcome.value
            if one is None:  # a file that takes its process down with it
                reason = outcome.error or "it cannot be examined"
                one = Examined(
                    VideoFacts(task.path, *(stamp(task.path) or (0, 0)), kind=task.kind), [("undecodable", reason)]
                )
            examined[task.path] = one
            if lines is not None:
                lines.append({"level": level, **one.to_json()})
            bar.advance()
    return examined


def find_digests(examined: Mapping[str, Examined], *, workers: int = 0) -> dict[str, str]:
    """Return the digests of the media that may be the same as another, by their sizes and beginnings."""
    sound = {
        path: one.facts for path, one in examined.items() if not {kind for kind, _ in one.faults} & {"missing", "empty"}
    }
    begin = _digests([path for paths in candidates(sound) for path in paths], workers, whole=False)
    alike = grouped(begin, lambda path: (sound[path].size, begin[path]))
    return _digests([path for paths in alike for path in paths], workers, whole=True)


def all_findings(
    splits: Sequence[Split],
    examined: Mapping[str, Examined],
    digests: Mapping[str, str],
    *,
    group: str = "auto",
    folder: str | None = None,
) -> list[Finding]:
    """Return all that is to be said of some splits, in the order of `KINDS` and of the splits.

    Args:
        splits: The splits.
        examined: What was found of each medium.
        digests: See `find_digests`.
        group: How sources are told, see `eztorch.data.split.groups.find_groups`.
        folder: Where to look for media that no split lists; None for nowhere.
    """
    findings = [*_of_media(splits, examined), *check_classes(splits), *check_same_path(splits)]
    for split in splits:
        findings += [*split.findings, *check_lists(split), *check_frame_counts(split, examined)]
    findings += check_copies(splits, examined, digests)
    findings += check_groups(splits, group) if len(splits) > 1 else ()
    findings += check_unlisted(splits, folder) if folder is not None else ()
    kinds, names = list(KINDS), [split.name for split in splits]
    place = {name: number for number, name in enumerate(names)}
    return sorted(dict.fromkeys(findings), key=lambda one: (kinds.index(one.kind), place.get(one.split, len(names))))


def _of_media(splits: Sequence[Split], examined: Mapping[str, Examined]) -> Iterator[Finding]:
    for split in splits:
        for item in {item.path: item for item in split.items}.values():
            for kind, reason in examined[item.path].faults:
                yield Finding(kind, split.name, item.name, reason)


def _tasks(splits: Sequence[Split], level: str) -> Iterator[Task]:
    for split in splits:
        index = VideoIndex.find(_common_folder(split)) if split.items else None
        for item in split.items:
            yield Task(item.path, item.kind, level, None if index is None else index.facts(item.path))


def _common_folder(split: Split) -> str:
    return os.path.commonpath([os.path.dirname(item.path) for item in split.items])


def _read_done(path: Path | None, level: str) -> dict[str, Examined]:
    lines = [] if path is None else read_json_lines(path)
    found = (Examined.from_json(line) for line in lines if line["level"] == level)
    return {one.facts.path: one for one in found}


def _still_true(known: Examined | None, task: Task) -> bool:
    if known is None or known.facts.kind != task.kind:
        return False
    return (known.facts.size, known.facts.mtime_ns) == (stamp(task.path) or (0, 0))


def _digests(paths: Iterable[str], workers: int, *, whole: bool) -> dict[str, str]:
    todo = sorted(set(paths))
    if not todo:
        return {}
    found = {}
    # Threads do: reading and hashing run beside each other, and they need not import anything first.
    what = "Comparing contents" if whole else "Comparing beginnings"
    with progress(what, len(todo)) as bar, ThreadPoolExecutor(max(workers, 1)) as pool:
        for path, value in zip(todo, pool.map(partial(_digest, whole=whole), todo), strict=True):
            if value is not None:
                found[path] = value
            bar.advance()
    return found


def _digest(path: str, *, whole: bool) -> str | None:
    try:
        return digest(path, whole=whole)
    except OSError:
        return None  # it has its finding already
