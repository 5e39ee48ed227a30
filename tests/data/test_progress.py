import io

from rich.console import Console
from rich.progress import Progress

from eztorch.data import progress as module
from eztorch.data.progress import _Bar, _RateColumn, progress


def test_progress__writes_lines_where_there_is_no_terminal(capsys, monkeypatch):
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_LINES", 0)
    with progress("Probing", 3) as bar:
        bar.advance()
        bar.say("a [b].mp4: broken")
        bar.advance(2)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert lines[0].startswith("Probing: 1 of 3 files, ")
    assert lines[0].endswith(" left")
    assert lines[1] == "a [b].mp4: broken"
    assert lines[-1].startswith("Probing: 3 of 3 files, ")


def test_progress__says_little_about_little(capsys):
    with progress("Probing", 3) as bar:
        for _ in range(3):
            bar.advance()
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_progress__shows_rate_and_time_left_on_a_terminal():
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=100, highlight=False)
    with Progress(_RateColumn("files"), console=console) as rich:
        bar = _Bar(rich, rich.add_task("Probing", total=4))
        bar.advance(2)
        bar.say("a [b].mp4: broken")
    assert "a [b].mp4: broken" in output.getvalue()
    assert "files/s, 0.0 s left" in output.getvalue()
