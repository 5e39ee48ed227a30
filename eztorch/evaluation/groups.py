"""Groups of classes: which class belongs to which, from a mapping or from a file."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eztorch.utils.errors import ConfigError
from eztorch.utils.names import did_you_mean


@dataclass(frozen=True)
class ClassGroups:
    """The group of each class.

    Attributes:
        names: Names of the groups, in the order in which the classes have them.
        members: Group of each class, as its place in `names`.
    """

    names: tuple[str, ...]
    members: tuple[int, ...]

    def of(self, num_classes: int) -> Tensor:
        """Return the group of each class, shape (K,).

        Raises:
            ConfigError: There are other classes.
        """
        if len(self.members) != num_classes:
            raise ConfigError(f"groups are of {len(self.members)} classes, and there are {num_classes}.")
        return torch.tensor(self.members)


def read_groups(
    groups: str | Path | Mapping[Any, Any], *, class_names: Sequence[str], num_classes: int, key: str = "groups"
) -> ClassGroups:
    """Read which group every class belongs to.

    Args:
        groups: A mapping from the class, its name or its number, to the group; or a file of that: json with such an
            object, or csv with a class and a group a line (a first line `class,group` is a header).
        class_names: Names of the classes; empty where they have none.
        num_classes: Number of classes.
        key: Where it came from, for messages.

    Raises:
        ConfigError: The file cannot be read, a class is not known, or one has no group.

    >>> read_groups({"cat": "animal", "car": "thing", 2: "animal"}, class_names=["cat", "car", "cow"], num_classes=3)
    ClassGroups(names=('animal', 'thing'), members=(0, 1, 0))
    """
    pairs = list(groups.items()) if isinstance(groups, Mapping) else _read(Path(groups), key)
    places = {name: place for place, name in enumerate(class_names)}
    found: dict[int, str] = {}
    for one, group in pairs:
        place = places.get(str(one), int(one) if str(one).isdecimal() else -1)
        if not 0 <= place < num_classes:
            hint = did_you_mean(one, places, f"There are {num_classes} classes.")
            raise ConfigError(f"{key}: {one!r} is no class.{hint}")
        found[place] = str(group)
    without = [class_names[place] if class_names else str(place) for place in range(num_classes) if place not in found]
    if without:
        raise ConfigError(f"{key}: {len(without)} of {num_classes} classes have no group: {', '.join(without[:5])}.")
    names = tuple(dict.fromkeys(found[place] for place in range(num_classes)))
    return ClassGroups(names, tuple(names.index(found[place]) for place in range(num_classes)))


def _read(path: Path, key: str) -> list[tuple[Any, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{key}={path} cannot be read: {error.strerror}.") from error
    if path.suffix == ".json":
        try:
            content = json.loads(text)
        except ValueError as error:
            raise ConfigError(f"{key}={path} is not JSON: {error}.") from error
        if not isinstance(content, dict):
            raise ConfigError(f"{key}={path}: expected a JSON object from class to group.")
        return list(content.items())
    rows = [row for row in csv.reader(text.splitlines()) if row]
    wrong = next((row for row in rows if len(row) != 2), None)
    if wrong is not None:
        raise ConfigError(f"{key}={path}: {','.join(wrong)!r} is not a class and a group.")
    rows = [[cell.strip() for cell in row] for row in rows]
    return [(row[0], row[1]) for row in (rows[1:] if rows[:1] == [["class", "group"]] else rows)]
