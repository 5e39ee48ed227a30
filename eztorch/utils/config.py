"""Building objects from configuration. The only module below the engine that knows Hydra."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, get_args, get_origin

from typing_extensions import Unpack

from eztorch.utils.errors import ConfigError
from eztorch.utils.names import did_you_mean
from eztorch.utils.value_types import misfit

T = TypeVar("T")

# Names that configurations of the predecessor use, of libraries that no longer import and of what stands elsewhere.
_RENAMED = {
    "eztorch.models.siamese.sce_tokens.SCEDistillTokens": "eztorch.models.siamese.SCEDistillTokens",
    "pytorchvideo.transforms.": "eztorch.transforms.video.",
}
# Keys that Hydra reads itself.
_HYDRA_KEYS = {"_target_", "_recursive_", "_convert_", "_partial_", "_args_"}


def is_spec(value: Any) -> bool:
    """Say whether a value is a description of an object: a mapping with a `_target_`."""
    return isinstance(value, Mapping) and "_target_" in value


def locate(target: str) -> Any:
    """Import what a `_target_` names.

    Raises:
        ConfigError: No such module or name; the message carries the original reason and the nearest name.
    """
    for old, new in _RENAMED.items():
        if target.startswith(old):
            target = new + target[len(old) :]
    parts = target.split(".")
    for length in range(len(parts) - 1, 0, -1):
        module_name = ".".join(parts[:length])
        try:
            found: Any = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is not None and (module_name + ".").startswith(error.name + "."):
                continue
            raise ConfigError(f"_target_ {target!r} cannot be imported: {error}.") from error
        for part in parts[length:]:
            if not hasattr(found, part):
                hint = did_you_mean(part, dir(found))
                raise ConfigError(f"_target_ {target!r}: {module_name} has no {part!r}.{hint}")
            found = getattr(found, part)
        return found
    raise ConfigError(f"_target_ {target!r} cannot be imported: there is no module {parts[0]!r}.")


def build(spec: Any, **kwargs: Any) -> Any:
    """Instantiate a spec; return anything else unchanged.

    Nested specs are built first unless the spec says `_recursive_: false`; then the constructor receives them as plain
    mappings and builds them itself. `_partial_: true` gives a `functools.partial`. Nothing of the spec is changed.

    Args:
        spec: A mapping with a `_target_`, or an object that is already built.
        **kwargs: Arguments added to those of the spec; they win over keys of the same name.

    >>> build({"_target_": "fractions.Fraction", "numerator": 1, "denominator": 2})
    Fraction(1, 2)
    >>> build(3)
    3
    """
    if not is_spec(spec):
        return spec
    target = locate(str(spec["_target_"]))
    recursive = spec.get("_recursive_", True)
    arguments = {k: (_build_tree(v) if recursive else _plain(v)) for k, v in spec.items() if k not in _HYDRA_KEYS}
    positional = [_build_tree(v) if recursive else _plain(v) for v in spec.get("_args_", ())]
    arguments.update(kwargs)
    if spec.get("_partial_", False):
        return functools.partial(target, *positional, **arguments)
    return call(str(spec["_target_"]), target, *positional, **arguments)


def call(name: str, target: Callable[..., T], /, *positional: Any, **arguments: Any) -> T:
    """Call a class or function with arguments that come from a configuration.

    Args:
        name: What it is called, for the message.
        target: The class or function.
        *positional: Arguments without a key.
        **arguments: The others.

    Raises:
        ConfigError: It has no argument of that key, and the message has the nearest, or those that there are; or one
            that it needs is missing.

    >>> call("round", round, 2.345, ndigits=1)
    2.3
    """
    try:
        return target(*positional, **arguments)
    except TypeError as error:
        problem = next(_unknown_keys(target, arguments), None) or _missing_keys(target, positional, arguments)
        if problem is not None:
            raise ConfigError(f"{name}: {problem}") from error
        raise


def _build_tree(value: Any) -> Any:
    if is_spec(value):
        return build(value)
    if isinstance(value, Mapping):
        return {k: _build_tree(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_build_tree(v) for v in value]
    return value


def _plain(value: Any) -> Any:
    """Copy nested mappings and sequences to plain dicts and lists, so that no constructor can edit the user's tree."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


def _unknown_keys(target: Callable[..., Any], keys: Mapping[str, Any]) -> Iterator[str]:
    accepted = accepted_keys(target)
    if accepted is None:
        return
    for key in keys:
        if key not in accepted and key not in _HYDRA_KEYS:
            hint = did_you_mean(key, accepted, f"Accepted: {', '.join(accepted) or 'no keys'}.")
            yield f"unknown key {key!r}.{hint}"


def _missing_keys(target: Callable[..., Any], positional: Sequence[Any], keys: Mapping[str, Any]) -> str | None:
    """Say which arguments a target cannot do without and is not given, None where there are none."""
    try:
        bound = inspect.signature(target).bind_partial(*positional, **keys)
    except (TypeError, ValueError):  # no signature, or something else is wrong with the arguments
        return None
    required = (
        name
        for name, parameter in bound.signature.parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    )
    missing = [name for name in required if name not in bound.arguments]
    return f"missing {'key' if len(missing) == 1 else 'keys'} {', '.join(missing)}." if missing else None


def accepted_keys(target: Callable[..., Any]) -> list[str] | None:
    """Return the keys that a target takes, None where it takes any; `**rest: Unpack[Keys]` takes those of `Keys`."""
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):  # some builtins and C functions have no signature
        return None
    accepted = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    rest = next((p.annotation for p in parameters if p.kind is p.VAR_KEYWORD), None)
    if rest is None:
        return accepted
    function = target.__init__ if inspect.isclass(target) else inspect.unwrap(target)
    if isinstance(rest, str):  # annotations are text where a module says `from __future__ import annotations`
        rest = _evaluated(rest, getattr(function, "__globals__", {}))
    if get_origin(rest) is not Unpack:
        return None
    return accepted + list(get_args(rest)[0].__annotations__)


def _evaluated(annotation: str, names: dict[str, Any]) -> Any:
    try:
        return eval(annotation, names)
    except NameError:  # imported for type checkers alone
        return None


def _misfits(target: Callable[..., Any], keys: Mapping[str, Any]) -> Iterator[str]:
    """Yield the values that are nothing of what their arguments are annotated with."""
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        return
    function = inspect.unwrap(target.__init__ if inspect.isclass(target) else target)
    # Annotations of other libraries are not always the whole truth.
    strictly = str(getattr(target, "__module__", "")).partition(".")[0] in ("eztorch", "lightning")
    for key, value in keys.items():
        annotation = parameters[key].annotation if key in parameters else None
        if isinstance(annotation, str):
            annotation = _evaluated(annotation, getattr(function, "__globals__", {}))
        is_default = key in parameters and parameters[key].default is value
        expected = None if is_default else misfit(value, annotation, strictly=strictly)
        if expected is not None:
            yield f"{key}={value!r}; expected {expected}"


def problems(tree: Any, path: str = "") -> Iterator[str]:
    """Walk a configuration and yield what is wrong with its specs.

    That is a target that does not import, an unknown key, a value that is nothing of what an argument expects.

    Args:
        tree: Resolved configuration of plain mappings and lists.
        path: Dotted key of `tree` in the whole, for the messages.
    """
    if isinstance(tree, Mapping):
        if is_spec(tree):
            try:
                target = locate(str(tree["_target_"]))
            except ConfigError as error:
                yield f"{path or '<root>'}: {error}"
            else:
                yield from (f"{path or '<root>'}: {p} ({tree['_target_']})" for p in _unknown_keys(target, tree))
                yield from (f"{path}.{p}" if path else p for p in _misfits(target, tree))
        for key, value in tree.items():
            yield from problems(value, f"{path}.{key}" if path else str(key))
    elif isinstance(tree, list | tuple):
        for index, value in enumerate(tree):
            yield from problems(value, f"{path}[{index}]")
