"""Which media come from one source, told by their paths. Clips of a source must not be on both sides of a split."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from eztorch.utils.errors import ConfigError, DataError
from eztorch.utils.names import nearest

# v_ApplyEyeMakeup_g08_c01.avi: the clips of a class that share group and actor (Soomro et al., arXiv 1212.0402).
_UCF101 = re.compile(r"(v_.+_g\d+)_c\d+")
# <source>_<class>_<visible parts>_<camera motion>_<people>_<viewpoint>_<quality>_<number>.avi (Kuehne et al., 2011).
_HMDB51 = re.compile(r"(.+)_[fhlu]_(?:cm|nm)_np\d_(?:ba|fr|le|ri)_(?:bad|goo|med)_\d+")
# <id of 11 characters>_<start>_<end>.mp4: the clips of one YouTube video (Kay et al., arXiv 1705.06950).
_KINETICS = re.compile(r"([\w-]{11})_\d{6}_\d{6}")


def ucf101_group(path: str) -> str | None:
    """Return the source of a clip of UCF101, None where the name is not of this form.

    >>> ucf101_group("Archery/v_Archery_g08_c01.avi")
    'v_Archery_g08'
    """
    found = _UCF101.fullmatch(_stem(path))
    return found and found[1]


def hmdb51_group(path: str) -> str | None:
    """Return the source of a clip of HMDB51, without its class where the folder names it.

    >>> hmdb51_group("brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0.avi")
    'April_09'
    """
    found = _HMDB51.fullmatch(_stem(path))
    return found and found[1].removesuffix("_" + PurePosixPath(path).parent.name)


def kinetics_group(path: str) -> str | None:
    """Return the YouTube id of a clip of Kinetics, None where the name is not of this form.

    >>> kinetics_group("zumba/-aBcDeFgHiJ_000010_000020.mp4")
    '-aBcDeFgHiJ'
    """
    found = _KINETICS.fullmatch(_stem(path))
    return found and found[1]


GROUPS: dict[str, Callable[[str], str | None]] = {
    "ucf101": ucf101_group,
    "hmdb51": hmdb51_group,
    "kinetics": kinetics_group,
}


def find_groups(paths: Sequence[str], choice: str = "auto") -> tuple[str, list[str]]:
    r"""Return how groups are told, and the group of every path.

    Args:
        paths: Paths with `/`.
        choice: A name in `GROUPS`; `none`, where every path is a group of its own; `auto` for the name whose form all
            paths have, otherwise `none`; or a regular expression that is searched in the path: what its first
            parenthesis matches is the group, without one all that it matches.

    Raises:
        ConfigError: The choice is neither a name nor a regular expression.
        DataError: Some paths are not of the form that was chosen.

    >>> find_groups(["a/1-x.mp4", "b/1-y.mp4"], r"(\d+)-")[1]
    ['1', '1']
    """
    if choice == "auto":
        for name in GROUPS:
            groups = _apply(GROUPS[name], paths)
            if paths and None not in groups:
                return name, [str(group) for group in groups]
        return "none", list(paths)
    if choice == "none":
        return "none", list(paths)
    groups = _apply(GROUPS[choice] if choice in GROUPS else _by_pattern(choice), paths)
    others = [path for path, group in zip(paths, groups, strict=True) if group is None]
    if others:
        raise DataError(
            f"--group {choice}: {len(others)} of {len(paths)} paths are not of that form, for example {others[0]!r}."
        )
    return choice, [str(group) for group in groups]


def _apply(group_of: Callable[[str], str | None], paths: Sequence[str]) -> list[str | None]:
    return [group_of(path) for path in paths]


def _by_pattern(pattern: str) -> Callable[[str], str | None]:
    close = nearest(pattern, GROUPS)
    if re.fullmatch(r"\w+", pattern) and close:
        raise ConfigError(f"--group {pattern}: did you mean {close}? Known: {', '.join(GROUPS)}, or an expression.")
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"--group {pattern}: not a regular expression ({error}).") from error

    def group_of(path: str) -> str | None:
        found = compiled.search(path)
        return found and (found[1] if compiled.groups else found[0])

    return group_of


def _stem(path: str) -> str:
    """Return the name of a file without its suffix; a folder of frames has none."""
    name = PurePosixPath(path).name
    return re.sub(r"\.[A-Za-z0-9]{2,5}$", "", name)
