"""Moving digits: the data set that is made where it is missing."""

from __future__ import annotations

import logging
from pathlib import Path

from typing_extensions import Unpack

from eztorch.datamodules.video import VideoBaseDataModule, VideoKeys
from eztorch.datasets.moving_digits import MARKER, make_moving_digits
from eztorch.utils.errors import ConfigError

_log = logging.getLogger("eztorch")


class MovingDigitsDataModule(VideoBaseDataModule):
    """Digits that move over textures; the class is the motion. See `eztorch.datasets.moving_digits`.

    The data set is made by the first run that finds none in `datadir`: some seconds and 12 MB by default.

    Args:
        datadir: Folder of the data set.
        num_train: As for all arguments down to `num_classes`, see `make_moving_digits`.
        num_val: Validation videos.
        size: Height and width in pixels.
        frames: Frames of a video.
        fps: Frames a second.
        seed: Seed of the data set; it does not follow the seed of the run.
        num_classes: How many motions there are.
        **shared: Further keys, see `VideoBaseDataModule`; the test split is by default the videos of `val`.

    Raises:
        ConfigError: As in `VideoBaseDataModule`, or no `datadir` is given.
    """

    def __init__(
        self,
        datadir: str | Path | None = None,
        *,
        num_train: int = 384,
        num_val: int = 128,
        size: int = 64,
        frames: int = 24,
        fps: int = 12,
        seed: int = 0,
        num_classes: int = 8,
        **shared: Unpack[VideoKeys],
    ) -> None:
        if datadir is None:
            raise ConfigError("datamodule.datadir is missing: write dir.data=/path/to/folder for the moving digits.")
        super().__init__(datadir, **shared)
        self.root = Path(datadir)
        self.num_classes = num_classes
        self.parameters = {
            "num_train": num_train,
            "num_val": num_val,
            "size": size,
            "frames": frames,
            "fps": fps,
            "seed": seed,
            "num_classes": num_classes,
        }

    def prepare_data(self) -> None:
        """Make the data set if it is not there.

        Raises:
            ConfigError: A parameter of the data set is out of its range.
            DataError: `datadir` holds something else.
        """
        if not (self.root / MARKER).is_file():
            count = self.parameters["num_train"] + self.parameters["num_val"]
            _log.info(f"Making {count} videos of moving digits in {self.root}.")
        make_moving_digits(self.root, **self.parameters)
