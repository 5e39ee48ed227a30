"""What `eztorch data prepare` makes of media, in a form that its ledger can hold."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

# Options of x264 for each form of video. `fastdecode` leaves out what costs the most to decode: CABAC and the filter
# over the edges of blocks.
ENCODINGS: dict[str, dict[str, str]] = {
    "short-gop": {"g": "12"},
    "short-gop-6": {"g": "6", "bf": "0"},
    "intra": {"g": "1", "bf": "0"},
}
FORMS = {
    "short-gop": "h264 with a key frame every 12 frames: hardly larger, and fast to read in places",
    "short-gop-6": "h264 with a key frame every 6 frames and no B-frames: larger, faster",
    "intra": "h264 of key frames alone: two to three times as large, the fastest of the videos",
    "frames": "a folder of pictures 00000001.jpg and on, for the decoder `frame`: ten times as large",
}
SPEEDS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")


@dataclass(frozen=True)
class Recipe:
    """How media are made anew.

    Attributes:
        to: A name in `FORMS`, for videos.
        short_side: Pixels of the shorter side of what is larger; None keeps the size.
        crf: Quality of the video, from 0 (lossless) to 51; 23 is the encoder's default.
        speed: Preset of x264: slower ones make smaller files.
        quality: Quality of JPEG pictures, 1 to 100.
        fps: Frames a second; None keeps every frame at its own time.
    """

    to: str = "short-gop"
    short_side: int | None = 256
    crf: int = 23
    speed: str = "medium"
    quality: int = 90
    fps: Fraction | None = None

    def __str__(self) -> str:
        size = "the size as it is" if self.short_side is None else f"short side {self.short_side}"
        rate = "" if self.fps is None else f", {float(self.fps):.5g} frames a second"
        how = f"quality {self.quality}" if self.to == "frames" else f"crf {self.crf}"
        return f"{self.to}, {size}, {how}{rate}"

    def encoder_options(self) -> dict[str, str]:
        """Return the options of x264."""
        return {**ENCODINGS[self.to], "tune": "fastdecode", "crf": str(self.crf), "preset": self.speed}

    def facts(self, kind: str) -> dict[str, Any]:
        """Return what decides about the outcome for a kind of media, as JSON.

        >>> Recipe().facts("image")
        {'short_side': 256, 'quality': 90}
        """
        picture = ["short_side", "quality"]
        video = ["to", "short_side", "fps", *(["quality"] if self.to == "frames" else ["crf", "speed"])]
        every = asdict(self) | {"fps": None if self.fps is None else str(self.fps)}
        return {name: every[name] for name in (video if kind == "video" else picture)}
