"""Trees of data in official layouts that only recipes need."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def hmdb51_tree(tmp_path_factory: pytest.TempPathFactory, video_tree: Path) -> Path:
    """HMDB51 in its layout: 51 classes, a training and a test video each, by the files of split 1."""
    root = tmp_path_factory.mktemp("hmdb51")
    splits = root / "testTrainMulti_7030_splits"
    splits.mkdir()
    videos = sorted(video_tree.rglob("*.mp4"))
    for number in range(51):
        name = f"class{number:02d}"
        (splits / f"{name}_test_split1.txt").write_text("a.avi 1 \nb.avi 2 \n")
        (root / "hmdb51_org" / name).mkdir(parents=True)
        for letter, video in zip("ab", videos, strict=False):
            os.link(video, root / "hmdb51_org" / name / f"{letter}.avi")
    return root
