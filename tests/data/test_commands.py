"""The command line of `eztorch data`: help, mistakes, exit status."""

import json
import os
import shlex
import shutil
import subprocess
import sys

import pytest

from eztorch.cli import main
from eztorch.data.commands import COMMANDS, DATA

PROBE = """\
import sys

from eztorch.cli import main

status = main(sys.argv[1:])
print("imported:", *sorted({"torch", "lightning", "numpy", "av", "hydra"} & set(sys.modules)), file=sys.stderr)
sys.exit(status)
"""


def test_commands__are_all_there():
    assert sorted(COMMANDS) == ["bench", "check", "index", "prepare", "show", "split"]


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_data__lists_the_commands(capsys, words):
    assert main(["data", *words]) == 0
    out = capsys.readouterr().out
    assert out == DATA.overview() + "\n"
    for command in COMMANDS.values():
        assert command.summary in out
        assert command.examples[0] in out


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help__of_a_command_has_its_arguments_and_examples_and_does_not_load_torch(name):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROBE, "data", name, "--help"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "imported:\n")
    assert done.stdout.startswith(f"Usage: eztorch data {name} ")
    assert COMMANDS[name].summary in done.stdout
    for example in COMMANDS[name].examples:
        assert f"\n  {example}\n" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 130


@pytest.mark.parametrize("example", [example for command in COMMANDS.values() for example in command.examples])
def test_examples__are_command_lines_that_the_parser_takes(example):
    words = shlex.split(example)
    program, group, name, *arguments = words[words.index("eztorch") :]
    assert (program, group) == ("eztorch", "data")
    assert COMMANDS[name].parser().parse_words(arguments) is not None


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["prepar"], "there is no command 'prepar'. Did you mean 'prepare'? Commands: "),
        (["xyz"], "there is no command 'xyz'. Commands: "),
        (["--workers", "3"], "the command comes first"),
        (["show", "--sample", "3"], "unknown flag '--sample'. Did you mean '--samples'?"),
        (["bench"], "what is to be read?"),
        (["show"], "what is to be shown?"),
    ],
)
def test_data__mistakes_are_answered_in_a_line(capsys, words, reason):
    assert main(["data", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("eztorch data")
    assert reason in err
    assert len(err.splitlines()) == 1


def test_eztorch__suggests_data_for_what_looks_like_it(capsys):
    assert main(["dta"]) == 2
    assert "Did you mean 'data'?" in capsys.readouterr().err


def test_commands__print_and_write_names_in_any_encoding(tmp_path, draw, encode):
    path = os.path.join(os.fsencode(tmp_path), b"in", b"n\xe9", b"\xe9.mp4")
    os.makedirs(os.path.dirname(path))
    shutil.copy(encode(tmp_path / "a.mp4", draw(0, 6)), path)
    shutil.copy(path, path.replace(b"\xe9.mp4", b"b.mp4"))
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}

    def run(*words):
        command = [sys.executable, "-m", "eztorch", "data", *words]
        done = subprocess.run(command, capture_output=True, env=environment, timeout=120)
        assert b"Traceback" not in done.stderr
        return done.stdout

    assert b"n\xe9/\xe9.mp4: same content as n\xe9/b.mp4" in run(
        "check", tmp_path / "in", "-o", tmp_path / "out", "--workers", "0"
    )
    run("split", tmp_path / "in", "-o", tmp_path / "lists", "--all", "train")
    assert (tmp_path / "lists/classes.txt").read_bytes() == b"n\xe9\n"
    run("bench", tmp_path / "in", "--seconds", "0.1", "--no-prepare", "--json", tmp_path / "bench.json")
    assert json.loads((tmp_path / "bench.json").read_text())["files"] == 2
