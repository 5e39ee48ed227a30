"""Every command of the pages, of the headers of recipes and of the help can be used, apart from its folders."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from eztorch.cli import _COMMANDS as GROUPS
from eztorch.engine.arguments import parse
from eztorch.engine.commands import CommandGroup
from eztorch.engine.compose import Composer
from eztorch.engine.experiments import find_recipe
from eztorch.engine.tasks import TASKS
from eztorch.utils.config import problems

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "doc").rglob("*.md"))]
OWN = ROOT / "doc/examples/own"
RECIPES = sorted((ROOT / "configs").glob("*.yaml"))
# Words that stand for something of the reader's: such a command is not put together.
PLACEHOLDERS = ("...", "$", "[key=value", "RECIPE")
# Keys that say where things are. A recipe with no other change composes in tests/configs/test_experiments.py.
PLACES = ("dir.", "pretrained.path", "ckpt_path", "checkpoint", "datamodule.download")
# The first of several values of a multirun.
SEVERAL = re.compile(r"^([^=]+)=([^\[{(,]+),.*$")
BLOCK = re.compile(r"^( *)```bash.*?\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
HEADER = re.compile(r"^# ?", re.MULTILINE)


def commands_of(text: str) -> Iterator[str]:
    """Yield the words of every command of eztorch in lines of a shell, without what stands in front of it."""
    for line in text.replace("\\\n", " ").splitlines():
        found = re.search(r"(?:^|[ /])(?:eztorch|python run/(?P<script>\w+)\.py) (?P<words>.*)", line)
        if found and not line.lstrip().startswith(("#", "$ ")):
            yield f"{found['script'] or ''} {found['words']}".strip()


def written() -> list[tuple[str, str]]:
    """Return every command with where it stands."""
    found = []
    for page in PAGES:
        for block in BLOCK.finditer(page.read_text()):
            found += [(page.relative_to(ROOT).as_posix(), command) for command in commands_of(block[2])]
    for recipe in RECIPES:
        header = HEADER.sub("", recipe.read_text().split("defaults:")[0])
        found += [(f"configs/{recipe.name}", command) for command in commands_of(header)]
    for task in TASKS.values():
        found += [("help", command) for command in commands_of("\n".join(task.examples))]
    for group in GROUPS.values():
        parts = group.commands.values() if isinstance(group, CommandGroup) else [group]
        found += [("help", command) for part in parts for command in commands_of("\n".join(part.examples))]
    return found


def words_of(line: str) -> list[str]:
    words = shlex.split(line, comments=True)
    return words[: next((number for number, word in enumerate(words) if word in ("|", ">", "&&")), None)]


def changes() -> dict[tuple[str, ...], tuple[str, str]]:
    """Return where each command of a task stands that changes a recipe, by its words without the places."""
    found: dict[tuple[str, ...], tuple[str, str]] = {}
    for page, line in WRITTEN:
        name, *words = words_of(line)
        if name not in TASKS or any(word.startswith(PLACEHOLDERS) for word in words):
            continue
        arguments = parse(words)
        kept = sorted(word for word in arguments.overrides if not word.startswith(PLACES))
        if arguments.config_name is not None and (kept or arguments.config_name not in NAMES):
            found.setdefault((name, *arguments.source(), *kept), (page, line))
    return found


WRITTEN = written()
NAMES = {recipe.stem for recipe in RECIPES}
CHANGES = changes()
OTHERS = sorted({line: (page, line) for page, line in WRITTEN if line.split()[0] in GROUPS}.values())


def test_commands__are_found_and_belong_to_the_program():
    assert len(WRITTEN) > 250
    assert len(CHANGES) > 45
    assert len(OTHERS) > 60
    beginnings = {line.split()[0] for _, line in WRITTEN}
    assert beginnings - {*TASKS, *GROUPS, "--help", "--version", "TASK"} == set()


@pytest.mark.parametrize("change", CHANGES, ids=" ".join)
def test_commands__of_tasks_compose_with_targets_and_keys_that_there_are(change, tmp_path, monkeypatch):
    name, *words = change
    monkeypatch.chdir(OWN if "." in words else ROOT)  # `-cp .` is said of the project of the guide
    monkeypatch.syspath_prepend(OWN)
    arguments = parse(words)
    overrides = [SEVERAL.sub(r"\1=\2", word) for word in arguments.overrides]
    recipe = find_recipe(arguments, name)
    composer = Composer(recipe, name)
    config = composer.compose([*overrides, "dir.data=/data", f"dir.root={tmp_path}"])
    assert list(problems(composer.resolve(config, tmp_path))) == [], CHANGES[change]


@pytest.mark.parametrize(("page", "line"), OTHERS)
def test_commands__of_other_kinds_are_read_by_their_parsers(page, line):
    name, *words = words_of(line)
    command = GROUPS[name]
    if isinstance(command, CommandGroup):
        if words[0] in ("COMMAND", "--help"):
            return
        command = command.commands[words.pop(0)]
    command.parser().parse_words(words)
