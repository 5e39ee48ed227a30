"""What `eztorch data check` gives: a page for people, a report for programs, a list of what to leave out."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from eztorch.data.check.findings import KINDS, Finding
from eztorch.data.check.sets import class_counts
from eztorch.data.check.sources import Split
from eztorch.data.split.annotation_files import write_annotation
from eztorch.data.text import amount
from eztorch.datasets.annotations import LabeledVideo
from eztorch.utils.errors import DataError
from eztorch.utils.files import atomic_file

# Rows of a kind of finding in the table; the report has all.
_SHOWN = 5


def print_findings(console: Console, splits: Sequence[Split], findings: Sequence[Finding], report: Path) -> None:
    """Print what the splits are and what was found, the worst first."""
    console.print(_splits_table(splits))
    by_kind: defaultdict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_kind[finding.kind].append(finding)
    for kind in (kind for kind in KINDS if kind in by_kind):
        found, style = by_kind[kind], "red" if KINDS[kind].problem else "yellow"
        console.print(f"\n[bold {style}]{kind}[/] ({len(found)}): {KINDS[kind].meaning}")
        shown = found[: _SHOWN if len(found) > _SHOWN + 1 else None]
        for finding in shown:
            where = f"{finding.split}: " if finding.split and len(splits) > 1 else ""
            console.print(f"  {where}{finding.path}: {finding.reason}", markup=False)
        if len(shown) < len(found):
            console.print(f"  ... and {len(found) - len(shown)} more, see {report}", markup=False)
    console.print(f"\n{verdict(findings)}")


def verdict(findings: Sequence[Finding]) -> str:
    """Say in one line whether a run would be safe."""
    problems = Counter(finding.kind for finding in findings if finding.problem)
    notes = len(findings) - problems.total()
    also = f", {amount(notes, 'note')}" if notes else ""
    if not problems:
        return f"[green]No problem found[/]{also}. A run on these data is safe."
    kinds = ", ".join(f"{number} {kind}" for kind, number in problems.most_common())
    return f"[red]{amount(problems.total(), 'problem')}[/] ({kinds}){also}. A run on these data is not safe."


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


def quarantine(splits: Sequence[Split], findings: Iterable[Finding]) -> list[str]:
    """Return the whole paths of the media that should be left out, sorted, for `exclude_list` of a datamodule."""
    bad = _quarantined(findings)
    return sorted({item.path for split in splits for item in split.items if (split.name, item.name) in bad})


def _quarantined(findings: Iterable[Finding]) -> set[tuple[str, str]]:
    return {(one.split, one.path) for one in findings if KINDS[one.kind].quarantine}


def write_cleaned(folder: Path, splits: Sequence[Split], findings: Sequence[Finding]) -> list[Path]:
    """Write the annotation file of each split, `<split>_clean.csv`, without what is in quarantine or labelled wrongly.

    Returns:
        The files, whose paths start where those of the split do.

    Raises:
        DataError: A split has several labels or parts of videos, which these files cannot say.
    """
    bad = _quarantined(findings) | {(one.split, one.path) for one in findings if one.kind == "bad-label"}
    written = []
    for split in splits:
        if any(len(item.labels) > 1 or item.part for item in split.items):
            raise DataError(f"{split.name}: several labels or parts of videos cannot be written as csv or json.")
        kept = {item.name: item for item in split.items if (split.name, item.name) not in bad}
        videos = [LabeledVideo(name, (item.labels or (-1,))[0], item.num_frames) for name, item in kept.items()]
        written.append(write_annotation(folder / f"{split.name.replace(' ', '_')}_clean.csv", videos))
    return written


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a mapping as json."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_list(path: Path, lines: Iterable[str]) -> None:
    """Write a line for each text."""
    with atomic_file(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", errors="surrogateescape")


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
