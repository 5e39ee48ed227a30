"""What is wrong with splits as a whole: lists, labels, classes, and media that are in them more than once."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from eztorch.data.check.duplicates import alike, grouped
from eztorch.data.check.findings import Finding
from eztorch.data.check.media import Examined
from eztorch.data.check.sources import Item, Split
from eztorch.data.listing import list_media
from eztorch.data.split.groups import find_groups

# Classes count as unbalanced when the largest has this many times the media of the smallest.
_UNBALANCED = 10
_NAMED = 3


@dataclass(frozen=True, eq=False)
class Place:
    """Where a medium is listed."""

    split: Split
    item: Item


def check_lists(split: Split) -> Iterator[Finding]:
    """Find media that a split lists twice, and labels outside its classes."""
    counts = Counter((item.path, item.part) for item in split.items)
    for item in {(item.path, item.part): item for item in split.items}.values():
        times = counts[item.path, item.part]
        if times > 1:
            yield Finding("listed-twice", split.name, item.name, f"listed {times} times")
    for item in split.items:
        wrong = [label for label in item.labels if label < 0 or label >= (split.num_classes or label + 1)]
        if wrong:
            expected = f"0 to {split.num_classes - 1}" if split.num_classes else "a number from 0"
            yield Finding("bad-label", split.name, item.name, f"label {wrong[0]}, expected {expected}")


def check_frame_counts(split: Split, examined: Mapping[str, Examined]) -> Iterator[Finding]:
    """Find folders that have fewer frames than the annotation says. Of files nobody believes the annotation."""
    for item in split.items:
        there = examined[item.path].facts.num_frames
        if item.kind == "frames" and item.num_frames and there is not None and there < item.num_frames:
            why = f"the annotation says {item.num_frames} frames, there are {there}"
            yield Finding("too-few-frames", split.name, item.name, why)


def check_classes(splits: Sequence[Split]) -> Iterator[Finding]:
    """Find classes without media, and large differences between classes of the first split that has labels."""
    counts = {split.name: class_counts(split) for split in splits}
    known = {label for one in counts.values() for label in one if label >= 0}
    labelled = [split for split in splits if counts[split.name]]
    for split in labelled:
        classes = range(split.num_classes) if split.num_classes else sorted(known)
        without = [split.class_name(label) for label in classes if label not in counts[split.name]]
        if without:
            why = f"{len(without)} of {len(classes)} classes: {some(without)}"
            yield Finding("no-samples", split.name, split.source, why)
    for split in labelled[:1]:
        (most, large), *_, (least, small) = counts[split.name].most_common() * 2
        if large >= _UNBALANCED * small:
            why = f"class {split.class_name(most)} has {large}, {split.class_name(least)} {small}"
            yield Finding("unbalanced", split.name, split.source, why)


def class_counts(split: Split) -> Counter[int]:
    """Return how many media of a split each class has."""
    return Counter(label for item in split.items for label in item.labels)


def check_unlisted(splits: Sequence[Split], folder: str, kind: str = "auto") -> Iterator[Finding]:
    """Find media in a folder that no split lists."""
    listed = {os.path.realpath(item.path) for split in splits for item in split.items}
    for medium in list_media(folder, kind):
        if os.path.realpath(os.path.join(folder, medium.path)) not in listed:
            yield Finding("unlisted", "", medium.path, "no split lists it")


def check_copies(
    splits: Sequence[Split], examined: Mapping[str, Examined], digests: Mapping[str, str]
) -> Iterator[Finding]:
    """Find media of the same content, and such that look the same.

    Args:
        splits: The splits.
        examined: What is known of each medium, by its path.
        digests: Digests of the media that may have a twin, by path.
    """
    places = _places(splits)
    exact = grouped((path for path in places if path in digests), lambda path: digests[path])
    for paths in exact:
        yield from _copies(paths, places, exact=True)
    first = {path: paths[0] for paths in exact for path in paths}
    sound = {
        path: one.signature
        for path, one in examined.items()
        if one.signature is not None and path in places and first.get(path, path) == path and not one.faults
    }
    for paths in alike(sound, {path: examined[path].facts.duration for path in sound}):
        yield from _copies(paths, places, exact=False)


def _copies(paths: Sequence[str], places: Mapping[str, Sequence[Place]], *, exact: bool) -> Iterator[Finding]:
    """Report each medium of a group but one; where some are of evaluation, that one is, so that training gives way."""
    listed = sorted((place for path in paths for place in places[path]), key=_training_last)
    head, *others = listed
    how = "same content as" if exact else "looks like"
    for place in others:
        split, item = place.split, place.item
        if item.path == head.item.path:
            continue  # see `check_same_path`
        if exact and item.labels != head.item.labels:
            other = f"{head.item.name} of {head.split.name} has {_class_name(head.split, head.item)}"
            why = f"class {_class_name(split, item)}, but {other}"
            yield Finding("label-conflict", split.name, item.name, why)
        if split is not head.split:
            twin = f"{head.item.name} of {head.split.name}"
            yield Finding("leak" if exact else "near-leak", split.name, item.name, f"{how} {twin}")
        elif not exact or item.labels == head.item.labels:
            kind = "duplicate" if exact else "near-duplicate"
            yield Finding(kind, split.name, item.name, f"{how} {head.item.name}")


def check_same_path(splits: Sequence[Split]) -> Iterator[Finding]:
    """Find media that two splits list by one path."""
    places = [Place(split, item) for split in splits for item in split.items]
    for same in grouped(places, lambda place: (place.item.path, place.item.part)):
        names = list(dict.fromkeys(place.split.name for place in same))
        if len(names) > 1:
            last = max(same, key=_training_last)
            others = some(name for name in names if name != last.split.name)
            yield Finding("leak", last.split.name, last.item.name, f"also listed by {others}")


def check_groups(splits: Sequence[Split], choice: str) -> Iterator[Finding]:
    """Find sources that have clips in two splits; see `eztorch.data.split.groups.find_groups`."""
    names = [item.name for split in splits for item in split.items]
    how, groups = find_groups(names, choice)
    if how == "none":
        return
    members: defaultdict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    rows = ((split.name, item.name) for split in splits for item in split.items)
    for group, (split_name, name) in zip(groups, rows, strict=True):
        # The official splits of HMDB51 part the clips of a source class by class.
        source = f"{os.path.dirname(name)}/{group}" if how == "hmdb51" else group
        members[source][split_name].append(name)
    for group, parts in sorted(members.items()):
        if len(parts) > 1:
            clips = "; ".join(f"{some(names)} in {split_name}" for split_name, names in parts.items())
            yield Finding("group-leak", " and ".join(parts), group, clips)


def some(names: Iterable[str]) -> str:
    """Join a few names, and say how many more there are.

    >>> some(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    listed = list(names)
    return ", ".join(listed[:_NAMED]) + (f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else "")


def is_evaluation(split_name: str) -> bool:
    """Say whether metrics are taken of a split, by its name."""
    return split_name.startswith(("val", "test"))


def _training_last(place: Place) -> bool:
    return not is_evaluation(place.split.name)


def _class_name(split: Split, item: Item) -> str:
    return some(map(split.class_name, item.labels)) or "none"


def _places(splits: Sequence[Split]) -> dict[str, list[Place]]:
    places: defaultdict[str, list[Place]] = defaultdict(list)
    for split in splits:
        for item in split.items:
            places[item.path].append(Place(split, item))
    return places
