"""Something-Something (Goyal et al., arXiv 1706.04261), version 1 as folders of frames and version 2 as videos."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eztorch.datasets.annotations.labeled_video import (
    Annotation,
    LabeledVideo,
    class_labels,
    json_of,
    lines_of,
    official_file,
    whole_number,
)
from eztorch.utils.errors import DataError

_SOURCE = "the Something-Something page of Qualcomm's AI data sets (at first of 20BN)"


def read_something_v1(folder: Path, subset: str, num_classes: int = 174) -> Annotation:
    """Read a list of version 1: `something-something-v1-train.csv` of lines `<id>;<label>`, of `test` lines `<id>`.

    Labels are numbered in the order of `something-something-v1-labels.csv`, a label a line. Commas and quotes in them
    do not count: the files do not agree on them.

    Args:
        folder: The folder of the lists.
        subset: `train`, `validation` or `test`; the last has no labels.
        num_classes: Number of classes.

    Raises:
        DataError: A file is missing, a line cannot be read or a label is not known.
    """
    names = tuple(_without_commas(line) for line, _ in lines_of(_file_v1(folder, "labels")))
    _check_classes(folder, len(set(names)), num_classes)
    path = _file_v1(folder, subset)
    videos = []
    for line, where in lines_of(path):
        video, _, text = line.partition(";")
        if whole_number(video) is None or (not text and subset != "test"):
            raise DataError(f"{path}, {where}: expected '<id>;<label>'.")
        name = _without_commas(text)
        label = (
            class_labels([name], names, f"{path}, {where}: the label(s)", "the file of labels")[name] if text else -1
        )
        videos.append(LabeledVideo(video, label))
    return Annotation(videos, names, as_published=True)


def read_something_v2(folder: Path, subset: str, num_classes: int = 174) -> Annotation:
    """Read a list of version 2: `train.json`, `[{"id": "7", "template": "Holding [something]", ...}, ...]`.

    `labels.json`, `{"Holding something": "0", ...}`, gives the label of a template without its brackets. The older
    names `something-something-v2-train.json` and so on will do as well.

    Args:
        folder: The folder of the lists.
        subset: `train`, `validation` or `test`; the last has no templates.
        num_classes: Number of classes.

    Raises:
        DataError: A file is missing, an entry cannot be read or a template is not known.
    """
    names = _classes_v2(_file_v2(folder, "labels"))
    _check_classes(folder, len(names), num_classes)
    path = _file_v2(folder, subset)
    content = json_of(path)
    if not isinstance(content, list):
        raise DataError(f'{path}: expected [{{"id": "7", "template": "Holding [something]"}}, ...].')
    return Annotation([_video_v2(path, entry, names, subset) for entry in content], names, as_published=True)


def _video_v2(path: Path, entry: Any, names: tuple[str, ...], subset: str) -> LabeledVideo:
    template = entry.get("template") if isinstance(entry, Mapping) else None
    if not isinstance(entry, Mapping) or "id" not in entry or (template is None and subset != "test"):
        raise DataError(f'{path}, entry {entry!r}: expected {{"id": "7", "template": "Holding [something]"}}.')
    video = f"{entry['id']}.webm"
    if template is None:
        return LabeledVideo(video)
    name = str(template).replace("[", "").replace("]", "")
    return LabeledVideo(video, class_labels([name], names, f"{path}: the template(s)", "the file of labels")[name])


def _classes_v2(path: Path) -> tuple[str, ...]:
    content = json_of(path)
    numbers = {name: whole_number(number) for name, number in content.items()} if isinstance(content, dict) else {}
    if not numbers or sorted(numbers.values(), key=str) != sorted(range(len(numbers)), key=str):
        raise DataError(f'{path}: expected {{"Holding something": "0", ...}} with the numbers from 0, each once.')
    return tuple(sorted(numbers, key=lambda name: numbers[name] or 0))


def _check_classes(folder: Path, found: int, num_classes: int) -> None:
    if found != num_classes:
        raise DataError(f"{folder}: the file of labels has {found} labels, not {num_classes}.")


def _without_commas(text: str) -> str:
    return text.replace(",", "").replace('"', "").strip()


def _file_v1(folder: Path, name: str) -> Path:
    return official_file(
        folder,
        [f"something-something-v1-{name}.csv"],
        dataset="Something-Something v1",
        source=_SOURCE,
        layout="something-something-v1-{labels,train,validation,test}.csv",
    )


def _file_v2(folder: Path, name: str) -> Path:
    return official_file(
        folder,
        [f"{name}.json", f"something-something-v2-{name}.json"],
        dataset="Something-Something v2",
        source=_SOURCE,
        layout="labels.json, train.json, validation.json and test.json",
    )
