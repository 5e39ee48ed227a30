from __future__ import annotations

import json
import os
from fractions import Fraction

import pytest

from eztorch.datasets.video_index import INDEX_NAME, VideoFacts, VideoIndex, stamp
from eztorch.utils.errors import DataError


@pytest.fixture
def folder(tmp_path):
    """A folder with one file and an index of it."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x y.mp4").write_bytes(b"12345")
    write(tmp_path, facts(tmp_path, "a/x y.mp4", fps=Fraction(30000, 1001), num_frames=250, duration=8.3))
    return tmp_path


def facts(folder, path, **known) -> VideoFacts:
    size, mtime_ns = stamp(folder / path)
    return VideoFacts(path, size, mtime_ns, **known)


def write(folder, *lines: VideoFacts) -> None:
    (folder / INDEX_NAME).write_text("".join(json.dumps(line.to_json()) + "\n" for line in lines))


@pytest.mark.parametrize(
    "known",
    [
        {},
        {"status": "the file is empty"},
        {"kind": "frames", "num_frames": 9, "missing": (3, 7)},
        {"fps": Fraction(25), "rotation": 270, "codec": "h264", "key_frame_distance": 12, "num_streams": 2},
    ],
)
def test_facts__survive_the_file(known):
    one = VideoFacts("a.mp4", 9, 1_700_000_000_123_456_789, **known)
    assert VideoFacts.from_json(json.loads(json.dumps(one.to_json()))) == one


def test_facts__ignore_keys_of_later_versions():
    assert VideoFacts.from_json({"path": "a", "size": 1, "mtime_ns": 2, "bit_rate": 9}) == VideoFacts("a", 1, 2)


def test_find__takes_the_nearest_folder_above(folder):
    for place in (folder, folder / "a", folder / "a" / "no_such"):
        assert VideoIndex.find(place).folder == folder
    (folder / "a" / INDEX_NAME).write_text("")
    assert VideoIndex.find(folder / "a").folder == folder / "a"


def test_find__gives_none_without_an_index(tmp_path):
    assert VideoIndex.find(tmp_path) is None


def test_index__knows_a_file_by_its_relative_and_its_absolute_path(folder, monkeypatch):
    index = VideoIndex.find(folder)
    assert index.facts("a/x y.mp4").num_frames == 250
    assert index.facts(folder / "a/../a/x y.mp4").fps == Fraction(30000, 1001)
    assert index.facts("a/other.mp4") is None
    assert index.facts(folder.parent / "a/x y.mp4") is None
    monkeypatch.chdir(folder / "a")
    assert VideoIndex.find(".").facts(os.path.abspath("x y.mp4")).num_frames == 250


@pytest.mark.parametrize("change", ["size", "mtime", "gone"])
def test_index__does_not_know_a_file_that_has_changed(folder, change):
    path = folder / "a/x y.mp4"
    if change == "size":
        before = path.stat().st_mtime_ns
        path.write_bytes(b"123456")
        os.utime(path, ns=(before, before))
    elif change == "mtime":
        os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))
    else:
        path.unlink()
    index = VideoIndex.find(folder)
    assert index.facts("a/x y.mp4") is None
    assert index.facts("a/x y.mp4", verify=False).num_frames == 250


def test_index__takes_the_last_line_of_a_path(folder):
    write(folder, VideoFacts("b", 1, 1), VideoFacts("a", 1, 1, num_frames=3), VideoFacts("a", 1, 1, num_frames=4))
    index = VideoIndex.read(folder)
    assert [(one.path, one.num_frames) for one in index] == [("a", 4), ("b", None)]
    assert len(index) == 2


def test_index__that_was_cut_off_while_it_was_written_is_read_up_to_there(folder):
    path = folder / INDEX_NAME
    path.write_text(path.read_text() + '{"path": "b.mp4", "si')
    assert [one.path for one in VideoIndex.read(folder)] == ["a/x y.mp4"]


@pytest.mark.parametrize("line", ["{}", "[]", "no json", '{"path": "a"}', '{"path": 1, "size": 1, "mtime_ns": 1}'])
def test_index__names_the_line_that_is_none(folder, line):
    path = folder / INDEX_NAME
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(DataError, match=r"eztorch_index\.jsonl, line 2: not a line of an index .* eztorch data index"):
        VideoIndex.read(folder)


def test_index__of_a_folder_of_frames_changes_with_its_files(tmp_path):
    frames = tmp_path / "v"
    frames.mkdir()
    write(tmp_path, facts(tmp_path, "v", kind="frames", num_frames=0))
    assert VideoIndex.read(tmp_path).facts("v").num_frames == 0
    os.utime(frames, ns=(1, 1))
    assert VideoIndex.read(tmp_path).facts("v") is None
