"""Trees of data in official layouts that only recipes need."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


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


@pytest.fixture(scope="session")
def epic_kitchens55_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """EPIC-Kitchens-55 in its layout: four actions to train on and two to validate, as frames."""
    root = tmp_path_factory.mktemp("epic_kitchens55")
    columns = "participant_id,video_id,start_timestamp,stop_timestamp,start_frame,stop_frame,verb_class,noun_class"
    lines = [columns]
    for video, parts in (("P01_01", 4), ("P27_01", 2)):
        folder = root / "frames_rgb_flow" / "rgb" / "train" / video[:3] / video
        folder.mkdir(parents=True)
        for number in range(1, 5 * parts + 1):
            pixels = np.random.default_rng((parts, number)).integers(0, 255, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"frame_{number:010d}.jpg")
        for part in range(parts):
            frames = f"{5 * part + 1},{5 * part + 5}"
            lines.append(f"{video[:3]},{video},00:00:00.00,00:00:01.00,{frames},{part},{part + 10}")
    (root / "annotations").mkdir()
    (root / "annotations/EPIC_train_action_labels.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="session")
def something_v1_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Something-Something v1 in its layout: 174 classes, four videos to train and two to validate, as frames."""
    root = tmp_path_factory.mktemp("something_v1")
    lists = root / "annotations"
    lists.mkdir()
    (lists / "something-something-v1-labels.csv").write_text("\n".join(f"class{number}" for number in range(174)))
    for subset, videos in (("train", range(1, 5)), ("validation", range(5, 7))):
        lines = [f"{video};class{video % 2}" for video in videos]
        (lists / f"something-something-v1-{subset}.csv").write_text("\n".join(lines))
    for video in range(1, 7):
        folder = root / "20bn-something-something-v1" / str(video)
        folder.mkdir(parents=True)
        for number in range(1, 10):
            pixels = np.random.default_rng((video, number)).integers(0, 255, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number:05d}.jpg")
    return root
