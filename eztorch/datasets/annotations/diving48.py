"""Diving48 (Li et al., ECCV 2018), the first version and the corrected one of 2020."""

from __future__ import annotations

from pathlib import Path

from eztorch.datasets.annotations.labeled_video import (
    Annotation,
    LabeledVideo,
    json_of,
    label_check,
    official_file,
    whole_number,
)
from eztorch.datasets.decoders.reader import Segment
from eztorch.utils.errors import DataError


def read_diving48(folder: Path, subset: str, version: int = 2, num_classes: int = 48) -> Annotation:
    """Read `Diving48_V2_train.json` (`Diving48_train.json` of version 1): entries with a video, its label and its part.

    An entry is `{"vid_name": "a_00001", "label": 26, "start_frame": 0, "end_frame": 95}`; the last frame is meant too.
    Where `Diving48_vocab.json` is there, it says what the classes are called.

    Args:
        folder: The folder of the files.
        subset: `train` or `test`.
        version: 1, or 2 for the corrected labels.
        num_classes: Number of classes.

    Raises:
        DataError: A file is missing or an entry cannot be read.
    """
    if version not in (1, 2):
        raise DataError(f"datamodule.version={version!r}; Diving48 has the versions 1 and 2.")
    edition = "_V2" if version == 2 else ""
    path = official_file(
        folder,
        [f"Diving48{edition}_{subset}.json"],
        dataset=f"Diving48, version {version}",
        source="the Diving48 page (RESOUND) of the SVCL, UC San Diego",
        layout=f"Diving48{edition}_train.json, Diving48{edition}_test.json and Diving48_vocab.json",
    )
    label_of = label_check(path, num_classes)
    videos = []
    for number, entry in enumerate(json_of(path)):
        where = f"entry {number} ({entry!r})"
        fields = entry if isinstance(entry, dict) else {}
        first, last = whole_number(fields.get("start_frame")), whole_number(fields.get("end_frame"))
        if "vid_name" not in fields or first is None or last is None or not 0 <= first <= last:
            raise DataError(f"{path}, {where}: expected vid_name, label, start_frame and end_frame.")
        # Clips are cut already: a part that begins at 0 is the whole, whatever the number of frames was counted with.
        segment = Segment(first, last + 1, "frames") if first else None
        videos.append(LabeledVideo(f"{fields['vid_name']}.mp4", label_of(fields.get("label"), where), None, segment))
    return Annotation(videos, _classes(folder, num_classes), as_published=True)


def _classes(folder: Path, num_classes: int) -> tuple[str, ...]:
    path = folder / "Diving48_vocab.json"
    if not path.is_file():
        return ()
    names = tuple("-".join(name) if isinstance(name, list) else str(name) for name in json_of(path))
    if len(names) != num_classes:
        raise DataError(f"{path}: it has {len(names)} classes, not {num_classes}.")
    return names
