"""The section `evaluation`: what a test writes and measures, and under which corruptions it is repeated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eztorch.utils.errors import ConfigError
from eztorch.utils.names import check_keys, choose

_TARGET = "eztorch.callbacks.PredictionWriter"
# Keys that the callback takes as they are.
_OF_WRITER = ("metrics", "groups", "bins", "threshold", "views")
_WRITING = ("test", "scorecard")
_KEYS = ("predictions", *_OF_WRITER, "corruptions")


@dataclass(frozen=True)
class CorruptionPlan:
    """A corruption under which the test is repeated.

    Attributes:
        name: One of `eztorch.transforms.corruptions.CORRUPTIONS`.
        severities: Each is a test.
    """

    name: str
    severities: tuple[int, ...]


def check_evaluation(config: Mapping[str, Any]) -> None:
    """Check the section before anything is built.

    Raises:
        ConfigError: A key, a measure, a corruption or a severity is not known.
    """
    from eztorch.evaluation.measure import MeasureOptions, check_names

    section = _section(config)
    check_names(section.get("metrics") or (), "evaluation.metrics")
    MeasureOptions(**{key: section[key] for key in ("bins", "threshold") if section.get(key) is not None})
    corruption_plans(config)


def writer_spec(config: Mapping[str, Any], task: str, command: str) -> dict[str, dict[str, Any]]:
    """Return the description of the callback that writes and measures predictions, by its name, where there is one.

    Args:
        config: Resolved configuration.
        task: Name of the task. Unless `evaluation.predictions` says so, only `test` and `scorecard` have it.
        command: Command line that repeats the run.
    """
    section = _section(config)
    wanted = section.get("predictions")
    if not (task in _WRITING if wanted is None else wanted):
        return {}
    given = {key: section[key] for key in _OF_WRITER if section.get(key) is not None}
    return {"predictions": {"_target_": _TARGET, **given, "command": command}}


def corruption_plans(config: Mapping[str, Any]) -> list[CorruptionPlan]:
    """Return the corruptions under which the test is repeated.

    Raises:
        ConfigError: `evaluation.corruptions` is no list of names, or of mappings of a name and severities.
    """
    from eztorch.transforms.corruptions import CORRUPTIONS, MAX_SEVERITY, check_severity

    key = "evaluation.corruptions"
    listed = _section(config).get("corruptions") or []
    if listed == "all":
        listed = list(CORRUPTIONS)
    if not isinstance(listed, list):
        raise ConfigError(f"{key}={listed!r}; expected a list of names, or all. Names: {', '.join(CORRUPTIONS)}.")
    plans = []
    for one in listed:
        spec = one if isinstance(one, Mapping) else {"name": one}
        if "name" not in spec or set(spec) - {"name", "severities"}:
            raise ConfigError(f"{key}: {one!r} must have a name, may have severities, and nothing else.")
        choose(CORRUPTIONS, spec["name"], key)
        severities = spec.get("severities", list(range(1, MAX_SEVERITY + 1)))
        if not isinstance(severities, list) or not severities:
            raise ConfigError(
                f"{key}: severities={severities!r} of {spec['name']}; expected a list, such as [1, 3, 5]."
            )
        plans.append(CorruptionPlan(spec["name"], tuple(map(check_severity, severities))))
    return plans


def _section(config: Mapping[str, Any]) -> Mapping[str, Any]:
    section = config.get("evaluation") or {}
    if not isinstance(section, Mapping):
        raise ConfigError(f"evaluation={section!r}; expected a mapping with some of {', '.join(_KEYS)}.")
    check_keys(section, _KEYS, "evaluation")
    return section
