from __future__ import annotations

import json
import shutil

import av
import numpy as np
import pytest
from PIL import Image

from eztorch.cli import main
from eztorch.data.check.duplicates import alike, same_look
from eztorch.data.check.findings import KINDS
from eztorch.data.check.look import look
from eztorch.data.index.probe import probe
from eztorch.data.listing import Medium
from eztorch.datamodules import VideoDataModule
from eztorch.datasets import LabeledVideoPaths
from eztorch.datasets.clip_samplers import RandomClipSampler

CLASSES = ("Archery", "Golf")
PER_CLASS = {"train": 6, "val": 3}


@pytest.fixture(scope="module")
def clean(tmp_path_factory, draw, encode):
    """A sound data set: two classes in train and val, every clip another; annotations beside the folders."""
    root = tmp_path_factory.mktemp("clean")
    seed = 0
    for split, number in PER_CLASS.items():
        lines = []
        for label, name in enumerate(CLASSES):
            for clip in range(number):
                seed += 1
                encode(root / split / name / f"{split}_{clip}.mp4", draw(seed, 30))
                lines.append(f"{split}/{name}/{split}_{clip}.mp4 {label}\n")
        (root / f"{split}.csv").write_text("".join(lines))
    return root


@pytest.fixture
def tree(clean, tmp_path):
    """A copy of it that may be spoiled."""
    return shutil.copytree(clean, tmp_path / "data")


@pytest.fixture
def check(tmp_path, capsys):
    """Run the command; give its exit status and its report, findings by kind as (split, path, reason)."""

    def run(*words):
        status = main(["data", "check", *map(str, words), "-o", str(tmp_path / "out"), "--workers", "0"])
        report = json.loads((tmp_path / "out/report.json").read_text())
        found: dict = {}
        for one in report["findings"]:
            found.setdefault(one["kind"], []).append((one["split"], one["path"], one["reason"]))
        return status, found, capsys.readouterr().out

    return run


def lists(root) -> list[str]:
    return [f"train={root / 'train.csv'}", f"val={root / 'val.csv'}", "--prefix", str(root), "--num-classes", "2"]


@pytest.mark.parametrize("level", [[], ["--quick"], ["--decode"]])
@pytest.mark.parametrize("form", ["folders", "lists"])
def test_check__finds_nothing_in_a_sound_data_set(clean, check, level, form):
    words = [clean] if form == "folders" else lists(clean)
    status, found, shown = check(*words, *level)
    assert (status, found) == (0, {})
    assert "No problem found. A run on these data is safe." in shown


def spoil_middle(path) -> None:
    """Overwrite coded pictures; header and the first frames stay."""
    data = bytearray(path.read_bytes())
    start, end = int(len(data) * 0.45), int(len(data) * 0.6)
    data[start:end] = bytes(end - start)
    path.write_bytes(data)


def test_check__reports_each_planted_fault_and_nothing_else(tree, check, draw, encode, tmp_path):
    train, val = tree / "train", tree / "val"

    def plant(name, frames, **options):
        return encode(train / "Golf" / name, frames, **options)

    (train / "Golf/empty.mp4").touch()
    (train / "Golf/page.mp4").write_text("<html>404 Not Found</html>")
    cut = plant("cut.mp4", draw(50, 60))
    cut.write_bytes(cut.read_bytes()[:2000])
    spoil_middle(plant("damaged.mp4", draw(51, 60), crf="1"))
    plant("black.mp4", np.zeros((30, 48, 64, 3), np.uint8))
    plant("blank.mp4", np.full((30, 48, 64, 3), 130, np.uint8))
    plant("frozen.mp4", np.repeat(draw(52, 1), 30, axis=0))
    plant("matroska.mp4", draw(53, 30), container="matroska")
    shutil.copy(train / "Golf/train_0.mp4", train / "Golf/train_0_again.mp4")
    shutil.copy(train / "Golf/train_1.mp4", train / "Archery/mislabelled.mp4")
    shutil.copy(val / "Golf/val_0.mp4", train / "Golf/leaked.mp4")
    encode(train / "Golf/reencoded.mp4", np.kron(draw(13 + 4, 30), np.ones((1, 2, 2, 1), np.uint8)), crf="30")
    (train / "stray.mp4").write_bytes((train / "Golf/train_2.mp4").read_bytes())
    encode(train / "Golf/clip.mpg", draw(54, 30), codec="mpeg1video", rate=25)

    status, found, shown = check(tree)
    assert status == 1
    where = {kind: [(split, path) for split, path, _ in rows] for kind, rows in found.items()}
    assert where == {
        "empty": [("train", "Golf/empty.mp4")],
        "not-media": [("train", "Golf/page.mp4")],
        "cut-off": [("train", "Golf/cut.mp4")],
        "undecodable": [("train", "Golf/damaged.mp4")],
        "black": [("train", "Golf/black.mp4")],
        "blank": [("train", "Golf/blank.mp4")],
        "frozen": [("train", "Golf/frozen.mp4")],
        "duplicate": [("train", "Golf/train_0_again.mp4")],
        "leak": [("train", "Golf/leaked.mp4")],
        "near-leak": [("train", "Golf/reencoded.mp4")],
        "label-conflict": [("train", "Golf/train_1.mp4")],
        "wrong-extension": [("train", "Golf/matroska.mp4")],
        "unlisted": [("train", "Golf/clip.mpg"), ("train", "stray.mp4")],
    }
    reason = {kind: rows[0][2] for kind, rows in found.items()}
    assert reason["empty"] == "the file is empty"
    assert reason["duplicate"] == "same content as Golf/train_0.mp4"
    assert reason["leak"] == "same content as Golf/val_0.mp4 of val"
    assert reason["near-leak"] == "looks like Golf/val_1.mp4 of val"
    assert reason["label-conflict"] == "class Golf, but Archery/mislabelled.mp4 of train has Archery"
    assert reason["wrong-extension"] == "its content is matroska,webm"
    for kind, rows in found.items():
        assert f"{kind} ({len(rows)}): {KINDS[kind].meaning}" in shown
    assert "A run on these data is not safe." in shown
    quarantined = (tmp_path / "out/quarantine.txt").read_text().splitlines()
    assert [path.removeprefix(f"{tree}/") for path in quarantined] == sorted(
        f"train/{path}" for kind, rows in where.items() for _, path in rows if KINDS[kind].quarantine
    )


def test_check__of_lists_reports_each_planted_fault_and_nothing_else(tree, check, tmp_path):
    (tree / "train/Golf/train_5.mp4").rename(tree / "train/Golf/unlisted.mp4")
    with (tree / "train.csv").open("a") as file:
        file.write("train/Golf/train_0.mp4 1\n")
        file.write("train/Golf/train_1.mp4,1\n")
        file.write("train/Golf/train 2.mp4 1\n")
        file.write("val/Golf/val_2.mp4 1\n")
        file.write("train/Archery/train_9.mp4 5\n")
    shutil.copy(tree / "train/Archery/train_0.mp4", tree / "train/Archery/train_9.mp4")
    (tree / "train/Archery/train_0.mp4").write_bytes((tree / "train/Archery/train_0.mp4").read_bytes() + b"\0")
    status, found, _ = check(*lists(tree))
    assert status == 1
    lines = [reason.partition(":")[0] for _, _, reason in found.pop("bad-line")]
    assert lines == ["line 14 ('train/Golf/train_1.mp4,1')", "line 15 ('train/Golf/train 2.mp4 1')"]
    # The longer copy of train_0 differs in its bytes, not to the eye.
    assert found.pop("near-duplicate")[0][:2] == ("train", "train/Archery/train_9.mp4")
    assert found == {
        "missing": [("train", "train/Golf/train_5.mp4", "there is no such file or folder")],
        "bad-label": [("train", "train/Archery/train_9.mp4", "label 5, expected 0 to 1")],
        "listed-twice": [("train", "train/Golf/train_0.mp4", "listed 2 times")],
        "leak": [("train", "val/Golf/val_2.mp4", "also listed by val")],
        "unlisted": [("", "train/Golf/unlisted.mp4", "no split lists it")],
    }


def test_check__of_lists_writes_lists_without_what_is_bad(tree, check, tmp_path):
    (tree / "train/Golf/train_3.mp4").write_bytes(b"")
    with (tree / "train.csv").open("a") as file:
        file.write("train/Golf/train_0.mp4 1\nno_such.mp4 0\ntrain/Golf/x.mp4,1\n")
    status, _, _ = check(*lists(tree), "--write-annotation")
    assert status == 1
    cleaned = list(LabeledVideoPaths.from_path(tmp_path / "out/train_clean.csv"))
    listed = [f"train/{name}/train_{clip}.mp4" for name in CLASSES for clip in range(6)]
    assert [video.path for video in cleaned] == [path for path in listed if path != "train/Golf/train_3.mp4"]
    clean = [f"train={tmp_path / 'out/train_clean.csv'}", f"val={tmp_path / 'out/val_clean.csv'}", "--prefix", tree]
    assert check(*clean, "--ignore", "unlisted")[:2] == (0, {})


def test_check__lists_what_a_datamodule_leaves_out_of_training(tree, check, tmp_path):
    for bad in ("train/Golf/train_3.mp4", "val/Golf/val_1.mp4"):
        (tree / bad).write_bytes(b"")
    _, _, shown = check(tree)
    quarantine = tmp_path / "out/quarantine.txt"
    assert f"To leave it out of training: ++datamodule.train.dataset.exclude_list={quarantine}" in shown
    spec = {
        "dataset": {"exclude_list": str(quarantine)},
        "clip_sampler": RandomClipSampler(clip_duration=0.5),
        "global_batch_size": 11,
    }
    data = VideoDataModule(num_classes=2, datadir=tree, train=spec)
    (batch,) = data.train_dataloader()
    expected = {f"{name}/train_{clip}.mp4" for name in CLASSES for clip in range(6)} - {"Golf/train_3.mp4"}
    assert set(batch["video_name"]) == expected
    assert "failures" not in batch


def test_check__leaves_nothing_out_of_evaluation_behind_a_users_back(tree, check, tmp_path):
    (tree / "val/Golf/val_1.mp4").write_bytes(b"")
    _, _, shown = check(tree)
    assert (tmp_path / "out/quarantine.txt").read_text() == f"{tree}/val/Golf/val_1.mp4\n"
    assert "exclude_list" not in shown


def test_check__finds_a_leak_of_sources(tree, check):
    for split, group in (("train", 8), ("val", 8)):
        for name in CLASSES:
            for clip, path in enumerate(sorted((tree / split / name).iterdir())):
                clip_group = group if clip == 0 else 10 + clip + 20 * (split == "val")
                path.rename(path.with_name(f"v_{name}_g{clip_group:02d}_c{1 + clip + 5 * (split == 'val'):02d}.mp4"))
    status, found, _ = check(tree, "--quick")
    assert status == 1
    assert list(found) == ["group-leak"]
    assert found["group-leak"][0] == (
        "train and val",
        "v_Archery_g08",
        "Archery/v_Archery_g08_c01.mp4 in train; Archery/v_Archery_g08_c06.mp4 in val",
    )
    assert len(found["group-leak"]) == 2
    assert check(tree, "--quick", "--group", "none")[:2] == (0, {})
    assert check(tree, "--quick", "--ignore", "group-leak")[:2] == (0, {})


def test_check__finds_the_classes_below_a_folder_of_downloads(clean, tree, check, tmp_path):
    root = tmp_path / "ucf101"
    shutil.copytree(clean / "train", root / "UCF-101")
    (root / "lists").mkdir()
    (root / "lists/trainlist01.txt").touch()
    status, found, shown = check(root, "--quick")
    assert (status, found) == (0, {})
    assert "UCF-101  12     12 video  2        6 to 6" in shown
    shutil.copytree(clean / "train/Golf", tree / "extra")
    assert [row[1] for row in check(tree, "--quick", "--ignore", "duplicate")[1]["unlisted"]] == [
        f"extra/train_{clip}.mp4" for clip in range(6)
    ]


def test_check__counts_classes(tree, check):
    shutil.rmtree(tree / "val/Golf")
    status, found, shown = check(tree, "--quick")
    assert status == 0
    assert found == {"no-samples": [("val", str(tree / "val"), "1 of 2 classes: Golf")]}
    assert "1 note. A run on these data is safe." in shown
    assert check(tree, "--quick", "--strict")[0] == 1
    (tree / "train.csv").write_text("a.mp4 0\n" * 1 + "".join(f"b{n}.mp4 1\n" for n in range(10)))
    found = check(f"train={tree / 'train.csv'}", "--quick")[1]
    assert found["unbalanced"] == [("train", str(tree / "train.csv"), "class 1 has 10, 0 1")]


def test_check__names_class_folders_that_training_does_not_have(tree, check):
    (tree / "val/Golf").rename(tree / "val/Tennis")
    status, found, _ = check(tree, "--quick")
    assert status == 1
    assert found["bad-label"] == [("val", str(tree / "val"), "class folders that train does not have: Tennis")]


def test_check__of_folders_of_frames(tmp_path, check, draw, save_pictures):
    root = tmp_path / "frames"
    for number in range(4):
        save_pictures(root / f"a/v{number}", draw(number, 12))
    (tmp_path / "train.csv").write_text("".join(f"a/v{number} 0 {12 + number // 3}\n" for number in range(4)))
    words = [f"train={tmp_path / 'train.csv'}", "--prefix", root]
    why = "the annotation says 13 frames, there are 12"
    assert check(*words)[1] == {"too-few-frames": [("train", "a/v3", why)]}
    (root / "a/v0/00000004.jpg").unlink()
    picture = root / "a/v1/00000007.jpg"
    picture.write_bytes(picture.read_bytes()[:-300])
    (root / "a/v2/00000012.jpg").write_bytes(b"")
    shutil.copytree(root / "a/v3", root / "a/v4")
    status, found, _ = check(root, "--decode")
    assert status == 1
    assert found == {
        "empty": [("frames", "a/v2", "the file 00000012.jpg is empty")],
        "cut-off": [("frames", "a/v1", found["cut-off"][0][2])],
        "missing-frames": [("frames", "a/v0", "1 of 12 frames are not there: number 4")],
        "duplicate": [("frames", "a/v4", "same content as a/v3")],
    }
    assert "the picture 00000007.jpg is damaged" in found["cut-off"][0][2]


def test_check__of_images(tmp_path, check, draw):
    root = tmp_path / "images"
    for split in ("train", "val"):
        for label, name in enumerate(("cat", "dog")):
            (root / split / name).mkdir(parents=True)
            for number in range(3):
                picture = Image.fromarray(draw(10 * label + number + 100 * (split == "val"), 1, 64, 64)[0])
                picture.save(root / split / name / f"{number}.png")
    bright = np.random.default_rng(0).integers(300, 65536, (64, 64)).astype(np.uint16)
    Image.fromarray(bright).save(root / "train/dog/depth.png")
    assert check(root)[:2] == (0, {})
    Image.fromarray(draw(77, 1, 64, 64)[0]).save(root / "train/cat/really.png", "JPEG")
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(root / "train/cat/black.png")
    (root / "train/cat/text.png").write_text("no picture")
    whole = (root / "train/cat/0.png").read_bytes()
    (root / "train/cat/cut.png").write_bytes(whole[: len(whole) // 2])
    shutil.copy(root / "val/dog/1.png", root / "train/dog/leak.png")
    status, found, _ = check(root)
    assert status == 1
    assert {kind: [path for _, path, _ in rows] for kind, rows in found.items()} == {
        "not-media": ["cat/text.png"],
        "cut-off": ["cat/cut.png"],
        "black": ["cat/black.png"],
        "leak": ["dog/leak.png"],
        "wrong-extension": ["cat/really.png"],
    }


def test_check__of_an_experiment_reads_its_splits(tree, tmp_path, check):
    (tmp_path / "mine.yaml").write_text(
        f"""
dir: {{data: null, root: {tmp_path}, exp: x}}
datamodule:
  _target_: eztorch.datamodules.VideoDataModule
  num_classes: 2
  datadir: ${{dir.data}}
  train: &split
    global_batch_size: 2
    clip_sampler: {{_target_: eztorch.datasets.clip_samplers.RandomClipSampler, clip_duration: 0.5}}
  val: *split
  test: *split
"""
    )
    words = ["-cp", tmp_path, "-cn", "mine", f"dir.data={tree}"]
    status, found, shown = check(*words, "--quick")
    assert (status, found) == (0, {})
    assert "val and test" in shown
    (tree / "train/Golf/train_0.mp4").write_bytes(b"")
    status, found, _ = check(*words)
    assert (status, found) == (1, {"empty": [("train", "Golf/train_0.mp4", "the file is empty")]})


def test_check__of_an_experiment_says_what_is_missing_and_examines_the_rest(tree, tmp_path, check):
    (tmp_path / "mine.yaml").write_text(
        f"""
dir: {{data: null, root: {tmp_path}, exp: x}}
datamodule:
  _target_: eztorch.datamodules.VideoDataModule
  num_classes: 1
  datadir: ${{dir.data}}
  video_path_prefix: ${{dir.data}}
  train: &split
    dataset: {{datadir: "${{dir.data}}/train.csv", class_list: [1]}}
    global_batch_size: 2
    clip_sampler: {{_target_: eztorch.datasets.clip_samplers.RandomClipSampler, clip_duration: 0.5}}
  val:
    dataset: [{{datadir: "${{dir.data}}/val.csv", class_list: [1]}}]
    global_batch_size: 2
    clip_sampler: {{_target_: eztorch.datasets.clip_samplers.RandomClipSampler, clip_duration: 0.5}}
"""
    )
    for path in ("train/Golf/train_0.mp4", "val/Golf/val_2.mp4"):
        (tree / path).unlink()
    (tree / "train/Golf/train_4.mp4").write_bytes(b"")
    status, found, _ = check(
        "-cp", tmp_path, "-cn", "mine", f"dir.data={tree}", "--ignore", "unlisted", "datamodule.num_classes=2"
    )
    assert status == 1
    (train, _, why), val = found.pop("missing")
    assert (train, val[:2]) == ("train", ("val", "val/Golf/val_2.mp4"))
    assert "1 of its 12 videos are missing, among them" in why
    assert found == {"empty": [("train", "train/Golf/train_4.mp4", "the file is empty")]}


def test_check__goes_on_where_it_was_stopped_and_examines_no_file_twice(tree, check, tmp_path, capsys):
    check(tree)
    done = tmp_path / "out/examined.jsonl"
    lines = done.read_text().splitlines(keepends=True)
    assert len(lines) == 18
    done.write_text("".join(lines[:10]) + lines[10][:50])
    capsys.readouterr()
    check(tree)
    assert len(done.read_text().splitlines()) == 18
    check(tree)
    (tree / "train/Golf/train_0.mp4").write_bytes(b"")
    assert check(tree)[1]["empty"] == [("train", "Golf/train_0.mp4", "the file is empty")]
    assert len(done.read_text().splitlines()) == 19


def test_check__is_the_same_from_several_processes_and_with_an_index(tree, check, tmp_path):
    spoil_middle(tree / "train/Golf/train_0.mp4")
    alone = check(tree)
    main(["data", "index", str(tree), "--workers", "0"])
    shutil.rmtree(tmp_path / "out")
    words = [str(tree), "-o", str(tmp_path / "out"), "--workers", "2"]
    assert main(["data", "check", *words]) == alone[0]
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert [(one["kind"], one["path"]) for one in report["findings"]] == [
        (kind, path) for kind, rows in alone[1].items() for _, path, _ in rows
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "what is to be checked?"),
        (["/no/such/folder"], "there is no such folder or annotation file"),
        (["--ignore", "leeks", "."], "no kind of finding. Did you mean leak?"),
        (["--quick", "--decode", "."], "not allowed with argument"),
    ],
)
def test_check__refuses_what_cannot_be(tmp_path, capsys, words, message):
    assert main(["data", "check", *words, "-o", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def look_at(path, **options):
    return look(str(path), probe("", Medium(str(path), "video")), **options)


def test_look__sees_the_smallest_thing_that_moves(tmp_path, encode):
    frames = np.repeat(np.random.default_rng(0).integers(60, 200, (1, 240, 320, 3), dtype=np.uint8), 30, axis=0)
    still = look_at(encode(tmp_path / "still.mp4", frames))
    for t in range(30):
        frames[t, 100:112, 8 * t : 8 * t + 12] = 255
    assert still.fault == "frozen"
    for every_frame in (False, True):
        assert look_at(encode(tmp_path / "moving.mp4", frames), every_frame=every_frame).fault is None


def test_look__decodes_every_frame_when_it_is_asked_to(tmp_path, draw, encode):
    """A fault that lies between the frames that are looked at otherwise."""
    path = encode(tmp_path / "a.avi", draw(0, 120), "mpeg4")
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    packet = packets[20]
    data = bytearray(path.read_bytes())
    data[packet.pos + 8 : packet.pos + 8 + packet.size] = b"\xff" * packet.size
    path.write_bytes(data)
    assert look_at(path).fault is None
    assert look_at(path, every_frame=True).fault == "undecodable"


def test_same_look__tells_other_clips_of_a_still_camera_from_copies(tmp_path, draw, encode):
    """Clips before the same background are no copies; another size, codec and rate of the same clip is one."""
    scene = np.repeat(np.kron(draw(0, 1), np.ones((1, 5, 5, 1), np.uint8)), 40, axis=0)

    def clip(start: int) -> np.ndarray:
        frames = scene.copy()
        for t in range(40):
            frames[t, start : start + 60, 4 * t : 4 * t + 60] = 240
        return frames

    one = look_at(encode(tmp_path / "one.mp4", clip(10))).signature
    other = look_at(encode(tmp_path / "other.mp4", clip(130))).signature
    copy = look_at(encode(tmp_path / "copy.avi", clip(10)[::2, ::2, ::2], "mpeg4", 12, b="400k")).signature
    assert same_look(one, copy)
    assert not same_look(one, other)
    assert alike({"one": one, "other": other, "copy": copy}, dict.fromkeys(("one", "other", "copy"), 1.6)) == [
        ["one", "copy"]
    ]
    assert alike({"one": one, "copy": copy}, {"one": 1.6, "copy": 3.2}) == []
