"""Real media for the tests, made once a session: small videos and folders of frames in the Kinetics layout."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from eztorch.datamodules.imagenet import IMAGENET100_CLASSES

# One thread a process: the tests run side by side, and sums of floats do not depend on the machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

CLASSES = ("falling", "rising")


def moving_bar(label: int, number: int, num_frames: int, height: int, width: int) -> np.ndarray:
    """Frames (T, H, W, 3) of a bright bar that moves down (label 0) or up (label 1) over a still texture."""
    rng = np.random.default_rng((label, number))
    frames = np.repeat(rng.integers(0, 90, (1, height, width, 3), dtype=np.uint8), num_frames, axis=0)
    start = rng.integers(height)
    for t in range(num_frames):
        row = int(start + (1 - 2 * label) * t * 2) % height
        frames[t, row : row + 6] = 230
    return frames


def write_video(path: Path, frames: np.ndarray, fps: int = 15) -> None:
    """Encode frames (T, H, W, 3) as h264."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"g": "12", "threads": "1"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def write_frames(folder: Path, frames: np.ndarray) -> None:
    """Write frames (T, H, W, 3) as 00000001.jpg and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames, start=1):
        Image.fromarray(frame).save(folder / f"{number:08d}.jpg", quality=90)


def make_tree(root: Path, *, as_frames: bool, videos_per_class: int = 4, num_frames: int = 30) -> Path:
    """Make train and val in the Kinetics layout, with train.csv and val.csv beside the folders."""
    for split in ("train", "val"):
        lines = []
        for label, name in enumerate(CLASSES):
            for number in range(videos_per_class):
                frames = moving_bar(label, number + 100 * (split == "val"), num_frames, 48, 64)
                if as_frames:
                    write_frames(root / split / name / f"v{number}", frames)
                    lines.append(f"{name}/v{number} {label} {num_frames}")
                else:
                    write_video(root / split / name / f"v{number}.mp4", frames)
                    lines.append(f"{name}/v{number}.mp4 {label}")
        (root / f"{split}.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="session")
def run_program() -> Callable[..., None]:
    """Run a program with some arguments to its end, in two processes that find each other, or in as many as is said."""

    def run(program: str | Path, *arguments: Any, processes: int = 2) -> None:
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        command = [sys.executable, *(launcher if processes > 1 else []), program, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr

    return run


@pytest.fixture(scope="session")
def video_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in the Kinetics layout: 2 classes, 4 videos each and split, 64 x 48, 2 s at 15 frames a second."""
    return make_tree(tmp_path_factory.mktemp("videos"), as_frames=False)


@pytest.fixture(scope="session")
def frame_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same videos as folders of JPEG frames."""
    return make_tree(tmp_path_factory.mktemp("frames"), as_frames=True)


@pytest.fixture(scope="session")
def cifar_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CIFAR-10 as pictures in folders, 32 x 32: train and test of 10 classes with 2 pictures each."""
    root = tmp_path_factory.mktemp("cifar10")
    for split in ("train", "test"):
        for label in range(10):
            folder = root / split / f"class{label}"
            folder.mkdir(parents=True)
            for number in range(2):
                rng = np.random.default_rng((label, number + 100 * (split == "test")))
                picture = rng.integers(20 * label, 20 * label + 60, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(picture).save(folder / f"{number:04d}.jpg", quality=95)
    return root


@pytest.fixture(scope="session")
def imagenet_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ImageNet's folders, train and val of 1000 wnids with one picture each, the 100 of ImageNet-100 among them."""
    root = tmp_path_factory.mktemp("imagenet")
    picture = root / "picture.jpg"
    pixels = np.random.default_rng(0).integers(0, 255, (40, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(picture)
    names = [*IMAGENET100_CLASSES, *(f"x{number:08d}" for number in range(900))]
    for split in ("train", "val"):
        for name in names:
            folder = root / split / name
            folder.mkdir(parents=True)
            os.link(picture, folder / f"{name}_0.JPEG")
    return root


@pytest.fixture(scope="session")
def kinetics400_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kinetics-400's folders, train and val of 400 classes with one video each."""
    root = tmp_path_factory.mktemp("kinetics400")
    video = root / "video.mp4"
    write_video(video, moving_bar(0, 0, 30, 48, 64))
    for split in ("train", "val"):
        for number in range(400):
            folder = root / split / f"class{number:03d}"
            folder.mkdir(parents=True)
            os.link(video, folder / "v.mp4")
    return root


# Overrides that make the Kinetics-200 recipe a matter of seconds on a CPU; every key of the recipe stays in use.
TINY = """
trainer.accelerator=cpu trainer.precision=32 trainer.sync_batchnorm=false trainer.benchmark=false
trainer.max_epochs=2 trainer.log_every_n_steps=1
datamodule.decoder=pyav datamodule.decoder_args.frame_filter.num_samples=4 datamodule.decoder_args.decode_float=false
datamodule.train.global_batch_size=4 datamodule.train.loader.num_workers=0 datamodule.train.loader.pin_memory=false
datamodule.train.clip_sampler.clip_duration=1
datamodule.train.transform.transform.target_height=32 datamodule.train.transform.transform.target_width=32
datamodule.val.loader.num_workers=0 datamodule.val.loader.pin_memory=false datamodule.val.clip_sampler.clip_duration=1
datamodule.val.transform.transform.transforms.0.size=32 datamodule.val.transform.transform.transforms.1.size=32
+model.trunk.model.stem_dim_out=4 model.trunk.head.in_features=32
model.projector.input_dim=32 model.projector.hidden_dims=[16,16] model.projector.output_dim=8
model.predictor.input_dim=8 model.predictor.hidden_dims=[16] model.predictor.output_dim=8
callbacks.linear_probe.classifier.input_dim=32
model.queue.size=16 model.queue.feature_dim=8 model.optimizer.scheduler.params.warmup_epochs=1
"""


@pytest.fixture(scope="session")
def tiny_pretraining(video_tree: Path) -> list[str]:
    """Command line of a pretraining of seconds over real videos; dir.root and dir.exp are left to the test."""
    return ["-cn", "pretrain_r3d18_SCE_kinetics200", f"dir.data={video_tree}", *TINY.split()]


@pytest.fixture(autouse=True)
def same_draws() -> None:
    """Let every test draw the same numbers at every run, in whatever order the tests come."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def no_seed_left_behind() -> Iterator[None]:
    """Let no test see the seed of a run that another test, or a fixture of another module, made in this process."""
    _forget_seed()
    yield
    _forget_seed()


def _forget_seed() -> None:
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        os.environ.pop(name, None)
