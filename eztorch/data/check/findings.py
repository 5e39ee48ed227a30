"""What `eztorch data check` can find, and how bad each of it is."""

from __future__ import annotations

from typing import NamedTuple

from eztorch.utils.errors import ConfigError
from eztorch.utils.names import nearest


class Kind(NamedTuple):
    """A kind of finding.

    Attributes:
        meaning: What it is, in a few words.
        problem: Whether a run on these data would be in danger; otherwise it is a note.
        quarantine: Whether the medium should be left out of training.
    """

    meaning: str
    problem: bool = True
    quarantine: bool = False


KINDS: dict[str, Kind] = {
    "missing": Kind("listed, but there is no such file", quarantine=True),
    "empty": Kind("a file of no bytes", quarantine=True),
    "not-media": Kind("no video or picture", quarantine=True),
    "cut-off": Kind("the end of the file is missing", quarantine=True),
    "undecodable": Kind("pictures of it cannot be decoded", quarantine=True),
    "missing-frames": Kind("a folder of frames with gaps", quarantine=True),
    "too-few-frames": Kind("fewer frames than the annotation says", quarantine=True),
    "black": Kind("shows nothing: black", quarantine=True),
    "blank": Kind("shows nothing: one colour", quarantine=True),
    "frozen": Kind("nothing moves", quarantine=True),
    "bad-line": Kind("annotation that cannot be read"),
    "bad-label": Kind("label outside the classes"),
    "listed-twice": Kind("the same medium twice in a split"),
    "duplicate": Kind("same content as another of the split", quarantine=True),
    "leak": Kind("same content in two splits", quarantine=True),
    "near-leak": Kind("looks like one of another split", quarantine=True),
    "group-leak": Kind("source with clips in two splits"),
    "label-conflict": Kind("same content, different labels", quarantine=True),
    "near-duplicate": Kind("looks like another of the split", problem=False),
    "wrong-extension": Kind("the content is of another format", problem=False),
    "unlisted": Kind("there, but in no split", problem=False),
    "no-samples": Kind("class that a split has no sample of", problem=False),
    "unbalanced": Kind("classes of very different size", problem=False),
}


class Finding(NamedTuple):
    """Something that was found.

    Attributes:
        kind: A name in `KINDS`.
        split: Where; empty for none in particular.
        path: The medium, as the annotation has it; the annotation itself or a class where it is about that.
        reason: What it is, in words.
    """

    kind: str
    split: str
    path: str
    reason: str

    @property
    def problem(self) -> bool:
        """Whether a run would be in danger."""
        return KINDS[self.kind].problem


def check_kinds(names: list[str]) -> None:
    """Refuse names that are no kind of finding.

    Raises:
        ConfigError: One is none; the message suggests the nearest.
    """
    for name in names:
        if name not in KINDS:
            close = nearest(name, KINDS)
            hint = f" Did you mean {close}?" if close else ""
            raise ConfigError(f"--ignore {name}: no kind of finding.{hint} Known: {', '.join(KINDS)}.")
