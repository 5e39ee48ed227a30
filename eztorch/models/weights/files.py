"""Files of weights: what torch has saved, read without running anything of it, and safetensors."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eztorch.utils.errors import ConfigError
from eztorch.utils.names import nearest

SUFFIXES = (".ckpt", ".pth", ".pt", ".pyth", ".safetensors")
# Where the weights stand in what trainers save, the usual ones first.
_CONTAINERS = ("state_dict", "model_state", "model_state_dict", "model", "network", "teacher", "student")
# Packages whose objects stand beside weights: configurations, histories, numbers. They are left out, not made.
_LEFT_OUT = (
    r"(omegaconf|typing|argparse|pathlib|yacs|fvcore|numpy|collections|datetime|enum|re|functools"
    r"|lightning|pytorch_lightning|lightning_fabric|torchmetrics|mmengine|mmcv)\..+"
    r"|builtins\.(dict|list|tuple|set|int|float|bool|str|bytes|complex|object|type|slice)"
)
_FACTS = ("epoch", "global_step", "pytorch-lightning_version", "eztorch_version")


@dataclass(frozen=True)
class WeightFile:
    """What a file of weights holds.

    Attributes:
        path: The file.
        tensors: Weights by name.
        container: Key that they stand under in the file; empty for none.
        facts: What the file says of itself: epoch, steps, versions, the metadata of safetensors.
    """

    path: Path
    tensors: dict[str, Tensor]
    container: str
    facts: dict[str, str]


class _LeftOut:
    """Stands for an object that is not made: whatever is asked of it, nothing happens."""

    def __new__(cls, *arguments: Any, **keywords: Any) -> _LeftOut:
        return object.__new__(cls)

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, item: Any) -> None:
        pass

    def extend(self, items: Any) -> None:
        pass


def read_weights(path: str | Path, *, key: str = "path") -> WeightFile:
    """Read a file of weights onto the CPU.

    Files of torch are read with `weights_only=True`: tensors and plain containers. Configurations beside them, which
    checkpoints of trainers have, are left out; nothing of a file is ever run.

    Args:
        path: A checkpoint, a state dict, or a safetensors file.
        key: The configuration key that the path came from, for messages.

    Raises:
        ConfigError: There is no such file, it is damaged or has no weights, or it needs objects that are not left out.
    """
    file = Path(path).expanduser()
    said = f"{key}={path}"
    if file.is_dir():
        found = sorted(str(one.relative_to(file)) for one in file.rglob("*") if one.suffix in SUFFIXES)
        raise ConfigError(f"{said} is a folder. Files of weights in it: {', '.join(found[:8]) or 'none'}.")
    if not file.is_file():
        near = nearest(file.name, [one.name for one in file.parent.iterdir()]) if file.parent.is_dir() else None
        raise ConfigError(f"{said}: there is no such file.{f' Did you mean {file.parent / near}?' if near else ''}")
    if file.suffix == ".safetensors":
        tensors, facts = _read_safetensors(file, said)
        return WeightFile(file, tensors, "", facts)
    content = _read_torch(file, said)
    container, tensors = _find_tensors(content, said)
    facts = {name: str(content[name]) for name in _FACTS if name in content and container}
    return WeightFile(file, tensors, container, facts)


def _read_safetensors(file: Path, said: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}, dict(opened.metadata() or {})  # noqa: SIM118
    except SafetensorError as error:
        raise ConfigError(f"{said} is no safetensors file, or damaged: {error}.") from error


def _read_torch(file: Path, said: str) -> Mapping[str, Any]:
    try:
        needed = torch.serialization.get_unsafe_globals_in_checkpoint(file)
    except (ValueError, RuntimeError, pickle.UnpicklingError):  # not a zip archive: the form before torch 1.6
        needed = []
    refused = [name for name in needed if not re.fullmatch(_LEFT_OUT, name)]
    if refused:
        raise _refusal(said, refused)
    try:
        with torch.serialization.safe_globals([(_LeftOut, name) for name in needed]):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # what torch raises depends on where the file is broken
        found = re.findall(r"GLOBAL (\S+)", str(error))
        if found:
            raise _refusal(said, found) from error
        raise ConfigError(f"{said} is no file of weights, or damaged ({type(error).__name__}).") from error
    if not isinstance(content, Mapping):
        raise ConfigError(f"{said} holds a {type(content).__name__}; expected weights by name.")
    return content


def _refusal(said: str, objects: list[str]) -> ConfigError:
    return ConfigError(
        f"{said} needs objects beside tensors, {', '.join(objects[:4])}, and making them could run foreign code. "
        "Where you trust the file, save its weights alone, once: "
        "torch.save(torch.load(FILE, weights_only=False)['state_dict'], 'weights.pth')."
    )


def _find_tensors(content: Mapping[str, Any], said: str) -> tuple[str, dict[str, Tensor]]:
    """Return the weights and the key that they stand under."""
    for container in ("", *_CONTAINERS):
        found = content if not container else content.get(container)
        if isinstance(found, Mapping):
            tensors = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
            # Trainers put counters, some of them tensors, beside the weights: those are no state dict.
            if tensors and (container or len(tensors) * 2 > len(found)):
                return container, tensors
    raise ConfigError(
        f"{said} has no weights; it has the keys {', '.join(map(str, list(content)[:10])) or '(none)'}. "
        f"Weights are looked for at the top and under {', '.join(_CONTAINERS)}."
    )
