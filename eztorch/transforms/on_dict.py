"""Transforms of samples: what happens to which key. A sample that is passed in is never changed itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from eztorch.transforms.on_list import ApplySameTransformOnList, ApplyTransformOnList, Transform
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import did_you_mean

Sample = Mapping[str, Any]


class ApplyTransformToKey(nn.Module):
    """Transform the value of one key; every other key stays.

    Args:
        key: The key.
        transform: The transform of its value.

    >>> ApplyTransformToKey("input", abs)({"input": -1, "idx": 7})
    {'input': 1, 'idx': 7}
    """

    def __init__(self, key: str, transform: Transform) -> None:
        super().__init__()
        self.key = key
        self.transform = transform

    def forward(self, sample: Sample) -> dict[str, Any]:
        """Return the sample with the transformed value."""
        return {**sample, self.key: self.transform(value_of(sample, self.key))}

    def extra_repr(self) -> str:
        """Show the key, and a transform that is no module."""
        shown = "" if isinstance(self.transform, nn.Module) else f", transform={self.transform}"
        return f"key={self.key!r}{shown}"


class OnlyInputTransformWithDictTransform(nn.Module):
    """Transform the input of a sample by one transform and the whole sample by another.

    Args:
        transform: The transform of the input.
        dict_transform: The transform of the sample, such as `UniformCropVideo`, which needs its `aug_index`.
        first_dict: Whether the sample is transformed before its input.
    """

    def __init__(self, transform: Transform, dict_transform: Transform, first_dict: bool = False) -> None:
        super().__init__()
        self.of_input = ApplyTransformToKey("input", transform)
        self.of_sample = dict_transform
        self.first_dict = first_dict

    def forward(self, sample: Sample) -> dict[str, Any]:
        """Return the transformed sample."""
        first, second = (self.of_sample, self.of_input) if self.first_dict else (self.of_input, self.of_sample)
        result: dict[str, Any] = second(first(sample))
        return result


class ApplyTransformOnDict(nn.Module):
    """Transform the whole sample.

    Args:
        transform: The transform of a sample.
    """

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, sample: Sample) -> Any:
        """Return the transformed sample."""
        return self.transform(sample)


class DictKeepKeys(nn.Module):
    """Leave out all keys but some.

    Args:
        keys: The keys to keep.

    >>> DictKeepKeys(["input"])({"input": 1, "idx": 7})
    {'input': 1}
    """

    def __init__(self, keys: Sequence[str]) -> None:
        super().__init__()
        self.keys = list(keys)

    def forward(self, sample: Sample) -> dict[str, Any]:
        """Return the sample with the keys that are kept."""
        return {key: value_of(sample, key) for key in self.keys}


class DictToListFromKeys(nn.Module):
    """Make a list of the values of some keys, in the order of the keys.

    Args:
        keys: The keys.

    >>> DictToListFromKeys(["label", "input"])({"input": 1, "idx": 7, "label": 3})
    [3, 1]
    """

    def __init__(self, keys: Sequence[str]) -> None:
        super().__init__()
        self.keys = list(keys)

    def forward(self, sample: Sample) -> list[Any]:
        """Return the values."""
        return [value_of(sample, key) for key in self.keys]


class RemoveKey(nn.Module):
    """Leave out one key; a sample without it stays as it is.

    Args:
        key: The key.

    >>> RemoveKey("audio")({"input": 1, "audio": 2})
    {'input': 1}
    """

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key

    def forward(self, sample: Sample) -> dict[str, Any]:
        """Return the sample without the key."""
        return {key: value for key, value in sample.items() if key != self.key}


def value_of(sample: Sample, key: str) -> Any:
    """Return the value of a key.

    Raises:
        ConfigError: The sample does not have it; the message says what it has.
    """
    if key in sample:
        return sample[key]
    hint = did_you_mean(key, sample)
    raise ConfigError(f"A transform needs the key {key!r}, but the samples have {', '.join(map(repr, sample))}.{hint}")


def ApplyTransformToKeyOnList(key: str, transform: Transform) -> nn.Module:
    """Transform every element of the list under a key by itself."""
    return ApplyTransformToKey(key, ApplyTransformOnList(transform))


def ApplySameTransformToKeyOnList(key: str, transform: Transform, dim: int = 1) -> nn.Module:
    """Transform all elements of the list under a key with the same draws; see `ApplySameTransformOnList`."""
    return ApplyTransformToKey(key, ApplySameTransformOnList(transform, dim=dim))


def ApplyTransformInputKey(transform: Transform) -> nn.Module:
    """Transform the input of a sample."""
    return ApplyTransformToKey("input", transform)


def ApplyTransformAudioKey(transform: Transform) -> nn.Module:
    """Transform the audio of a sample."""
    return ApplyTransformToKey("audio", transform)


def ApplyTransformInputKeyOnList(transform: Transform) -> nn.Module:
    """Transform every view of a sample by itself, each with its own draws."""
    return ApplyTransformToKeyOnList("input", transform)


def ApplyTransformAudioKeyOnList(transform: Transform) -> nn.Module:
    """Transform every element of the audio of a sample by itself."""
    return ApplyTransformToKeyOnList("audio", transform)


def ApplySameTransformInputKeyOnList(transform: Transform, dim: int = 1) -> nn.Module:
    """Transform all views of a sample with the same draws; see `ApplySameTransformOnList`."""
    return ApplySameTransformToKeyOnList("input", transform, dim)


def OnlyInputListTransformWithDictTransform(
    transform: Transform, dict_transform: Transform, first_dict: bool = False
) -> nn.Module:
    """Transform every sample of a list; see `OnlyInputTransformWithDictTransform`."""
    return ApplyTransformOnList(OnlyInputTransformWithDictTransform(transform, dict_transform, first_dict))


def DictKeepInputLabel() -> nn.Module:
    """Leave out all keys but `input` and `label`."""
    return DictKeepKeys(["input", "label"])


def DictKeepInputLabelIdx() -> nn.Module:
    """Leave out all keys but `input`, `label`, `idx` and `aug_index`."""
    return DictKeepKeys(["input", "label", "idx", "aug_index"])


def DictToListInputLabel() -> nn.Module:
    """Make the list `[input, label]`."""
    return DictToListFromKeys(["input", "label"])


def RemoveInputKey() -> nn.Module:
    """Leave out the input of a sample."""
    return RemoveKey("input")


def RemoveAudioKey() -> nn.Module:
    """Leave out the audio of a sample."""
    return RemoveKey("audio")


# What a sample says of where it comes from stays with it, so these are the transforms of its input.
OnlyInputTransform = ApplyTransformInputKey
"""Transform the input of a sample; see `ApplyTransformInputKey`."""
OnlyInputListTransform = ApplyTransformInputKeyOnList
"""Transform every view of a sample, each with its own draws; see `ApplyTransformInputKeyOnList`."""
OnlyInputListSameTransform = ApplySameTransformInputKeyOnList
"""Transform all views of a sample with the same draws; see `ApplySameTransformInputKeyOnList`."""
