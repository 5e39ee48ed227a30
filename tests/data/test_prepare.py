"""`eztorch data prepare` over trees of real files: what is made, what is left for a second run, what it says."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from eztorch.cli import main
from eztorch.datasets.video_index import VideoIndex

TREE = ("class é/clip one.mp4", "class é/sub dir/two.avi", "b/three.mkv")


@pytest.fixture
def tree(tmp_path, draw, encode):
    """Three videos in folders with spaces and letters of other languages."""
    for number, name in enumerate(TREE):
        encode(tmp_path / "in" / name, draw(number, 12), **({"codec": "mpeg4"} if name.endswith("avi") else {}))
    return tmp_path / "in"


def prepare(*words, workers=0):
    return main(["data", "prepare", *map(str, words), "--workers", str(workers)])


def made(folder):
    """Files that there are, without the ledger."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {
        "eztorch_prepared.jsonl"
    }


def stamps(folder):
    return {name: (folder / name).stat().st_mtime_ns for name in made(folder)}


def count_frames(path):
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


OUTPUTS = {"class é/clip one.mp4", "class é/sub dir/two.mp4", "b/three.mp4"}


@pytest.mark.parametrize("workers", [0, 2])
def test_prepare__keeps_the_tree_and_goes_on_behind_broken_files(tree, tmp_path, capsys, workers):
    (tree / "b" / "text.mp4").write_text("hello")
    (tree / "empty.mp4").touch()
    whole = (tree / "b" / "three.mkv").read_bytes()
    (tree / "b" / "cut.mkv").write_bytes(whole[: 2 * len(whole) // 3])
    (tree / "list.csv").write_text("no video\n")
    before = stamps(tree)
    assert prepare(tree, tmp_path / "out", workers=workers) == 1
    assert made(tmp_path / "out") == OUTPUTS
    assert [count_frames(tmp_path / "out" / name) for name in OUTPUTS] == [12, 12, 12]
    assert stamps(tree) == before
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{tree}: 6 videos"
    assert lines[2].startswith("Made 3 in ")
    assert lines[3] == "3 could not be made:"
    assert [line.split(": ")[0] for line in lines[4:]] == ["  b/cut.mkv", "  b/text.mp4", "  empty.mp4"]


def test_prepare__a_second_run_does_what_is_missing_or_has_changed(tree, tmp_path, capsys, draw, encode):
    output = tmp_path / "out"
    assert prepare(tree, output) == 0
    first = stamps(output)
    capsys.readouterr()

    assert prepare(tree, output) == 0
    assert "3 done before, 0 to do." in capsys.readouterr().out
    assert stamps(output) == first

    encode(tree / "b" / "three.mkv", draw(9, 20))
    (output / "class é" / "clip one.mp4").unlink()
    assert prepare(tree, output) == 0
    assert "1 done before, 2 to do." in capsys.readouterr().out
    assert count_frames(output / "b" / "three.mp4") == 20
    assert {name for name, stamp in stamps(output).items() if stamp == first[name]} == {"class é/sub dir/two.mp4"}

    assert prepare(tree, output, "--to", "intra") == 0  # another form: everything anew
    assert "done before" not in capsys.readouterr().out
    assert prepare(tree, output, "--to", "intra", "--quality", "50") == 0  # which is not about videos
    assert "3 done before" in capsys.readouterr().out


def test_prepare__goes_on_after_it_was_killed(tmp_path, draw, encode):
    source, output = tmp_path / "in", tmp_path / "out"
    frames = draw(0, 60, 96, 128)
    first = encode(source / "0.mp4", frames)
    for number in range(1, 12):
        shutil.copyfile(first, source / f"{number}.mp4")
    command = [sys.executable, "-m", "eztorch", "data", "prepare", str(source), str(output), "--workers", "2"]
    process = subprocess.Popen([*command, "--speed", "veryslow"], start_new_session=True, stderr=subprocess.DEVNULL)
    ledger = output / "eztorch_prepared.jsonl"
    try:
        for _ in range(1200):
            if ledger.exists() and ledger.read_bytes().count(b"\n") >= 2:
                break
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    whole = [path for path in output.glob("*.mp4") if not path.name.startswith(".")]
    assert 2 <= len(whole) < 12
    assert [count_frames(path) for path in whole] == [60] * len(whole)
    kept = {json.loads(line)["output"]: line for line in ledger.read_text().splitlines()[:2]}
    before = {name: (output / name).stat().st_mtime_ns for name in kept}

    assert prepare(source, output, "--speed", "veryslow", workers=2) == 0
    assert {name: (output / name).stat().st_mtime_ns for name in kept} == before
    assert sorted(os.listdir(output)) == sorted(["eztorch_prepared.jsonl", *(f"{n}.mp4" for n in range(12))])
    assert [count_frames(output / f"{number}.mp4") for number in range(12)] == [60] * 12


def test_prepare__keeps_what_is_done_when_it_is_interrupted(tmp_path, draw, encode):
    first = encode(tmp_path / "in" / "0.mp4", draw(0, 60, 96, 128))
    for number in range(1, 12):
        shutil.copyfile(first, tmp_path / "in" / f"{number}.mp4")
    command = [sys.executable, "-m", "eztorch", "data", "prepare", tmp_path / "in", tmp_path / "out", "--workers", "2"]
    process = subprocess.Popen([*command, "--speed", "veryslow"], start_new_session=True, stderr=subprocess.PIPE)
    ledger = tmp_path / "out" / "eztorch_prepared.jsonl"
    for _ in range(1200):
        if ledger.exists() and ledger.read_bytes().count(b"\n") >= 1:
            break
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to all processes of the command
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.decode().splitlines()[-1] == "eztorch data prepare: interrupted; what is done is kept."
    assert not list((tmp_path / "out").glob(".*"))
    assert 1 <= len(list((tmp_path / "out").glob("*.mp4"))) < 12


def test_prepare__shares_make_everything_together(tree, tmp_path):
    output = tmp_path / "out"
    assert prepare(tree, output, "--shard", "2/2") == 0
    assert len(made(output) - {"eztorch_prepared.2-of-2.jsonl"}) == 1
    assert prepare(tree, output, "--shard", "1/2") == 0
    first = stamps(output)
    assert made(output) == OUTPUTS | {f"eztorch_prepared.{share}-of-2.jsonl" for share in (1, 2)}
    assert prepare(tree, output) == 0  # the ledgers of the shares count
    assert stamps(output) == first


def test_prepare__videos_that_would_share_a_name_keep_their_suffixes(tmp_path, draw, encode):
    for number, name in enumerate(("a.mp4", "a.MKV", "b.mp4")):
        encode(tmp_path / "in" / name, draw(number, 6), container="matroska" if "MKV" in name else "mp4")
    assert prepare(tmp_path / "in", tmp_path / "out") == 0
    assert made(tmp_path / "out") == {"a.mp4.mp4", "a.MKV.mp4", "b.mp4"}
    assert prepare(tmp_path / "in", tmp_path / "frames", "--to", "frames") == 0
    folders = {path.name: len(list(path.iterdir())) for path in (tmp_path / "frames").iterdir() if path.is_dir()}
    assert folders == {"a.mp4.frames": 6, "a.MKV.frames": 6, "b": 6}


def test_prepare__pictures_become_small_and_keep_format_and_tags(tmp_path):
    source, output = tmp_path / "in" / "class", tmp_path / "out" / "class"
    source.mkdir(parents=True)
    rng = np.random.default_rng(0)
    large = Image.fromarray(rng.integers(0, 255, (600, 800, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    large.save(source / "a.JPEG", exif=exif)
    large.convert("L").save(source / "grey.png")
    large.convert("P").save(source / "palette.png")
    large.crop((0, 0, 100, 300)).save(source / "small.jpg")
    (source / "broken.jpg").write_bytes((source / "a.JPEG").read_bytes()[:2000])
    assert prepare(tmp_path / "in", tmp_path / "out") == 1
    sizes = {}
    for path in output.iterdir():
        with Image.open(path) as image:
            sizes[path.name] = (image.format, image.mode, image.size)
    assert sizes == {
        "a.JPEG": ("JPEG", "RGB", (341, 256)),
        "grey.png": ("PNG", "L", (341, 256)),
        "palette.png": ("PNG", "RGB", (341, 256)),
        "small.jpg": ("JPEG", "RGB", (100, 300)),
    }
    with Image.open(output / "a.JPEG") as image:
        assert image.getexif()[0x0112] == 6
    assert (output / "small.jpg").read_bytes() == (source / "small.jpg").read_bytes()


@pytest.mark.parametrize(
    ("name", "picture"),
    [
        ("depth.png", np.arange(64 * 96, dtype=np.uint16).reshape(64, 96) * 10),
        ("height.tif", np.linspace(-1, 1, 64 * 96, dtype=np.float32).reshape(64, 96)),
    ],
)
def test_prepare__pictures_of_more_than_8_bits_keep_their_values(tmp_path, name, picture):
    (tmp_path / "in").mkdir()
    Image.fromarray(picture).save(tmp_path / "in" / name)
    assert prepare(tmp_path / "in", tmp_path / "out", "--short-side", "32") == 0
    with Image.open(tmp_path / "out" / name) as image:
        small = np.asarray(image).astype(float)
    means = picture.astype(float).reshape(32, 2, 48, 2).mean((1, 3))
    assert np.abs(small - means).max() < 0.01 * np.ptp(picture)


def test_prepare__folders_of_frames_stay_folders_of_frames(tmp_path, draw, save_pictures):
    save_pictures(tmp_path / "in" / "class" / "video", draw(0, 7, 96, 128))
    assert prepare(tmp_path / "in", tmp_path / "out", "--short-side", "48") == 0
    folder = tmp_path / "out" / "class" / "video"
    assert sorted(os.listdir(folder)) == [f"{number:08d}.jpg" for number in range(1, 8)]
    with Image.open(folder / "00000007.jpg") as image:
        assert image.size == (64, 48)
    before = folder.stat().st_mtime_ns
    assert prepare(tmp_path / "in", tmp_path / "out", "--short-side", "48") == 0
    assert folder.stat().st_mtime_ns == before
    (folder / "00000003.jpg").unlink()
    assert prepare(tmp_path / "in", tmp_path / "out", "--short-side", "48") == 0
    assert len(os.listdir(folder)) == 7


def test_prepare__extracted_frames_are_what_index_and_decoder_read(tree, tmp_path, capsys):
    assert prepare(tree, tmp_path / "out", "--to", "frames", "--fps", "12") == 0
    assert f"eztorch data index {tmp_path / 'out'}" in capsys.readouterr().out
    assert main(["data", "index", str(tmp_path / "out"), "--workers", "0"]) == 0
    index = VideoIndex.read(tmp_path / "out")
    assert {facts.path: (facts.kind, facts.num_frames) for facts in index if facts.kind == "frames"} == {
        name.removesuffix(".mp4"): ("frames", 6) for name in OUTPUTS
    }
    assert prepare(tree, tmp_path / "out", "--to", "frames", "--fps", "12") == 0
    assert "3 done before, 0 to do." in capsys.readouterr().out


def test_prepare__of_one_file(tree, tmp_path):
    assert prepare(tree / TREE[0], tmp_path / "out") == 0
    assert made(tmp_path / "out") == {"clip one.mp4"}


def test_prepare__a_dry_run_writes_nothing_and_foretells_size_and_time(tree, tmp_path, capsys):
    assert prepare(tree, tmp_path / "out", "--dry-run") == 0
    assert not (tmp_path / "out").exists()
    out = capsys.readouterr().out
    assert "would become about" in out
    assert "It would take about" in out
    assert prepare(tree, tmp_path / "out") == 0
    written = sum((tmp_path / "out" / name).stat().st_size for name in OUTPUTS)
    assert f"became {written / 1000:.3g} kB" in capsys.readouterr().out


@pytest.mark.parametrize("to", ["intra", "frames"])
def test_prepare__measures_the_gain(tree, tmp_path, capsys, to):
    assert prepare(tree, tmp_path / "out", "--to", to, "--measure", "2") == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("Reading a clip of 8 frames from 2.56 s, 2 videos, one core: ")
    assert line.endswith(" times as many.")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["{in}", "{in}/out"], "must not be in the folder of the sources"),
        (["{in}", "{in}"], "must not be in the folder of the sources"),
        (["{in}/nothing", "{out}"], "there is no such folder"),
        (["{in}", "{in}/b/three.mkv"], "must not be in"),
        (["{in}", "{out}", "--kind", "image"], "there is no image in this folder"),
        (["{in}", "{out}", "--crf", "52"], "--crf: '52' is not a whole number from 0 to 51"),
        (["{in}", "{out}", "--fps", "0"], "--fps: '0' is not a number above 0"),
        (["{in}", "{out}", "--short-side", "7"], "--short-side: '7' is not a number of pixels from 16"),
        (["{in}", "{out}", "--workers", "-1"], "--workers"),
        (["{in}", "{out}", "--to", "short-gap"], "short-gop"),
        (["{in}", "{out}", "--shord-side", "7"], "unknown flag '--shord-side'. Did you mean '--short-side'?"),
        (["{in}", "{out}", "more"], "'more' is one argument too many"),
        (["{in}"], "output"),
    ],
)
def test_prepare__refuses_what_cannot_be_before_it_begins(tree, tmp_path, capsys, words, reason):
    words = [word.format(**{"in": tree, "out": tmp_path / "out"}) for word in words]
    assert main(["data", "prepare", *words]) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert made(tree) == set(TREE)


def test_prepare__does_not_write_over_a_file(tree, tmp_path, capsys):
    Path(tmp_path / "out").write_text("something")
    assert prepare(tree, tmp_path / "out") == 2
    assert "this is a file" in capsys.readouterr().err


def test_prepare__says_of_a_link_that_leads_nowhere_that_it_could_not_be_made(tree, tmp_path, capsys):
    (tree / "b/moved.mp4").symlink_to(tmp_path / "gone.mp4")
    assert prepare(tree, tmp_path / "out") == 1
    assert "  b/moved.mp4: No such file or directory\n" in capsys.readouterr().out
    assert made(tmp_path / "out") == OUTPUTS
