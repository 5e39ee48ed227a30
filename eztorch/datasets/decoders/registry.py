"""Decoders by name, as a configuration chooses them."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

from eztorch.datasets.decoders.auto import AutoDecoder
from eztorch.datasets.decoders.decord import DecordDecoder
from eztorch.datasets.decoders.flow import FlowDecoder
from eztorch.datasets.decoders.frame import FrameDecoder
from eztorch.datasets.decoders.options import ClipOptions
from eztorch.datasets.decoders.pyav import PyAVDecoder
from eztorch.datasets.decoders.reader import Decoder
from eztorch.datasets.decoders.torchcodec import TorchCodecDecoder
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose, did_you_mean

_DECODERS: dict[str, type[Any]] = {
    "frame": FrameDecoder,
    "flow": FlowDecoder,
    "pyav": PyAVDecoder,
    "torchcodec": TorchCodecDecoder,
    "decord": DecordDecoder,
    "auto": AutoDecoder,
}
_COMMON = tuple(p for p in inspect.signature(ClipOptions.build).parameters)
_warned: set[tuple[str, str]] = set()


def build_decoder(name: str = "pyav", args: Mapping[str, Any] | None = None) -> Decoder:
    """Build a decoder from its name and its arguments.

    A recipe may change its `decoder` and keep its `decoder_args`: an argument that only another decoder has is left
    out with a warning, once a process. One that no decoder has is an error.

    Args:
        name: frame, flow, pyav, torchcodec, decord or auto.
        args: Arguments of the decoder.

    Raises:
        ConfigError: The name or an argument is not known, a value cannot be used, or a library is missing.

    >>> type(build_decoder("pyav", {"frame_filter": {"subsample_type": "uniform", "num_samples": 8}})).__name__
    'PyAVDecoder'
    """
    decoder = choose(_DECODERS, name, "decoder")
    accepted = {*_COMMON, *_own_arguments(decoder)}
    known = {*_COMMON}.union(*map(_own_arguments, _DECODERS.values()))
    given = dict(args or {})
    for key in given:
        if key not in known:
            hint = did_you_mean(key, known, f"Accepted: {', '.join(sorted(accepted))}.")
            raise ConfigError(f"decoder_args has an unknown key {key!r}.{hint}")
    _warn_of_dropped(name, [key for key in given if key not in accepted])
    built: Decoder = decoder(**{key: value for key, value in given.items() if key in accepted})
    return built


def _own_arguments(decoder: type[Any]) -> list[str]:
    parameters = inspect.signature(decoder).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]


def _warn_of_dropped(name: str, keys: list[str]) -> None:
    new = [key for key in keys if (name, key) not in _warned]
    _warned.update((name, key) for key in new)
    if new:
        why = (
            "its pictures are not video files"
            if name in ("frame", "flow")
            else "a video file says itself when its frames are shown, and holds no picture files"
        )
        warnings.warn(
            f"decoder: {name} has no use for {', '.join(new)} in decoder_args and leaves it out: {why}.",
            UserWarning,
            stacklevel=3,
        )
