"""The layers of the package: every import statement, also those inside functions, points down."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "eztorch"
# From the top to the bottom; packages of one layer may use each other as long as there is no circle.
LAYERS = (
    ("__main__", "cli"),
    ("data", "checkpoint", "compare", "predictions"),
    ("engine",),
    ("callbacks", "evaluation", "visualization"),
    ("models", "datamodules"),
    ("datasets", "models.trunks", "models.heads"),
    ("optimizers",),
    ("losses", "modules", "schedulers", "transforms"),
    ("utils", "configs", ""),  # "" is eztorch itself: its version
)
LEVEL = {unit: len(LAYERS) - depth for depth, layer in enumerate(LAYERS) for unit in layer}
MODEL_SIDE = {"models", "models.trunks", "models.heads", "optimizers", "losses", "modules", "schedulers"}
DATA_SIDE = {"datamodules", "datasets"}
# What answers the command line before there is a job.
WITHOUT_TORCH = (
    "eztorch",
    "eztorch.cli",
    "eztorch.checkpoint.commands",
    "eztorch.compare.commands",
    "eztorch.compare.comparison",
    "eztorch.compare.runs",
    "eztorch.compare.terminal",
    "eztorch.data.commands",
    "eztorch.predictions.commands",
    "eztorch.utils",
    "eztorch.utils.config",
    "eztorch.utils.errors",
    "eztorch.utils.names",
    "eztorch.engine.compose",
    "eztorch.engine.explain",
    "eztorch.engine.launch",
    "eztorch.engine.sweep",
)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules() -> dict[str, Path]:
    found = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
    assert len(found) > 60  # a moved folder cannot empty the test
    return found


def imports(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Names of the modules that a file imports, relative imports resolved, whichever form they are written in."""
    package = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([base] if base else [])])
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                yield whole if whole in known else base


def unit(module: str) -> str:
    """The part of the package that a module belongs to, as `LAYERS` names it."""
    parts = module.split(".")[1:]
    two = ".".join(parts[:2])
    return two if two in LEVEL else parts[0] if parts else ""


def edges() -> list[tuple[str, str]]:
    """Imports of eztorch's modules by each other."""
    known = modules()
    found = []
    for name, path in known.items():
        found += [(name, other) for other in imports(path, known) if other.split(".")[0] == "eztorch"]
    assert len(found) > 100
    return found


def importers(library: str) -> set[str]:
    """Units whose modules import a library, as `a` or `a.b`."""
    known = modules()
    return {unit(name) for name, path in known.items() for other in imports(path, known) if is_part(other, library)}


def is_part(module: str, library: str) -> bool:
    return module == library or module.startswith(library + ".")


def test_imports__every_module_has_a_layer():
    assert {unit(name) for name in modules()} <= set(LEVEL)


def test_imports__point_down():
    upward = [f"{one} imports {other}" for one, other in edges() if LEVEL[unit(one)] < LEVEL[unit(other)]]
    assert upward == []


def test_imports__model_side_and_data_side_do_not_know_each_other():
    crossing = [
        f"{one} imports {other}"
        for one, other in edges()
        if (unit(one) in MODEL_SIDE and unit(other) in DATA_SIDE)
        or (unit(one) in DATA_SIDE and unit(other) in MODEL_SIDE)
    ]
    assert crossing == []


def test_imports__decoders_and_clip_samplers_do_not_know_each_other():
    pair = ("eztorch.datasets.decoders", "eztorch.datasets.clip_samplers")
    crossing = [
        f"{one} imports {other}"
        for one, other in edges()
        for mine, yours in (pair, pair[::-1])
        if is_part(one, mine) and is_part(other, yours)
    ]
    assert crossing == []


def test_imports__units_form_no_circle():
    below: dict[str, set[str]] = {name: set() for name in LEVEL}
    for one, other in edges():
        below[unit(one)].add(unit(other))
    for name in below:
        below[name].discard(name)
    while free := [name for name in below if not below[name]]:
        for name in free:
            del below[name]
            for others in below.values():
                others.discard(name)
    assert below == {}


@pytest.mark.parametrize(
    ("library", "allowed"),
    [
        ("hydra", {"engine", "cli"}),
        ("omegaconf", {"engine", "cli"}),
        ("lightning", {"engine", "callbacks", "evaluation", "models", "datamodules"}),
    ],
)
def test_imports__libraries_stay_where_the_design_puts_them(library, allowed):
    found = importers(library)
    assert found  # the library is imported somewhere, so the test sees imports
    assert found <= allowed


def test_imports__what_answers_the_command_line_does_not_load_torch():
    code = f"import sys, {', '.join(WITHOUT_TORCH)}; print({{'torch', 'lightning', 'numpy'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr.strip()) == ("set()", "")


def test_imports__run_scripts_call_the_engine_and_nothing_else():
    scripts = sorted((ROOT / "run").glob("*.py"))
    assert len(scripts) >= 3
    for script in scripts:
        used = {name for name in imports(script, modules()) if name.split(".")[0] not in sys.stdlib_module_names}
        assert used == {"eztorch.engine.launch"}, script.name
        assert len(script.read_text().splitlines()) <= 20
