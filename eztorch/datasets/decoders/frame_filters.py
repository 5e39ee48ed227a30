"""Which frames of a span are kept. The filter chooses before anything is decoded or converted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from eztorch.utils.config import build, is_spec
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose, did_you_mean
from eztorch.utils.values import as_count

FrameFilter: TypeAlias = Callable[[int, "torch.Generator | None"], Tensor]
"""From the number of frames of a span and a generator to the sorted positions that are kept, int64, shape (T,)."""


@dataclass(frozen=True)
class UniformSubsample:
    """Keep `num_samples` frames at equal distances, the first and the last among them: floor(i (t-1) / (n-1)).

    Frames repeat when there are fewer than `num_samples`.

    >>> UniformSubsample(3)(8)
    tensor([0, 3, 7])
    >>> UniformSubsample(4)(2)
    tensor([0, 0, 0, 1])
    """

    num_samples: int

    def __call__(self, num_frames: int, generator: torch.Generator | None = None) -> Tensor:
        """Return the kept positions among `num_frames`, shape (num_samples,)."""
        # In integers: a linspace of floats falls just below some whole numbers.
        return torch.arange(self.num_samples) * (num_frames - 1) // max(self.num_samples - 1, 1)


@dataclass(frozen=True)
class RandomSubsample:
    """Keep `num_samples` frames drawn without replacement, or with it when there are fewer; in order.

    >>> RandomSubsample(3)(3)
    tensor([0, 1, 2])
    """

    num_samples: int

    def __call__(self, num_frames: int, generator: torch.Generator | None = None) -> Tensor:
        """Return the kept positions among `num_frames`, shape (num_samples,)."""
        if num_frames >= self.num_samples:
            drawn = torch.randperm(num_frames, generator=generator)[: self.num_samples]
        else:
            drawn = torch.randint(num_frames, (self.num_samples,), generator=generator)
        return drawn.sort().values


_FILTERS: dict[str, type[UniformSubsample] | type[RandomSubsample]] = {
    "uniform": UniformSubsample,
    "random": RandomSubsample,
}
_KEYS = ("subsample_type", "num_samples")


def build_frame_filter(spec: Mapping[str, Any] | FrameFilter | None) -> FrameFilter | None:
    """Build a frame filter.

    Args:
        spec: `{subsample_type: uniform|random, num_samples: n}`, a `_target_` spec, a callable, or None to keep all.

    Raises:
        ConfigError: A key or a value of the spec cannot be used.

    >>> build_frame_filter({"subsample_type": "uniform", "num_samples": 8})
    UniformSubsample(num_samples=8)
    """
    if not isinstance(spec, Mapping) or is_spec(spec):
        built = build(spec)
        if built is not None and not callable(built):
            raise ConfigError(f"frame_filter={spec!r} is neither a mapping with {_KEYS} nor a callable.")
        return built  # type: ignore[no-any-return]  # a spec builds anything
    for key in spec:
        if key not in _KEYS:
            hint = did_you_mean(key, _KEYS, f"Accepted: {', '.join(_KEYS)}.")
            raise ConfigError(f"frame_filter has an unknown key {key!r}.{hint}")
    missing = [key for key in _KEYS if key not in spec]
    if missing:
        raise ConfigError(f"frame_filter lacks {' and '.join(missing)}; it takes {', '.join(_KEYS)}.")
    num_samples = as_count(spec["num_samples"], "frame_filter.num_samples")
    return choose(_FILTERS, spec["subsample_type"], "frame_filter.subsample_type")(num_samples)
