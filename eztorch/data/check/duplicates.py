"""Media that are the same: byte by byte, or to the eye."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from eztorch.data.check.look import Grey
from eztorch.data.listing import IMAGE_SUFFIXES, list_files, suffix
from eztorch.datasets.video_index import VideoFacts

Key = TypeVar("Key", bound=Hashable)

_BLOCK = 1 << 20
# Two videos look the same when their lengths differ by less than this share, ...
_SAME_LENGTH = 0.03
# ... their thumbnails by so many grey levels on average (another encoder, other levels), ...
_SAME_LEVELS = 6.0
# ... and what moves in them by this share of itself, or hardly anything: two clips before one still camera do not.
_SAME_MOTION, _HARDLY_ANY, _STILL = 0.25, 1.0, 1.5
# Of a bucket of videos with the same rough look, each is compared with so many others only, lest it take for ever.
_MAX_COMPARED = 64


def candidates(facts: Mapping[Key, VideoFacts]) -> list[list[Key]]:
    """Return groups of media that may have the same content, by their sizes."""
    groups: defaultdict[Hashable, list[Key]] = defaultdict(list)
    for key, one in facts.items():
        if one.kind == "frames":
            groups["frames", one.num_frames, one.width, one.height].append(key)
        elif one.size:
            groups[one.size].append(key)
    return [keys for keys in groups.values() if len(keys) > 1]


def digest(path: str, *, whole: bool = True) -> str:
    """Return a digest of the bytes of a file, or of the pictures in a folder.

    Args:
        path: The file or folder.
        whole: Of everything; otherwise of the first MiB of the file, or of the first picture.
    """
    sum_of = hashlib.blake2b(digest_size=16)
    files = [path]
    if os.path.isdir(path):
        files = [os.path.join(path, name) for name in list_files(path, lambda name: suffix(name) in IMAGE_SUFFIXES)]
    for file in files if whole else files[:1]:
        with open(file, "rb") as stream:
            while block := stream.read(_BLOCK):
                sum_of.update(block)
                if not whole:
                    break
    return sum_of.hexdigest()


def alike(signatures: Mapping[Key, Grey], seconds: Mapping[Key, float | None]) -> list[list[Key]]:
    """Find media that look the same: copies in other sizes, encodings or rates, not parts or crops of one another.

    Args:
        signatures: Thumbnails of each, shape (S, 16, 16), see `eztorch.data.check.look.Look`.
        seconds: Duration of each, None for images and frames.

    Returns:
        Groups of two or more, each medium in one of them at most.
    """
    leader = {key: key for key in signatures}

    def find(key: Key) -> Key:
        while leader[key] != key:
            key = leader[key]
        return key

    for one, other in _close_pairs(signatures):
        if find(one) == find(other) or not _same_length(seconds[one], seconds[other]):
            continue
        if same_look(signatures[one], signatures[other]):
            leader[find(other)] = find(one)
    return grouped(signatures, find)


def same_look(one: Grey, other: Grey) -> bool:
    """Say whether two signatures are of the same pictures, shown the same way."""
    if one.shape != other.shape:
        return False
    first, second = _levelled(one), _levelled(other)
    levels = float(np.abs(first - second).mean((1, 2)).max())
    moving, moving_too = first - first.mean(0), second - second.mean(0)
    motion = float(np.abs(moving).mean())
    if motion < _HARDLY_ANY:
        return levels <= _STILL
    return levels <= _SAME_LEVELS and float(np.abs(moving - moving_too).mean()) <= _SAME_MOTION * motion


def _levelled(signature: Grey) -> NDArray[np.float32]:
    """Return grey levels of mean 0 and deviation 48, whatever brightness and contrast an encoder made of them."""
    levels = signature.astype(np.float32)
    return np.asarray((levels - levels.mean()) / max(float(levels.std()), 1.0) * 48)


def grouped(keys: Iterable[Key], mark: Callable[[Key], Hashable]) -> list[list[Key]]:
    """Return the groups of two or more keys that have the same mark."""
    groups: defaultdict[Hashable, list[Key]] = defaultdict(list)
    for key in keys:
        groups[mark(key)].append(key)
    return [group for group in groups.values() if len(group) > 1]


def _same_length(one: float | None, other: float | None) -> bool:
    return one is None or other is None or abs(one - other) <= _SAME_LENGTH * max(one, other)


def _close_pairs(signatures: Mapping[Key, Grey]) -> Iterator[tuple[Key, Key]]:
    """Give pairs that share a part of their rough look: the signs of some brightness differences of one thumbnail."""
    buckets: defaultdict[Hashable, list[Key]] = defaultdict(list)
    for key, signature in signatures.items():
        for place, bits in enumerate(_rough_look(signature)):
            if bits.any():
                buckets[len(signature), place, bits.tobytes()].append(key)
    for keys in buckets.values():
        for start, key in enumerate(keys):
            yield from ((key, other) for other in keys[start + 1 : start + 1 + _MAX_COMPARED])


def _rough_look(signature: Grey) -> Sequence[NDArray[np.uint8]]:
    """Return groups of 28 bits: whether a cell of the thumbnail, 8 x 8, is brighter than the one beside it."""
    cells = signature.reshape(len(signature), 8, 2, 8, 2).mean((2, 4))
    bits = cells[:, :, 1:] > cells[:, :, :-1] + 1
    return np.packbits(bits.reshape(-1, 28), axis=1)  # type: ignore[return-value]  # the rows of an array
