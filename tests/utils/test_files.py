import os
import signal
import subprocess
import sys

import pytest

from eztorch.utils.errors import DataError
from eztorch.utils.files import JsonLines, atomic_file, atomic_folder, read_json_lines


def names(folder):
    return sorted(os.listdir(folder))


def test_atomic_file__is_there_at_the_end_and_replaces_what_was(tmp_path):
    path = tmp_path / "new folder" / "clip é.mp4"
    for content in ("first", "second"):
        with atomic_file(path) as temporary:
            assert temporary.suffix == ".mp4"  # libraries choose the format by it
            assert temporary.name.startswith(".")
            assert not path.exists() or path.read_text() == "first"
            temporary.write_text(content)
        assert path.read_text() == content
    assert names(path.parent) == ["clip é.mp4"]


def test_atomic_file__leaves_nothing_when_the_block_raises(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("half") / 0
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_atomic_file__takes_the_longest_names(tmp_path):
    path = tmp_path / ("x" * 251 + ".mp4")
    with atomic_file(path) as temporary:
        temporary.write_text("")
    assert names(tmp_path) == [path.name]


def test_atomic_file__removes_what_a_killed_process_left(tmp_path):
    code = (
        "import os, signal, sys; from eztorch.utils.files import atomic_file\n"
        "with atomic_file(sys.argv[1]) as path:\n"
        "    path.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.txt")], timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert len(names(tmp_path)) == 1
    assert names(tmp_path) != ["a.txt"]
    with atomic_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
    assert names(tmp_path) == ["a.txt"]


def test_atomic_folder__replaces_the_whole_folder(tmp_path):
    path = tmp_path / "frames"
    for files in (("1.jpg", "2.jpg"), ("1.jpg",)):
        with atomic_folder(path) as temporary:
            for name in files:
                (temporary / name).write_text(name)
        assert names(path) == list(files)
    assert names(tmp_path) == ["frames"]


def test_atomic_folder__keeps_the_old_one_when_the_block_raises(tmp_path):
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "1.jpg").touch()
    with pytest.raises(FileNotFoundError), atomic_folder(tmp_path / "frames") as temporary:
        (temporary / "2.jpg").write_bytes((temporary / "missing").read_bytes())
    assert names(tmp_path / "frames") == ["1.jpg"]
    assert names(tmp_path) == ["frames"]


def test_json_lines__goes_on_behind_the_last_whole_line(tmp_path):
    path = tmp_path / "folder" / "done.jsonl"
    with JsonLines(path) as lines:
        lines.append({"path": "a é \udce9.mp4"})  # a name of a file that is no UTF-8
    with path.open("ab") as file:
        file.write(b'{"path": "b.m')  # a process was killed here
    assert read_json_lines(path) == [{"path": "a é \udce9.mp4"}]
    with JsonLines(path) as lines:
        lines.append({"path": "c.mp4"})
    assert [line["path"] for line in read_json_lines(path)] == ["a é \udce9.mp4", "c.mp4"]


def test_read_json_lines__names_the_line_that_is_none(tmp_path):
    path = tmp_path / "done.jsonl"
    assert read_json_lines(path) == []
    for content in ('{"a": 1}\n{"a": \n{"a": 2}\n', '{"a": 1}\n[2]\n'):
        path.write_text(content)
        with pytest.raises(DataError, match=r"done\.jsonl, line 2: not"):
            read_json_lines(path)
