"""The command line of a task: flags and overrides in any order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from eztorch.utils.errors import ConfigError
from eztorch.utils.names import did_you_mean


@dataclass(frozen=True)
class Flag:
    """A flag of the command line.

    Attributes:
        names: How it can be written, the long form last.
        help: What it does.
        value: What stands for its value in the help; None for a flag without one.
        choices: The accepted values; empty when any is.
    """

    names: tuple[str, ...]
    help: str
    value: str | None = None
    choices: tuple[str, ...] = ()

    @property
    def field(self) -> str:
        """Name of the field of `Arguments` that the flag sets."""
        return self.names[-1].lstrip("-").replace("-", "_")


FLAGS = (
    Flag(("-cn", "--config-name"), "the experiment: a file of -cp, or one of those that eztorch ships", "NAME"),
    Flag(("-cp", "--config-path"), "folder of experiments, seen from the working directory or from the script", "DIR"),
    Flag(("-cd", "--config-dir"), "one more folder of configuration groups", "DIR"),
    Flag(("-m", "--multirun"), "run every combination of the values in key=a,b key=range(1,4) group=glob(*)"),
    Flag(("--dry-run",), "rehearse a training: its first steps, evaluation and checkpoint; nothing is kept"),
    Flag(("-c", "--cfg"), "print the configuration as YAML and stop", "job|hydra|all", ("job", "hydra", "all")),
    Flag(("-p", "--package"), "with --cfg: this part only, for example model.optimizer", "KEY"),
    Flag(("--resolve",), "with --cfg: with the references ${...} filled in"),
    Flag(("-h", "--help"), "print this help and stop"),
    Flag(("--version",), "print the version and stop"),
)
_BY_NAME = {name: flag for flag in FLAGS for name in flag.names}


@dataclass(frozen=True)
class Arguments:
    """A command line, taken apart. The fields are named as the flags; `overrides` keeps their order."""

    overrides: tuple[str, ...] = ()
    config_name: str | None = None
    config_path: str | None = None
    config_dir: str | None = None
    multirun: bool = False
    dry_run: bool = False
    cfg: str | None = None
    package: str | None = None
    resolve: bool = False
    help: bool = False
    version: bool = False

    def source(self) -> tuple[str, ...]:
        """Return the flags that say where the configuration comes from, as they were given.

        >>> parse(["-m", "a=1,2", "--config-name=demo"]).source()
        ('-cn', 'demo')
        """
        given = (("-cp", self.config_path), ("-cd", self.config_dir), ("-cn", self.config_name))
        return tuple(word for flag, value in given if value is not None for word in (flag, value))


def parse(argv: Sequence[str]) -> Arguments:
    """Take a command line apart.

    Args:
        argv: What stands behind the task.

    Raises:
        ConfigError: An unknown flag, a flag without its value or one that does not go with the others, or a word that
            is neither a flag nor an override.

    >>> parse(["model.temp=0.2", "-cn", "demo", "~callbacks"]).overrides
    ('model.temp=0.2', '~callbacks')
    """
    overrides: list[str] = []
    values: dict[str, str | bool] = {}
    words = iter(argv)
    for word in words:
        if word.startswith("-"):
            flag, value = _read_flag(word, words)
            values[flag.field] = value
        elif "=" in word or word.startswith("~"):
            overrides.append(word)
        else:
            raise ConfigError(
                f"{word!r} is neither a flag nor an override. Write key=value, or -cn {word} for the experiment."
            )
    arguments = Arguments(tuple(overrides), **values)  # type: ignore[arg-type]  # the flags name the fields
    _check_combination(arguments)
    return arguments


def unknown_flag(word: str, known: Sequence[str]) -> ConfigError:
    """Return the error of a flag that there is not."""
    return ConfigError(f"unknown flag {word!r}.{did_you_mean(word, known, '--help lists the flags.')}")


def _read_flag(word: str, words: Iterator[str]) -> tuple[Flag, str | bool]:
    """Return a flag and its value, which is behind `=` or the next word."""
    name, equals, attached = word.partition("=")
    flag = _BY_NAME.get(name)
    if flag is None:
        raise unknown_flag(name, list(_BY_NAME))
    if flag.value is None:
        if equals:
            raise ConfigError(f"{name} takes no value, got {word!r}.")
        return flag, True
    value = attached if equals else next(words, "")
    if not value or (value in _BY_NAME and not equals):
        raise ConfigError(f"{name} needs a value: {name} {flag.value}, {flag.help}.")
    if flag.choices and value not in flag.choices:
        raise ConfigError(f"{name}={value!r} is not known; expected one of {list(flag.choices)}.")
    return flag, value


def _check_combination(arguments: Arguments) -> None:
    if arguments.cfg is None and (arguments.resolve or arguments.package is not None):
        raise ConfigError(f"{'--resolve' if arguments.resolve else '--package'} goes with --cfg job.")
    if arguments.dry_run and (arguments.multirun or arguments.cfg is not None):
        other = "--multirun" if arguments.multirun else "--cfg"
        raise ConfigError(f"--dry-run rehearses one job: leave {other} out.")
    if arguments.cfg is not None and arguments.multirun:
        raise ConfigError("--cfg prints the configuration of one job: leave --multirun and the choices out.")
