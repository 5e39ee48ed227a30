"""`eztorch data bench` on real videos: the turns, the figures, what it recommends."""

import json
import math
from fractions import Fraction

import pytest

from eztorch.cli import main
from eztorch.data.bench.benching import Result, Row, run_bench
from eztorch.data.bench.sources import Experiment, Files, sample
from eztorch.data.bench.throughput import Shape, common_files, take_turns
from eztorch.engine.arguments import Arguments
from eztorch.utils.errors import ConfigError, DataError

EXPERIMENT = "supervised_r3d18_kinetics200"


@pytest.fixture(scope="session")
def videos(tmp_path_factory, draw, encode):
    """Six videos of 2 s in two folders of classes, a key frame at the beginning alone."""
    root = tmp_path_factory.mktemp("bench é")
    for number in range(6):
        encode(root / f"class {number % 2}" / f"{number}.mp4", draw(number, 48), g="250")
    return root


def overrides(videos, *more):
    splits = [f"datamodule.{split}.dataset.datadir={videos}" for split in ("train", "val", "test")]
    quoted = [word.replace("=", "='", 1) + "'" for word in [f"dir.data={videos}", *splits]]
    return ["-cn", EXPERIMENT, *quoted, "dir.root=/nowhere", "datamodule.decoder=pyav", *more]


def test_take_turns__reads_every_file_in_every_way_and_counts_failures():
    turns = []

    def read(name):
        def one(file, turn):
            turns.append((turn, file, name))
            if file == 1 and name == "b":
                raise DataError("broken")
            return 2

        return one

    speeds = take_turns({"a": read("a"), "b": read("b")}, 2, budget_s=60, rounds=2)
    assert turns == [
        (turn, file, name)
        for turn in range(3)
        for file in range(2)
        for name in "ab"
        if turn == 0 or (file, name) != (1, "b")
    ]
    assert speeds["a"].clips == {0: 4, 1: 4}  # the first round does not count
    assert speeds["b"].failed == {1: "broken"}
    assert common_files(speeds) == {0}


def test_take_turns__stops_after_the_round_in_which_the_time_is_up():
    counted = take_turns({"a": lambda file, turn: 1}, 3, budget_s=0, rounds=50)["a"].clips
    assert counted == {0: 1, 1: 1, 2: 1}


def test_sample__is_the_same_at_every_call_and_in_order():
    drawn = sample(range(1000), 10)
    assert drawn == sample(range(1000), 10) == sorted(set(drawn))
    assert sample("abc", 10) == ["a", "b", "c"]


def test_bench__of_a_folder(videos, tmp_path, capsys):
    words = ["data", "bench", str(videos), "--files", "4", "--seconds", "1", "--feed", "500"]
    assert main([*words, "--json", str(tmp_path / "figures" / "bench.json")]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{videos}: 4 of 6 videos, a clip of 8 frames from 2.56 s of each\n64 x 48; h264; key frames")
    figures = json.loads((tmp_path / "figures" / "bench.json").read_text())
    assert figures["files"] == 4
    pyav = figures["decoders"]["pyav"]
    assert pyav["clips_per_s"] > 1
    assert pyav["failed"] == {}
    assert list(figures["copies"]) == ["as they are", "short-gop", "intra"]
    assert figures["copies"]["intra"]["size"] > figures["copies"]["as they are"]["size"] == 1
    best = figures["decoders"][figures["best"]]["clips_per_s"]
    assert f"As it is: {math.ceil(500 / best)} worker" in out
    assert figures["advice"][0].startswith("Decoder: ")


def test_bench__of_files_that_cannot_be_read_says_which_and_fails(videos, tmp_path, capsys):
    for number in range(2):
        (tmp_path / f"{number}.mp4").write_bytes((videos / "class 0" / f"{2 * number}.mp4").read_bytes())
    (tmp_path / "broken.mp4").write_text("hello")
    assert main(["data", "bench", str(tmp_path), "--seconds", "0.1", "--no-prepare"]) == 1
    out = capsys.readouterr().out
    assert f"{tmp_path / 'broken.mp4'}: it is not a video" in out
    assert "33% of the files cannot be read" in out
    assert "short-gop" not in out


def test_bench__of_folders_of_frames(tmp_path, draw, save_pictures, capsys):
    for number in range(2):
        save_pictures(tmp_path / "class" / str(number), draw(number, 24))
    assert main(["data", "bench", str(tmp_path), "--fps", "24", "--seconds", "0.1", "--clip-duration", "0.5"]) == 0
    out = capsys.readouterr().out
    assert "2 of 2 folders of frames" in out
    assert "Decoder: frame." in out


def test_bench__refuses_what_it_cannot_compare(videos, tmp_path, draw, save_pictures):
    with pytest.raises(DataError, match="no video and no folder of frames"):
        Files([str(tmp_path)], Shape(), 4, Fraction(30))
    save_pictures(tmp_path / "class" / "a", draw(0, 4))
    with pytest.raises(DataError, match="videos and folders of frames"):
        Files([str(tmp_path), str(videos)], Shape(), 4, Fraction(30))


def test_bench__of_an_experiment_reads_its_clips(videos, capsys):
    words = ["data", "bench", *overrides(videos), "--files", "3", "--seconds", "0.1"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert out.startswith("datamodule.train: 3 of 6 videos, clips of RandomClipSampler (clip_duration 2.56")
    assert "short-gop" in out
    assert "Decoder: pyav, as it is, is the fastest here." in out or "datamodule.decoder=" in out


def test_experiment__counts_the_clips_of_a_video_and_reads_copies_in_their_places(videos, tmp_path):
    from eztorch.data.experiment import load_config

    words = [word for word in overrides(videos, "datamodule.test.clip_sampler.clip_duration=1")[2:]]
    source = Experiment(load_config(Arguments(tuple(words), config_name=EXPERIMENT)), "test", 2)
    assert source.chosen == "pyav"
    assert source.read("pyav")(0, 0) == 30  # 10 clips of 3 crops each
    (tmp_path / "copy.mp4").write_bytes((videos / "class 0" / "0.mp4").read_bytes())
    read = source.read("pyav", {1: str(tmp_path / "copy.mp4")})
    assert read(0, 0) == 30
    (tmp_path / "copy.mp4").unlink()
    with pytest.raises(Exception, match=r"copy\.mp4"):
        read(0, 1)


@pytest.mark.parametrize(
    ("dataset", "number"),
    [
        ({"sample_ratio": 0.4}, 2),
        ({"exclude_list": ["class 0/0.mp4"]}, 5),
        ([{"sample_ratio": 0.4}, {"repeat": 2}], 8),
    ],
)
def test_experiment__of_a_part_or_of_several_data_sets_is_read_too(videos, tmp_path, dataset, number):
    from eztorch.data.experiment import load_config

    config = load_config(Arguments(tuple(overrides(videos)[2:]), config_name=EXPERIMENT))
    whole = config["datamodule"]["train"].get("dataset") or {}
    several = isinstance(dataset, list)
    parts = [{**whole, **part} for part in (dataset if several else [dataset])]
    config["datamodule"]["train"]["dataset"] = parts if several else parts[0]
    source = Experiment(config, "train", 100)
    assert len(source.media) == number
    copied = tmp_path / "copy.mp4"
    copied.write_bytes((videos / "class 0" / "0.mp4").read_bytes())
    last = number - 1
    assert source.read("pyav")(last, 0) == source.read("pyav", {last: str(copied)})(0, 0) == 1


def test_experiment__needs_the_split(videos):
    from eztorch.data.experiment import load_config

    config = load_config(Arguments(tuple(overrides(videos)[2:]), config_name=EXPERIMENT))
    config["datamodule"]["val"] = None
    with pytest.raises(ConfigError, match="val"):
        Experiment(config, "val", 2)


def test_experiment__of_images_says_that_it_reads_no_videos(capsys):
    words = ["-cn", "supervised_resnet18_cifar10", "datamodule=images", "datamodule.train.global_batch_size=2"]
    assert main(["data", "bench", *words, "dir.data=/data"]) == 2
    assert "datamodule.train reads no videos; bench reads videos and folders of frames" in capsys.readouterr().err


def row(rate, ratio=1.0, size=None):
    return Row(rate, ratio, {}, size)


def test_result__keeps_the_decoder_of_the_user_where_it_is_as_good():
    rates = {"pyav": row(100.0), "torchcodec": row(104.0), "decord": row(50.0)}
    assert Result("", "", 4, "pyav", rates).best == "pyav"
    assert Result("", "", 4, "torchcodec", rates).best == "torchcodec"
    assert Result("", "", 4, "decord", rates).best == "pyav"
    assert Result("", "", 4, None, {**rates, "torchcodec": row(120.0)}).best == "torchcodec"
    assert Result("", "", 4, None, {"pyav": Row(None, None, {})}).best is None


def test_result__says_how_many_workers_are_needed_and_what_preparing_gains():
    copies = {"as they are": row(90.0, 1.0, 1.0), "short-gop": row(180.0, 2.0, 1.4), "intra": row(360.0, 4.0, 2.1)}
    result = Result("", "", 4, "pyav", {"pyav": row(100.0), "decord": row(50.0)}, copies)
    assert result.advice(1000) == [
        "Decoder: pyav, as it is, is the fastest here.",
        "`eztorch data prepare` is worth it (--to short-gop: 2.0 times the clips at 1.4 times the bytes; "
        "--to intra: 4.0 times the clips at 2.1 times the bytes).",
        "As it is: 10 workers, a core each, for 1000 clips/s.",
        "Prepared (intra): 3 workers, a core each, for 1000 clips/s.",
    ]
    little = {name: one._replace(ratio=1.1) for name, one in copies.items()}
    assert "`eztorch data prepare` would gain little." in Result("", "", 4, None, result.decoders, little).advice(None)


def test_run_bench__without_any_decoder_says_why(videos, monkeypatch):
    source = Files([str(videos)], Shape(), 2, Fraction(30))
    monkeypatch.setattr(source, "decoders", ("pyaw",))
    with pytest.raises(ConfigError, match="pyaw"):
        run_bench(source, 1.0, copies=False)
