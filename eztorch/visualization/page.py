"""Parts of a page: one HTML file that opens anywhere, without a network, by day and by night."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from eztorch.visualization.curves import Chart, draw_chart


def page(title: str, parts: Iterable[str]) -> str:
    """Return a whole page.

    Args:
        title: What stands above it, and in the window.
        parts: HTML, such as the other functions here return; empty ones are left out.

    >>> page("a & b", [tiles([("Loss", "0.5", "9 steps")])]).count("a &amp; b")
    2
    """
    body = "\n".join([f"<h1>{text(title)}</h1>", *filter(None, parts)])
    return _PAGE.format(title=text(title), style=_STYLE, body=body)


def text(value: Any) -> str:
    """Return a value as text that HTML does not read.

    >>> text("a < b")
    'a &lt; b'
    """
    return html.escape(str(value))


def section(title: str, content: str, *, is_open: bool = True) -> str:
    """Return a section that can be folded; nothing when it has no content.

    Args:
        title: Its title.
        content: HTML.
        is_open: Whether it is unfolded at first.
    """
    if not content:
        return ""
    return f"<details{' open' if is_open else ''}><summary>{text(title)}</summary>{content}</details>"


def tiles(facts: Iterable[tuple[str, str, str]]) -> str:
    """Return key results side by side, each a (name, value, note)."""
    cells = (
        f'<div class="tile"><div class="name">{text(name)}</div><div class="value">{text(value)}</div>'
        f'<div class="note">{text(note)}</div></div>'
        for name, value, note in facts
    )
    return f'<div class="tiles">{"".join(cells)}</div>'


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], *, short: int = 0) -> str:
    """Return a table; nothing when it has no rows.

    Args:
        header: Names of the columns; there is none where all are empty.
        rows: The cells; each is shown as its text.
        short: How many columns, from the left, have cells that stay on one line.
    """
    kinds = [' class="short"'] * short
    lines = [
        "".join(f"<td{kind}>{text(cell)}</td>" for cell, kind in zip_longest(row, kinds, fillvalue="")) for row in rows
    ]
    if not lines:
        return ""
    head = "".join(f"<th>{text(cell)}</th>" for cell in header) if any(header) else ""
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(f"<tr>{line}</tr>" for line in lines)}</table></div>'


def picture(alt: str, light: bytes, dark: bytes | None = None) -> str:
    """Return a picture that follows the page into the dark.

    Args:
        alt: What it shows, for those who do not see it.
        light: The PNG.
        dark: The PNG for a dark page; by default the same.
    """
    image = f'<img src="{_data_url(light)}" alt="{text(alt)}">'
    if dark is None:
        return image
    return f'<picture><source srcset="{_data_url(dark)}" media="(prefers-color-scheme: dark)">{image}</picture>'


def wide_picture(alt: str, light: bytes, dark: bytes | None = None) -> str:
    """Return a picture in its own line, to be scrolled where the page is narrower; see `picture`."""
    return f'<div class="wide">{picture(alt, light, dark)}</div>'


def charts(drawn: Iterable[Chart]) -> str:
    """Return charts side by side."""
    pictures = (picture(one.title, draw_chart(one), draw_chart(one, dark=True)) for one in drawn)
    return f'<div class="charts">{"".join(pictures)}</div>'


def flat_facts(facts: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested facts as (dotted key, value), empty ones left out.

    >>> flat_facts({"python": "3.11", "git": {"branch": "main", "changed_files": []}})
    [('python', '3.11'), ('git.branch', 'main')]
    """
    rows: list[tuple[str, str]] = []
    for key, value in facts.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            rows += flat_facts(value, f"{name}.")
        elif isinstance(value, list | tuple):
            rows += [(name, ", ".join(map(str, value)))] if value else []
        elif value not in (None, ""):
            rows.append((name, str(value)))
    return rows


def _data_url(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


_STYLE = """
:root { color-scheme: light dark; --ground: #fafafa; --card: #fff; --ink: #18181b; --soft: #71717a; --line: #e4e4e7;
  --accent: #2563eb; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #18181b; --card: #232327; --ink: #f4f4f5; --soft: #a1a1aa; --line: #3f3f46; --accent: #60a5fa; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.5rem 4rem; max-width: 76rem; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 1rem; }
.tiles { display: flex; flex-wrap: wrap; gap: 1rem; }
.tile { flex: 1 1 12rem; padding: .9rem 1.1rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 8px; }
.tile:first-child { border-color: var(--accent); }
.tile .name, .tile .note { color: var(--soft); font-size: .85rem; }
.tile .value { font-size: 1.5rem; font-weight: 650; white-space: nowrap; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(22rem, 1fr)); gap: 1rem; margin: 1rem 0; }
.charts picture { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .6rem; }
img { max-width: 100%; display: block; }
.charts img { width: 100%; }
details { margin-top: 1.5rem; }
summary { font-size: 1.1rem; font-weight: 650; cursor: pointer; margin-bottom: .5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; }
th, td { text-align: left; padding: .3rem 1.2rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td { font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
td.short { white-space: nowrap; }
th { color: var(--soft); font-weight: 500; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .8rem 1rem; margin: 1rem 0 0;
  white-space: pre-wrap; overflow-wrap: anywhere; font-size: .85rem; }
"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""
