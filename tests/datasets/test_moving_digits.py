from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from eztorch.datasets import moving_digits
from eztorch.datasets.moving_digits import MARKER, MOTIONS, PHASES, draw_phases, make_moving_digits, render
from eztorch.utils.errors import ConfigError, DataError

SMALL = {"num_train": 4, "num_val": 3, "size": 16, "frames": 3, "num_classes": 2}
CHANCE = 1 / len(MOTIONS)


def read(path: Path) -> np.ndarray:
    """Frames (T, H, W, 3) of a file."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def read_split(root: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Grey frames (N, T, H, W) in [0, 1] and labels (N,) of the videos that the annotation lists."""
    lines = [line.split(" ") for line in (root / f"{split}.csv").read_text().splitlines()]
    videos = [read(root / split / name).mean(-1, dtype=np.float32) / 255 for name, _ in lines]
    return np.stack(videos), np.array([int(label) for _, label in lines])


def files_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set large enough to learn from, with more validation videos than usual for tight bounds."""
    return make_moving_digits(tmp_path_factory.mktemp("digits") / "data", num_train=384, num_val=192)


@pytest.fixture(scope="module")
def splits(digits: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return *read_split(digits, "train"), *read_split(digits, "val")


def test_make_moving_digits__writes_the_kinetics_layout(digits):
    for split, count in (("train", 384), ("val", 192)):
        assert sorted(path.name for path in (digits / split).iterdir()) == list(MOTIONS) == sorted(MOTIONS)
        lines = [line.split(" ") for line in (digits / f"{split}.csv").read_text().splitlines()]
        assert len(lines) == len({name for name, _ in lines}) == count == len(list((digits / split).rglob("*.mp4")))
        for name, label in lines:
            assert (digits / split / name).is_file()
            assert name.split("/")[0] == list(MOTIONS)[int(label)]
        labels = [int(label) for _, label in lines]
        assert set(np.bincount(labels)) == {count // len(MOTIONS)}


def test_make_moving_digits__files_are_h264_with_the_given_rate_and_length(tmp_path):
    root = make_moving_digits(tmp_path / "data", num_train=2, num_val=2, size=18, frames=7, fps=5, num_classes=2)
    with av.open(str(next((root / "train").rglob("*.mp4")))) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.average_rate, stream.frames) == ("h264", 5, 7)
        assert (stream.height, stream.width) == (18, 18)
        # Each frame is coded by itself: differences would carry the motion into single frames.
        assert [frame.key_frame for frame in container.decode(stream)] == [True] * 7


def test_make_moving_digits__no_frame_alone_tells_the_class(splits):
    train, train_labels, val, val_labels = splits
    bound = CHANCE + 3.5 * np.sqrt(CHANCE * (1 - CHANCE) / len(val_labels))  # 0.21
    for frame in (0, train.shape[1] // 2, -1):
        pixels = [videos[:, frame].reshape(len(videos), -1) for videos in (train, val)]
        knn = KNeighborsClassifier(10, metric="cosine").fit(pixels[0], train_labels)
        assert knn.score(pixels[1], val_labels) < bound
        # Sharpness too: compression may treat a moving part of the picture otherwise than a still one.
        features = [np.stack([appearance(video[frame]) for video in videos]) for videos in (train, val)]
        linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(features[0], train_labels)
        assert linear.score(features[1], val_labels) < bound


def test_make_moving_digits__a_simple_description_of_the_motion_tells_the_class(splits):
    train, train_labels, val, val_labels = splits
    features = [np.stack([movement(video) for video in videos]) for videos in (train, val)]
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(features[0], train_labels)
    assert linear.score(features[1], val_labels) > 0.9


def appearance(frame: np.ndarray) -> np.ndarray:
    """Position, size, shape and direction of the digit, and how sharp the frame is at three scales."""
    blocks = [frame[i::8, j::8].std() for i in (0, 4) for j in (0, 4)]
    sharpness = [np.abs(np.diff(frame, step, axis)).mean() for step in (1, 2, 3) for axis in (0, 1)]
    border = np.abs(frame[:, 7::8][:, :-1] - frame[:, 8::8]).mean()  # between the 8 x 8 blocks of the codec
    return np.array([*moments(frame), frame.mean(), frame.std(), *blocks, *sharpness, border])


def movement(video: np.ndarray) -> np.ndarray:
    """How much the moments of the digit and the background change, and how long the way of its centre is."""
    shape = np.stack([moments(frame) for frame in video])
    background = np.median(np.abs(np.diff(video, axis=0)), axis=(1, 2)).mean()
    return np.log(np.array([*shape.std(0), *np.abs(np.diff(shape, axis=0)).mean(0), background]) + 1e-3)


def moments(frame: np.ndarray) -> np.ndarray:
    """Centre, area and second moments of the bright pixels of a frame (H, W)."""
    ink = np.clip(frame - 0.6, 0, None)
    ink = ink / max(ink.sum(), 1e-6)
    axis = np.linspace(-1, 1, len(frame))
    x, y = ink.sum(0) @ axis, ink.sum(1) @ axis
    xx, yy = ink.sum(0) @ (axis - x) ** 2, ink.sum(1) @ (axis - y) ** 2
    return np.array([x, y, (frame > 0.6).mean(), xx, yy, (axis - y) @ ink @ (axis - x)])


@pytest.mark.parametrize("motion", MOTIONS)
def test_draw_phases__are_uniform_and_independent_at_every_frame(motion):
    rng, draws = torch.Generator().manual_seed(0), 3000
    videos = [draw_phases(motion, 13, 12, rng) for _ in range(draws)]
    phases = torch.stack([torch.stack([video[name] for name in PHASES]) for video in videos])  # (N, 6, T)
    waves = torch.exp(1j * phases[:, :, [0, 6, 12]])
    # The mean of a uniform phase, and of sums and differences of two independent ones, is 0 up to 1/sqrt(N) = 0.018.
    assert waves.mean(0).abs().max() < 0.07
    for i in range(len(PHASES)):
        for j in range(i):
            assert (waves[:, i] * waves[:, j]).mean(0).abs().max() < 0.07
            assert (waves[:, i] * waves[:, j].conj()).mean(0).abs().max() < 0.07
    running = {name for index, name in enumerate(PHASES) if phases[:, index].diff(dim=-1).abs().max() > 0}
    assert running == set(MOTIONS[motion])


def test_draw_phases__draws_equally_much_for_every_motion():
    after = set()
    for motion in MOTIONS:
        rng = torch.Generator().manual_seed(3)
        draw_phases(motion, 4, 12, rng)
        after.add(torch.rand((), generator=rng).item())
    assert len(after) == 1


def test_render__puts_the_digit_where_the_phases_say():
    zero = torch.zeros(1, dtype=torch.float64)
    still = dict.fromkeys(PHASES, zero)
    digit, texture = torch.ones(8, 8), torch.zeros(3, 40, 40)

    def moments_of(**phases: float) -> np.ndarray:
        moved = {name: zero + value for name, value in phases.items()}
        return moments(render({**still, **moved}, digit, texture, 32)[0].mean(-1) / 255)

    centre = moments_of()
    np.testing.assert_allclose(centre[:2], 0, atol=0.02)
    assert moments_of(x=np.pi / 2)[0] == pytest.approx(0.4, abs=0.02)
    assert moments_of(y=-np.pi / 2)[1] == pytest.approx(-0.4, abs=0.02)
    assert moments_of(size=np.pi / 2)[2] > 2 * centre[2] > 4 * moments_of(size=-np.pi / 2)[2]
    assert np.abs(moments_of(angle=np.pi / 4)[3:5] - centre[3:5]).max() < 0.01  # a square turned about its centre
    assert moments_of(x=np.pi / 2, angle=1.0)[0] == pytest.approx(0.4, abs=0.02)  # it turns about itself


def test_render__moves_the_camera_over_the_texture():
    quarter = torch.tensor([-0.5, 0.5], dtype=torch.float64) * np.pi
    texture = torch.arange(24 * 24).view(1, 24, 24).expand(3, -1, -1) / (24 * 24)
    still = dict.fromkeys(PHASES, torch.zeros(2, dtype=torch.float64))
    video = render({**still, "u": quarter, "v": -quarter}, torch.zeros(8, 8), texture, 16)
    expected = (texture[0] * 255).round().numpy()
    np.testing.assert_array_equal(video[0, :, :, 0], expected[8:, :16])
    np.testing.assert_array_equal(video[1, :, :, 2], expected[:16, 8:])


def test_make_moving_digits__the_seed_decides_every_byte(tmp_path):
    first = make_moving_digits(tmp_path / "a", seed=5, **SMALL)
    again = make_moving_digits(tmp_path / "b", seed=5, **SMALL)
    other = make_moving_digits(tmp_path / "c", seed=6, **SMALL)
    assert files_of(first) == files_of(again)
    videos = [{k: v for k, v in files_of(root).items() if k.endswith(".mp4")} for root in (first, other)]
    assert videos[0].keys() == videos[1].keys()
    assert all(videos[0][name] != videos[1][name] for name in videos[0])


def test_make_moving_digits__splits_share_no_digit():
    train, val = moving_digits._digits("train"), moving_digits._digits("val")
    assert len(train) + len(val) == 1797
    distances = torch.cdist(val.flatten(1), train.flatten(1))
    assert distances.min() > 0


def test_make_moving_digits__second_call_does_nothing(tmp_path):
    root = make_moving_digits(tmp_path / "data", **SMALL)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert make_moving_digits(str(root), **SMALL) == root
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_make_moving_digits__other_parameters_in_the_folder_are_an_error_that_names_both(tmp_path):
    root = make_moving_digits(tmp_path / "data", **SMALL)
    with pytest.raises(DataError, match=r'(?s)data holds.*"num_val": 3.*wanted.*"num_val": 5.*Choose another folder'):
        make_moving_digits(root, **{**SMALL, "num_val": 5})


def test_make_moving_digits__refuses_a_folder_of_something_else(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=f"is not empty and has no {MARKER}"):
        make_moving_digits(tmp_path, **SMALL)
    with pytest.raises(DataError, match=r"notes\.txt is a file"):
        make_moving_digits(tmp_path / "notes.txt", **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_make_moving_digits__takes_an_empty_folder_and_makes_parents(tmp_path):
    (tmp_path / "empty").mkdir()
    assert (make_moving_digits(tmp_path / "empty", **SMALL) / MARKER).is_file()
    made = make_moving_digits(tmp_path / "a/b/c", **SMALL)
    assert json.loads((made / MARKER).read_text())["num_train"] == 4


def test_make_moving_digits__an_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    written = []

    def interrupted(path: Path, *_: object) -> None:
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path)

    with monkeypatch.context() as patch:
        patch.setattr(moving_digits, "_encode", interrupted)
        with pytest.raises(KeyboardInterrupt):
            make_moving_digits(tmp_path / "data", **SMALL)
    assert len(written) == 3
    assert list(tmp_path.iterdir()) == []
    assert (make_moving_digits(tmp_path / "data", **SMALL) / MARKER).is_file()


def test_make_moving_digits__the_slower_of_two_takes_what_the_faster_made(tmp_path, monkeypatch):
    root, encode = tmp_path / "data", moving_digits._encode

    def overtaken(*arguments: object) -> None:
        monkeypatch.setattr(moving_digits, "_encode", encode)
        make_moving_digits(root, **SMALL)
        encode(*arguments)

    monkeypatch.setattr(moving_digits, "_encode", overtaken)
    make_moving_digits(root, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert len(list(root.rglob("*.mp4"))) == 7


def test_make_moving_digits__a_rename_that_fails_is_not_hidden(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(PermissionError, match="read-only"):
        make_moving_digits(tmp_path / "data", **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_make_moving_digits__several_processes_at_once_make_one_data_set(tmp_path):
    call = f"make_moving_digits({str(tmp_path / 'data')!r}, **{SMALL})"
    code = f"from eztorch.datasets.moving_digits import make_moving_digits; {call}"
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("num_classes", 9, "num_classes=9 is out of range; there are 2 to 8 motions"),
        ("num_classes", 1, "num_classes=1 is out of range"),
        ("num_train", 1, "num_train=1 is too few: each of the 2 classes needs a video"),
        ("num_val", 0, "num_val=0 is too few"),
        ("size", 33, "size=33 cannot be used; h264 needs an even size"),
        ("size", 14, "size=14 cannot be used"),
        ("frames", 0, "frames=0 cannot be used; expected a positive number"),
        ("fps", 0, "fps=0 cannot be used"),
        ("seed", -1, "seed=-1 cannot be used; expected 0 or more"),
    ],
)
def test_make_moving_digits__parameters_out_of_range(tmp_path, key, value, message):
    with pytest.raises(ConfigError, match=message):
        make_moving_digits(tmp_path / "data", **{**SMALL, key: value})
    assert list(tmp_path.iterdir()) == []
