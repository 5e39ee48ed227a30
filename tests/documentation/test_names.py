"""The pages name what eztorch has, and have what they name."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from eztorch.engine.callbacks import DEFAULT_CALLBACKS
from eztorch.engine.tasks import TASKS
from eztorch.utils.config import locate
from eztorch.utils.errors import ConfigError

ROOT = Path(__file__).parents[2]
GROUPS = ROOT / "eztorch/configs"
PAGES = {
    page.relative_to(ROOT).as_posix(): page.read_text() for page in [ROOT / "README.md", *ROOT.glob("doc/**/*.md")]
}
GUIDES = "\n".join(PAGES.values())
CODE = "\n".join(re.findall(r"`[^`\n]+`|^ *```.*?^ *```", GUIDES, re.MULTILINE | re.DOTALL))
# What other groups are made of; nobody chooses it.
INNER = {"dir/default.yaml", "seed/default.yaml", "evaluation/retrieval_side.yaml", "model/shared/siamese.yaml"}
# `group=name`, `group@place=name` and the same with a colon, as in a list of defaults.
CHOICE = re.compile(
    r"(?<![\w./~-])((?:model|transform|clip_sampler|datamodule|callback|evaluation|recipe|trainer)(?:/\w+)?)"
    r"(?:@[\w.<>]+)?(?:=|: )([a-z]\w*)(?=[\s`\"',)]|$)",
    re.MULTILINE,
)


def is_named(name: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", CODE) is not None


@pytest.mark.parametrize(
    "group", sorted({path.relative_to(GROUPS).as_posix() for path in GROUPS.rglob("*.yaml")} - INNER)
)
def test_groups__are_named_in_a_guide(group):
    assert is_named(Path(group).stem), f"{group}: no page says what it is for"


def test_tasks_and_default_callbacks__are_named_in_a_guide():
    names = {*TASKS, *(name for specs in DEFAULT_CALLBACKS.values() for name in specs)}
    assert {name for name in names if not is_named(name)} == set()


def test_groups__that_a_page_chooses_are_there():
    places = [ROOT / "doc/examples/own", GROUPS]
    chosen = set(CHOICE.findall(CODE))
    assert len(chosen) > 100
    groups = {(group, name) for group, name in chosen if (GROUPS / group).is_dir()}
    missing = {one for one in groups if not any((place / one[0] / f"{one[1]}.yaml").is_file() for place in places)}
    assert missing == set()


@pytest.mark.parametrize("page", PAGES)
def test_names_of_eztorch__that_a_page_has_can_be_imported(page):
    for name in sorted(set(re.findall(r"\beztorch(?:\.\w+)+", PAGES[page]))):
        if name.startswith("eztorch.configs") or name.endswith(("_", ".")):
            continue
        try:
            locate(name)
        except ConfigError:
            importlib.import_module(name)


def test_snippets__are_included():
    """A formatter that takes the line of a snippet for Python would leave it on the page as it is."""
    found = [line.strip() for text in PAGES.values() for line in text.splitlines() if "--8" in line]
    assert len(found) > 20
    for line in found:
        snippet = re.fullmatch(r'--8<-- "([^":]+)(:\w+)?"', line)
        assert snippet, line
        assert (ROOT / snippet[1]).is_file(), line
