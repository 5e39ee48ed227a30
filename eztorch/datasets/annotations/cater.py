"""CATER (Girdhar and Ramanan, arXiv 1910.04744): which actions happen, which pairs of them, where the snitch ends."""

from __future__ import annotations

from pathlib import Path

from eztorch.datasets.annotations.labeled_video import (
    Annotation,
    Label,
    LabeledVideo,
    label_check,
    lines_of,
    official_file,
)
from eztorch.utils.errors import DataError

# Task: folder of its lists, number of classes, whether a video has several of them.
TASKS = {1: ("actions_present", 14, True), 2: ("actions_order_uniq", 301, True), 3: ("localize", 36, False)}


def read_cater(folder: Path, subset: str, task: int) -> Annotation:
    """Read a list of CATER, `<folder of the task>/train.txt`, of lines `<video> <label>[,<label>...]`.

    Args:
        folder: The folder `lists`.
        subset: `train`, `val`, or `train_subsetT` and `train_subsetV`, four fifths and one fifth of the first.
        task: 1, atomic actions (14 labels); 2, pairs of actions in time (301 labels); 3, where the snitch is at the
            end (one class of 36).

    Raises:
        DataError: The list is missing or a line cannot be read.
    """
    name, num_classes, several = TASKS[task]
    path = official_file(
        folder / name,
        [f"{subset}.txt"],
        dataset="CATER",
        source="lists.zip of max2action (tasks 1 and 2) or all_actions (task 3) on the CATER page",
        layout="train.txt and val.txt, inside of the folder `lists`",
    )
    label_of = label_check(path, num_classes)
    videos = []
    for line, where in lines_of(path):
        columns = line.split()
        if len(columns) != 2:
            raise DataError(f"{path}, {where}: expected '<video> <label>[,<label>...]'.")
        present = {label_of(label, where) for label in columns[1].split(",")}
        if -1 in present or (len(present) > 1 and not several):
            raise DataError(f"{path}, {where}: expected {'labels' if several else 'one label'} from 0.")
        label: Label = tuple(float(one in present) for one in range(num_classes)) if several else present.pop()
        videos.append(LabeledVideo(columns[0], label))
    return Annotation(videos, as_published=True)
