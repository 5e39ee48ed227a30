"""The official splits of UCF101 (Soomro et al., arXiv 1212.0402) and HMDB51 (Kuehne et al., ICCV 2011)."""

from __future__ import annotations

import re
from pathlib import Path

from eztorch.datasets.annotations.forms import read_csv
from eztorch.datasets.annotations.labeled_video import (
    Annotation,
    LabeledVideo,
    class_labels,
    frame_count,
    lines_of,
    official_file,
    whole_number,
)
from eztorch.utils.errors import ConfigError, DataError

_UCF101_LAYOUT = "classInd.txt, trainlist01.txt to trainlist03.txt and testlist01.txt to testlist03.txt"
_UCF101_SOURCE = "UCF101TrainTestSplits-RecognitionTask.zip on the UCF101 page of CRCV, University of Central Florida"
_HMDB51_USE = {"unused": 0, "train": 1, "test": 2}
_HMDB51_LISTS = {"unused": ("unused", "unlabeled")}  # the predecessor writes it under the second name


def read_ucf101(folder: Path, subset: str, split_id: int = 1, num_classes: int = 101) -> Annotation:
    """Read a list of UCF101: `trainlist01.txt` of lines `<class>/<video> [<label from 1>]`, likewise for `test`.

    The class is the folder of the video; `classInd.txt` with lines `<label from 1> <class>` says its label, which
    begins at 0. A third column, as lists for folders of frames have it, is the number of frames.

    Args:
        folder: The folder of the lists.
        subset: `train` or `test`.
        split_id: Which of the three official splits.
        num_classes: Number of classes.

    Raises:
        DataError: A file is missing, a line cannot be read, or a class is not in `classInd.txt`.
    """
    _check_split(split_id)

    def find(name: str) -> Path:
        return official_file(folder, [name], dataset="UCF101", source=_UCF101_SOURCE, layout=_UCF101_LAYOUT)

    names = _ucf101_classes(find("classInd.txt"), num_classes)
    path = find(f"{subset}list0{split_id}.txt")
    videos = []
    for line, where in lines_of(path):
        video, *numbers = line.split()
        name = video.rpartition("/")[0].rpartition("/")[2]
        label = class_labels([name], names, f"{path}, {where}: the class(es)", "classInd.txt")[name]
        if len(numbers) > 2 or None in map(whole_number, numbers):
            raise DataError(f"{path}, {where}: expected '<class>/<video> [<label> [<number of frames>]]'.")
        if len(numbers) == 1 and int(numbers[0]) != label + 1:
            raise DataError(f"{path}, {where}: classInd.txt gives {name} the number {label + 1}, not {numbers[0]}.")
        videos.append(LabeledVideo(video, label, frame_count(numbers[1], path, where) if numbers[1:] else None))
    return Annotation(videos, names, as_published=True)


def read_hmdb51(folder: Path, subset: str, split_id: int = 1, num_classes: int = 51) -> Annotation:
    """Read a split of HMDB51: a file `<class>_test_split1.txt` a class, of lines `<video> <0, 1 or 2>`.

    0 stands for unused, 1 for train, 2 for test; labels are the classes in alphabetical order. Where the folder has
    `trainlist01.txt` (or of another subset and split), a csv file of lines `<path> <label> [<number of frames>]`, it is
    read in their place.

    Args:
        folder: The folder of the files.
        subset: `train`, `test` or `unused`.
        split_id: Which of the three official splits.
        num_classes: Number of classes.

    Raises:
        DataError: A file is missing or a line cannot be read.
    """
    _check_split(split_id)
    lists = [f"{name}list0{split_id}.txt" for name in _HMDB51_LISTS.get(subset, (subset,))]
    for path in (folder / name for name in lists):
        if path.is_file():
            return Annotation(read_csv(path, num_classes), as_published=True)
    files = {path.name: path for path in sorted(folder.glob(f"*_test_split{split_id}.txt"))}
    if len(files) != num_classes:
        official_file(
            folder,
            lists if files else [f"<class>_test_split{split_id}.txt"],
            dataset="HMDB51",
            source="test_train_splits.rar on the HMDB51 page of the Serre lab, Brown University",
            layout=f"<class>_test_split{split_id}.txt for each of the {num_classes} classes (there are {len(files)})",
        )
    names = tuple(re.sub(rf"_test_split{split_id}\.txt$", "", name) for name in files)
    videos = []
    for label, (name, path) in enumerate(zip(names, files.values(), strict=True)):
        for line, where in lines_of(path):
            video, _, use = line.rpartition(" ")
            if use not in ("0", "1", "2") or not video:
                raise DataError(f"{path}, {where}: expected '<video> <0 for unused, 1 for train, 2 for test>'.")
            if int(use) == _HMDB51_USE[subset]:
                videos.append(LabeledVideo(f"{name}/{video.strip()}", label))
    return Annotation(videos, names, as_published=True)


def _check_split(split_id: int) -> None:
    if split_id not in (1, 2, 3):
        raise ConfigError(f"datamodule.split_id={split_id!r}; the official splits are 1, 2 and 3.")


def _ucf101_classes(path: Path, num_classes: int) -> tuple[str, ...]:
    names = {}
    for line, where in lines_of(path):
        number, _, name = line.partition(" ")
        if whole_number(number) is None or not name:
            raise DataError(f"{path}, {where}: expected '<label from 1> <class>'.")
        names[int(number)] = name.strip()
    if sorted(names) != list(range(1, num_classes + 1)):
        raise DataError(f"{path}: expected the labels 1 to {num_classes}, each once; it has {len(names)}.")
    return tuple(names[number] for number in sorted(names))
