"""What `eztorch data check` leaves behind: a table for people, a report for programs, a list of what to leave out."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from eztorch.data.check_findings import KINDS, Finding
from eztorch.data.check_sets import class_counts
from eztorch.data.check_sources import Split

# Rows of a kind of finding in the table; the report has all.
_SHOWN = 5


def print_findings(console: Console, splits: Sequence[Split], findings: Sequence[Finding], report: Path) -> None:
    """Print what the splits are and what was found, the worst first."""
    console.print(_splits_table(splits))
    if not findings:
        console.print("[green]Nothing found.[/] A run on these data is safe.")
        return
    table = Table("finding", "split", "medium", "why", title=None, box=None, pad_edge=False, header_style="bold")
    by_kind: defaultdict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_kind[finding.kind].append(finding)
    for kind in (kind for kind in KINDS if kind in by_kind):
        style = "red" if KINDS[kind].problem else "yellow"
        some = by_kind[kind][: _SHOWN if len(by_kind[kind]) > _SHOWN + 1 else None]
        for finding in some:
            table.add_row(f"[{style}]{kind}[/]", *map(escape, (finding.split, finding.path, finding.reason)))
        if len(some) < len(by_kind[kind]):
            table.add_row(f"[{style}]{kind}[/]", "", f"... and {len(by_kind[kind]) - len(some)} more", f"see {report}")
    console.print(table)
    console.print(verdict(findings))


def verdict(findings: Sequence[Finding]) -> str:
    """Say in one line whether a run would be safe."""
    problems = Counter(finding.kind for finding in findings if finding.problem)
    notes = len(findings) - problems.total()
    if not problems:
        return f"[green]No problem[/], {notes} note(s). A run on these data is safe."
    kinds = ", ".join(f"{number} {kind}" for kind, number in problems.most_common())
    return f"[red]{problems.total()} problem(s)[/]: {kinds}; {notes} note(s). A run on these data is not safe."


def report_json(splits: Sequence[Split], findings: Sequence[Finding], level: str) -> dict[str, Any]:
    """Return the report for programs."""
    return {
        "version": 1,
        "level": level,
        "safe": not any(finding.problem for finding in findings),
        "counts": dict(Counter(finding.kind for finding in findings)),
        "splits": [
            {
                "name": split.name,
                "source": split.source,
                "media": len(split.items),
                "classes": {split.class_name(label): count for label, count in sorted(class_counts(split).items())},
            }
            for split in splits
        ],
        "findings": [{**finding._asdict(), "problem": finding.problem} for finding in findings],
    }


def quarantine(findings: Iterable[Finding], paths: Mapping[tuple[str, str], str]) -> list[str]:
    """Return what should be left out, as the annotations have it, sorted.

    Args:
        findings: What was found.
        paths: The media by the names of split and medium.
    """
    return sorted({one.path for one in findings if KINDS[one.kind].quarantine and (one.split, one.path) in paths})


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a mapping as json."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _splits_table(splits: Sequence[Split]) -> Table:
    table = Table(
        "split", "media", "kinds", "classes", "per class", "source", box=None, pad_edge=False, header_style="bold"
    )
    for split in splits:
        kinds = Counter(item.kind for item in split.items)
        counts = sorted(class_counts(split).values())
        spread = f"{counts[0]} to {counts[-1]}, median {counts[len(counts) // 2]}" if counts else "no labels"
        table.add_row(
            escape(split.name),
            str(len(split.items)),
            ", ".join(f"{number} {kind}" for kind, number in kinds.most_common()),
            str(len(counts) or ""),
            spread,
            escape(split.source),
        )
    return table
