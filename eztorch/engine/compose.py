"""Composing a recipe with Hydra, and resolving it for a job."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.utils import setup_globals
from omegaconf import DictConfig, OmegaConf

from eztorch.engine.experiments import Recipe, experiments_dir
from eztorch.engine.explain import explained, flatten, missing, no_such_key
from eztorch.engine.job import Difference
from eztorch.utils.errors import ConfigError

GROUPS = "pkg://eztorch.configs"
# What Hydra itself sets for them; anything else was written by the user and is honoured.
HYDRA_RUN_DIR = "outputs/${now:%Y-%m-%d}/${now:%H-%M-%S}"
HYDRA_SWEEP_DIR = "multirun/${now:%Y-%m-%d}/${now:%H-%M-%S}"
HYDRA_SWEEP_SUBDIR = "${hydra.job.num}"
# Settings of Hydra's own main function that have no effect here, and what to do instead. They are refused, so that
# nobody waits for what does not come.
_UNUSED = (
    ("job.chdir", "the working directory never changes; dir.run says where a job writes"),
    ("job.env_set", "set environment variables in the shell"),
    ("job.env_copy", "set environment variables in the shell"),
    ("callbacks", "use callbacks of the trainer"),
    ("verbose", "set the level of a logger in Python"),
)
_ABSENT = object()


def replace_gpus(overrides: Sequence[str]) -> tuple[list[str], str | None]:
    """Write the `trainer.gpus=N` of Lightning 1 as Lightning 2 has it.

    Returns:
        The overrides, and a warning when there was something to replace.

    >>> replace_gpus(["trainer.gpus=-1"])[0]
    ['++trainer.accelerator=gpu', '++trainer.devices=-1']
    """
    replaced, warning = [], None
    for override in overrides:
        key, _, value = override.partition("=")
        if key.lstrip("+") != "trainer.gpus":
            replaced.append(override)
            continue
        # In Lightning 1, no GPU meant the CPU.
        new = ("cpu", "1") if value in ("0", "null") else ("gpu", value)
        replaced += [f"++trainer.accelerator={new[0]}", f"++trainer.devices={new[1]}"]
        warning = f"trainer.gpus is a key of Lightning 1; write trainer.accelerator={new[0]} trainer.devices={new[1]}."
    return replaced, warning


def quote(text: str) -> str:
    """Quote a text for Hydra's grammar where it needs it.

    >>> quote("/output/run"), quote("/my output/a=b")
    ('/output/run', "'/my output/a=b'")
    """
    if re.fullmatch(r"[\w./-]+", text, re.ASCII):
        return text
    return QuotedString(text, Quote.single).with_quotes()


def absolute(path: Any) -> Path:
    """Return a path of the configuration seen from the working directory; a leading `~` is the home folder."""
    return Path(str(path)).expanduser().absolute()


class Composer:
    """Composes the configurations of one recipe.

    Args:
        recipe: The experiment.
        task: Name of the task, `hydra.job.name` for the configuration.
        launcher: What started several processes of this command line, each of which composes for itself; None when
            this is the only one.
    """

    def __init__(self, recipe: Recipe, task: str, *, launcher: str | None = None) -> None:
        self.recipe = recipe
        self.launcher = launcher
        self._task = task
        # One moment for all jobs of the command, however long they take.
        self._started = datetime.now()

    def compose(self, overrides: Sequence[str] = ()) -> DictConfig:
        """Compose the recipe with overrides.

        Returns:
            The configuration with its `hydra` node, references not yet resolved.

        Raises:
            ConfigError: The files or the overrides do not compose.
        """
        with explained(), self._session(), _groups_named(overrides):
            config = compose(self.recipe.name, self._with_search_path(overrides), return_hydra_config=True)
        if OmegaConf.is_missing(config.hydra.job, "num"):
            config.hydra.job.num = 0
        config.hydra.job.id = str(config.hydra.job.num)
        return config

    def options(self, group: str, overrides: Sequence[str]) -> list[str]:
        """Return the names of the files of a configuration group."""
        with explained(), self._session():
            loader = GlobalHydra.instance().config_loader()
            return loader.get_group_options(
                group, ObjectType.CONFIG, config_name=self.recipe.name, overrides=self._with_search_path(overrides)
            )

    def run_dir(self, config: DictConfig) -> Path:
        """Return the run directory: `hydra.run.dir` where it is set, else `dir.run`, else `dir.root/dir.exp`.

        Raises:
            ConfigError: None of them is there, or a value of the configuration is missing.
        """
        require_values(config)
        run, root, name = (self.value(config, f"dir.{key}") for key in ("run", "root", "exp"))
        named_after = re.findall(r"\$\{\.?(?:dir\.)?(root|exp)\}", str(_raw(config).get("dir") or ""))
        for key, value in (("root", root), ("exp", name)):
            if value is None and key in named_after:
                raise ConfigError(f"dir.{key} is null, but the run directory, dir.run, is named after it.")
        if hydra_settings(config)["run"]["dir"] != HYDRA_RUN_DIR:
            return absolute(self.value(config, "hydra.run.dir"))
        if run is None and (root is None or name is None):
            raise ConfigError("There is no run directory: give dir.run=/path/to/run, or dir.root and dir.exp.")
        return absolute(run) if run is not None else absolute(root) / str(name)

    def value(self, config: DictConfig, key: str) -> Any:
        """Return the resolved value of a key, None when there is no such key."""
        with explained(config), self._resolvers(config):
            return OmegaConf.select(config, key, throw_on_missing=True)

    def resolve(self, config: DictConfig, run_dir: Path) -> dict[str, Any]:
        """Return the configuration of a job as plain mappings and lists, without the `hydra` node.

        Args:
            config: What `compose` returned; its run directory is set.
            run_dir: Run directory of the job.

        Raises:
            ConfigError: A value is missing or a reference leads nowhere.
        """
        OmegaConf.update(config, "dir.run", str(run_dir), force_add=True)
        config.hydra.runtime.output_dir = str(run_dir)
        with explained(config), self._resolvers(config):
            return cast("dict[str, Any]", _plain(_without_hydra(config)))

    def show(self, config: DictConfig, what: str, *, package: str | None = None, resolve: bool = False) -> str:
        """Return the YAML of a configuration.

        Args:
            config: What `compose` returned.
            what: `job`, `hydra` or `all`.
            package: Dotted key of the part to show; None for everything.
            resolve: Fill the references in.
        """
        trees = {"job": _raw(config), "hydra": {"hydra": hydra_settings(config)}}
        tree: Any = {**trees["job"], **trees["hydra"]} if what == "all" else trees[what]
        part = tree if package is None else _part(tree, package)
        if resolve:
            part = self._resolved_part(config, what, package)
        if not isinstance(part, Mapping | list):
            return _text(part) + "\n"
        head = "" if package is None else f"# @package {package}\n"
        node: Any = OmegaConf.create(cast(Any, part))
        return head + OmegaConf.to_yaml(node)

    def _resolved_part(self, config: DictConfig, what: str, package: str | None) -> Any:
        if package is None:
            require_values(config)
        with suppress(ConfigError):  # a part can be shown without a run directory
            config.hydra.runtime.output_dir = str(self.run_dir(config))
        with explained(config), self._resolvers(config):
            if package is not None:
                return _plain(OmegaConf.select(config, package, throw_on_missing=True))
            job = {} if what == "hydra" else _plain(_without_hydra(config))
            if what == "job":
                return job
            return {**job, "hydra": {key: _plain(config.hydra[key]) for key in hydra_settings(config)}}

    def differences(self, config: DictConfig) -> tuple[Difference, ...]:
        """Return the keys that do not have the value of the recipe, as they are written there and here.

        A recipe that does not compose without overrides, because its defaults list leaves a choice open, differs in the
        overrides themselves.
        """
        before, now = self._recipe_alone, dict(flatten(_raw(config)))
        if before is None:
            lines = (line.partition("=") for line in config.hydra.overrides.task)
            return tuple(Difference(key, "(not set)", value) for key, _, value in lines)
        keys = dict.fromkeys([*now, *before])
        return tuple(
            Difference(key, _text(before.get(key, _ABSENT)), _text(now.get(key, _ABSENT)))
            for key in keys
            if before.get(key, _ABSENT) != now.get(key, _ABSENT)
        )

    @cached_property
    def _recipe_alone(self) -> dict[str, Any] | None:
        """The keys and values of the recipe without overrides; None when it does not compose without them."""
        try:
            return dict(flatten(_raw(self.compose())))
        except ConfigError:
            return None

    def _with_search_path(self, overrides: Sequence[str]) -> list[str]:
        """Return the overrides with one for the search path: what the user set, `-cd`, and what eztorch ships."""
        recipe = OmegaConf.load(self.recipe.path)
        hydra: Any = recipe.get("hydra", {}) if isinstance(recipe, DictConfig) else {}
        if not OmegaConf.is_dict(hydra) and hydra != {}:
            raise ConfigError(f"{self.recipe.path}: hydra is {hydra!r}; expected a mapping, or leave it out.")
        asked: Any = OmegaConf.select(hydra, "searchpath") if hydra else None
        others = []
        for override in OverridesParser.create().parse_overrides(list(overrides)):
            if override.key_or_group == "hydra.searchpath":
                asked = override.value()
            else:
                others.append(cast(str, override.input_line))
        if isinstance(asked, str) or not isinstance(asked or [], Sequence):
            raise ConfigError(f"hydra.searchpath={asked!r}; expected a list of folders.")
        own = [*(str(path) for path in self.recipe.search), *(asked or [])]
        # Behind the groups the shipped experiments, for a recipe that begins with one of them.
        entries = dict.fromkeys([*own, GROUPS, str(experiments_dir())])
        return [*others, f"hydra.searchpath=[{','.join(quote(entry) for entry in entries)}]"]

    @contextmanager
    def _session(self) -> Iterator[None]:
        with (
            initialize_config_dir(str(self.recipe.folder), job_name=self._task, version_base="1.3"),
            warnings.catch_warnings(),
        ):
            unavailable = r"provider=.* is not available"
            warnings.filterwarnings("error", message=unavailable)
            try:
                yield
            except UserWarning as warning:
                if not re.match(unavailable, str(warning)):
                    raise
                raise ConfigError(f"hydra.searchpath or -cd: {str(warning).partition(', ')[2]}") from warning

    @contextmanager
    def _resolvers(self, config: DictConfig) -> Iterator[None]:
        """Let `${hydra:...}` and `${now:...}` speak of this configuration and this command."""

        def hydra(key: str) -> Any:
            value = OmegaConf.select(config.hydra, key, default=_ABSENT, throw_on_missing=True)
            if value is _ABSENT:
                raise ConfigError(f"${{hydra:{key}}}: Hydra has no such key; --cfg hydra shows what there is.")
            return value

        OmegaConf.register_new_resolver("hydra", hydra, replace=True)
        OmegaConf.register_new_resolver("now", self._now, replace=True)
        try:
            yield
        finally:
            setup_globals()  # Hydra's own resolvers again

    def _now(self, pattern: str) -> str:
        if self.launcher is not None:
            raise ConfigError(
                f"The configuration uses ${{now:{pattern}}}, but {self.launcher} started several processes, whose "
                "clocks would give each another value. Set what uses it on the command line, for example by the number "
                "of the job: dir.exp=pretrain-$SLURM_JOB_ID"
            )
        return self._started.strftime(pattern)


@contextmanager
def _groups_named(overrides: Sequence[str]) -> Iterator[None]:
    """Say which override gives a configuration group no name; Hydra's own error does not."""
    try:
        yield
    except ValueError as error:
        if not str(error).startswith("Config group override must be"):
            raise
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        given = " ".join(  # keys of the configuration may have such values, but then a dot
            str(one.input_line)
            for one in parsed
            if not isinstance(one.value(), str | list) and "." not in one.get_key_element()
        )
        raise ConfigError(
            f"{given}: a configuration group takes the name of one of its files; to leave it out write ~GROUP."
        ) from error


def refuse_unused(config: DictConfig, *, multirun: bool) -> None:
    """Refuse settings of the `hydra` node that have no effect here.

    Raises:
        ConfigError: Such a setting is there; the message says what to do instead.
    """
    hydra = hydra_settings(config)
    for key, instead in _UNUSED:
        section, _, name = key.rpartition(".")
        if (hydra[section] if section else hydra)[name]:
            raise ConfigError(f"hydra.{key} has no effect in eztorch: {instead}.")
    if str(config.hydra.mode or "").endswith("MULTIRUN") and not multirun:
        raise ConfigError("hydra.mode=MULTIRUN: write --multirun on the command line instead.")
    for plugin in ("hydra/launcher", "hydra/sweeper"):
        choice = config.hydra.runtime.choices.get(plugin)
        if multirun and choice != "basic":
            raise ConfigError(
                f"{plugin}={choice}: launchers and sweepers of Hydra are not used; --multirun runs the grid of the "
                "overrides, one job after another."
            )


def _raw(config: DictConfig) -> dict[str, Any]:
    """Return a configuration as it is written, without the `hydra` node."""
    return cast("dict[str, Any]", OmegaConf.to_container(_without_hydra(config), resolve=False))


def hydra_settings(config: DictConfig) -> dict[str, Any]:
    """Return the `hydra` node as it is written, without Hydra's own help texts."""
    node = cast("dict[str, Any]", OmegaConf.to_container(config.hydra, resolve=False))
    return {key: value for key, value in node.items() if key not in ("help", "hydra_help")}


def _without_hydra(config: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True, throw_on_missing=True) if OmegaConf.is_config(node) else node


def require_values(config: DictConfig) -> None:
    """Check that no mandatory value is missing.

    Raises:
        ConfigError: Some are; the message names all of them.
    """
    unset = [key for key, value in flatten(_raw(config)) if value == "???"]
    if unset:
        raise missing(unset)


def _part(tree: Any, package: str) -> Any:
    """Return the part of a plain tree under a dotted key."""
    keys = package.split(".")
    for depth, key in enumerate(keys):
        if isinstance(tree, list) and key.isdigit() and int(key) < len(tree):
            tree = tree[int(key)]
        elif isinstance(tree, Mapping) and key in tree:
            tree = tree[key]
        else:
            siblings = list(tree) if isinstance(tree, Mapping) else []
            raise ConfigError(f"--package: {no_such_key(package, '.'.join(keys[: depth + 1]), siblings)}")
    return tree


def _text(value: Any) -> str:
    if value is _ABSENT:
        return "(not set)"
    if isinstance(value, Mapping | list) or value is None or isinstance(value, bool):
        return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))
    return str(value)
