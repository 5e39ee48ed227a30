"""What went wrong in a composition, in words for the person who wrote it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationKeyError,
    InterpolationToMissingValueError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from eztorch.utils.errors import ConfigError
from eztorch.utils.names import nearest

_LISTED = 20


@contextmanager
def explained(config: Any = None) -> Iterator[None]:
    """Turn the errors of YAML, OmegaConf and Hydra inside the block into `ConfigError`s.

    Args:
        config: The configuration at hand, in which the nearest names are looked up.
    """
    try:
        yield
    except yaml.YAMLError as error:
        raise ConfigError(_yaml_problem(error)) from error
    except (HydraException, OmegaConfBaseException, OSError, UnicodeDecodeError) as error:
        raise ConfigError(_problem(error, config)) from error


def missing(keys: Iterable[str]) -> ConfigError:
    """Return the error of mandatory keys that have no value.

    >>> print(missing(["dir.data"]))
    dir.data is missing: give it on the command line, for example dir.data=/path/to/data
    """
    keys = list(keys)
    examples = " ".join(f"{key}={_example(key)}" for key in keys)
    are, them = ("is", "it") if len(keys) == 1 else ("are", "them")
    return ConfigError(f"{', '.join(keys)} {are} missing: give {them} on the command line, for example {examples}")


def no_such_key(asked: str, found: str, siblings: Iterable[str]) -> str:
    """Say that a key does not exist, and what does.

    Args:
        asked: The whole key that was asked for.
        found: The first part of it, dotted, that does not exist.
        siblings: The keys of the mapping in which it was looked up.

    >>> no_such_key("model.tmep", "model.tmep", ["temp", "coeff"])
    'model.tmep does not exist. Did you mean model.temp?'
    >>> no_such_key("a.b", "a.b", ["x", "y"])
    'a.b does not exist; a has the keys x, y.'
    """
    parent, _, last = found.rpartition(".")
    names = [str(name) for name in siblings]
    close = nearest(last, names)
    if close is not None:
        rest = asked[len(found) :] if asked.startswith(found) else ""
        return f"{asked} does not exist. Did you mean {parent + '.' if parent else ''}{close}{rest}?"
    owner = parent or "the configuration"
    if not names:
        return f"{asked} does not exist; {owner} has no keys."
    listed = ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
    return f"{asked} does not exist; {owner} has the keys {listed}."


def flatten(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and the value of every leaf; an empty mapping or list is a leaf.

    >>> list(flatten({"a": {"b": 1, "c": [2, {}]}}))
    [('a.b', 1), ('a.c[0]', 2), ('a.c[1]', {})]
    """
    if isinstance(tree, Mapping) and tree:
        for key, value in tree.items():
            yield from flatten(value, f"{path}.{key}" if path else str(key))
    elif isinstance(tree, list) and tree:
        for index, value in enumerate(tree):
            yield from flatten(value, f"{path}[{index}]")
    else:
        yield path, tree


def _problem(error: BaseException, config: Any) -> str:
    chain = list(_chain(error))
    if isinstance(error, OverrideParseException):
        return _unreadable_override(error)
    if isinstance(error, MissingConfigException):
        return _missing_file(error)
    inner = next((link for link in chain if isinstance(link, OmegaConfBaseException)), None)
    if isinstance(inner, ConfigAttributeError | ConfigKeyError) and "not in struct" in str(inner):
        return _unknown_override(error, inner)
    if isinstance(inner, MissingMandatoryValue | InterpolationToMissingValueError):
        name = re.search(r"[Mm]issing mandatory value: (\S+)", str(inner))
        return str(missing([name[1] if isinstance(inner, InterpolationToMissingValueError) and name else _key(inner)]))
    if isinstance(inner, InterpolationKeyError):
        return _unknown_reference(inner, config)
    texts = [f"{_key(link)}: {_reason(link)}" if link is inner else str(link).strip() for link in chain]
    return "\n".join(text for text in texts if text)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _key(error: OmegaConfBaseException) -> str:
    return str(error.full_key or error.key or "the configuration")


def _reason(error: OmegaConfBaseException) -> str:
    """Return what OmegaConf says, without the lines on its types and without the class of what a resolver raised."""
    text = str(error).split("\n    full_key", 1)[0]
    return re.sub(r"^\w+ raised while resolving interpolation: ", "", text).strip('"')


def _example(key: str) -> str:
    last = key.rpartition(".")[2]
    return f"/path/to/{last}" if key.startswith("dir.") and last != "exp" else "..."


def _yaml_problem(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return f"A YAML file cannot be read: {error}"
    problem = " ".join(str(part) for part in (getattr(error, "problem", None), getattr(error, "context", None)) if part)
    return f"{mark.name}, line {mark.line + 1}, column {mark.column + 1}: this is not YAML: {problem}."


def _unreadable_override(error: OverrideParseException) -> str:
    lines = [line for line in str(error).splitlines() if not line.startswith(("Error parsing", "See http"))]
    # Of a character that it does not know, the lexer says no more than where it stands.
    reason = "" if "LexerNoViableAlt" in lines[0] else f" ({lines[0]})"
    return (
        f"{error.override!r} is not an override in Hydra's grammar{reason}. "
        "A value with special characters needs quotes, in the shell key=\"'value'\"."
    )


def _missing_file(error: MissingConfigException) -> str:
    """Return Hydra's text, which lists the options and the folders, with the nearest option in its first line."""
    wanted = (error.missing_cfg_file or "").rpartition("/")[2]
    close = nearest(wanted, error.options or [])
    head, newline, rest = str(error).strip().partition("\n")
    return head + (f". Did you mean {close!r}?" if close else "") + newline + rest


def _unknown_override(error: BaseException, inner: OmegaConfBaseException) -> str:
    override = re.search(r"Could not override '([^']+)'", str(error))
    asked = override[1] if override else _key(inner)
    siblings = [key for key in inner.parent_node or () if key != "hydra"]
    return f"{no_such_key(asked, _key(inner), siblings)} To add a new key write +{asked}=..."


def _unknown_reference(inner: InterpolationKeyError, config: Any) -> str:
    found = re.search(r"Interpolation key '([^']+)' not found", str(inner))
    name = found[1] if found else str(inner.key)
    keys = [] if config is None else _mappings_and_leaves(OmegaConf.to_container(config, resolve=False))
    close = nearest(name, keys)
    hint = f" Did you mean {close}?" if close else ""
    return f"{_key(inner)} refers to {name}, which does not exist.{hint}"


def _mappings_and_leaves(tree: Any) -> list[str]:
    names: dict[str, None] = {}
    for key, _ in flatten(tree):
        parts = key.split(".")
        names.update((".".join(parts[:length]), None) for length in range(1, len(parts) + 1))
    return list(names)
