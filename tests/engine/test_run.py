"""Whole jobs, from the command line to the run directory, on real videos."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch

from eztorch.datasets.decoders import build_decoder
from eztorch.engine.launch import main
from eztorch.engine.run import compile_networks, keep_metrics
from eztorch.models import MAEModel
from eztorch.models.siamese import SCEModel
from eztorch.models.trunks.vit import VisionTransformer
from eztorch.utils.errors import ConfigError

from ..datasets import image_layouts as layouts

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*has no use for"),  # the recipe's arguments of the frame decoder
    pytest.mark.filterwarnings("ignore:.*max_epochs=.* is not trainer.max_epochs"),
    pytest.mark.filterwarnings(
        "ignore:Be aware that when using `ckpt_path`, callbacks used"
    ),  # a callback was taken off
]

# Ends the run after its first epoch, as an interrupt would.
STOP = [
    "+callbacks.stop._target_=lightning.pytorch.callbacks.EarlyStopping",
    "+callbacks.stop.monitor=pretrain/loss",
    "+callbacks.stop.stopping_threshold=1e9",
    "+callbacks.stop.check_on_train_epoch_end=true",
]


def pretrain(command: list[str], root: Path, name: str, *overrides: str) -> Path:
    """Run a pretraining that has to succeed; return its run directory."""
    assert main("pretrain", [*command, f"dir.root={root}", f"dir.exp={name}", *overrides]) == 0
    return root / name


def losses(run_dir: Path) -> list[str]:
    with (run_dir / "metrics.csv").open() as file:
        return [row["pretrain/loss"] for row in csv.DictReader(file) if row["pretrain/loss"]]


def assert_equal_states(a, b) -> None:
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_equal_states(a[key], b[key])
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_equal_states(x, y)
    else:
        assert a == b


@pytest.fixture(scope="module")
def finished(tiny_pretraining, tmp_path_factory):
    return pretrain(tiny_pretraining, tmp_path_factory.mktemp("run"), "whole")


def test_pretrain__leaves_everything_in_the_run_directory(finished):
    names = {path.name for path in finished.iterdir()}
    assert {"config.yaml", "command.txt", "overrides.yaml", "environment.json", "metrics.csv", "metrics.json"} <= names
    assert {"report.html", "views.png", "checkpoints", "tensorboard"} <= names
    facts = json.loads((finished / "environment.json").read_text())
    assert facts["packages"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert json.loads((finished / "metrics.json").read_text())["pretrain/loss"] > 0
    assert len(losses(finished)) == 4


def test_pretrain__stopped_and_resumed_ends_with_the_weights_of_the_uninterrupted_run(
    finished, tiny_pretraining, tmp_path, caplog
):
    run_dir = pretrain(tiny_pretraining, tmp_path, "parts", *STOP)
    assert len(losses(run_dir)) == 2
    with caplog.at_level("INFO", logger="eztorch"):
        pretrain(tiny_pretraining, tmp_path, "parts")
    assert "Continuing from" in caplog.text
    states = [
        torch.load(folder / "checkpoints/last.ckpt", weights_only=True, map_location="cpu")
        for folder in (finished, run_dir)
    ]
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch"):
        assert_equal_states(states[0][key], states[1][key])
    assert any(name.startswith("queue.") for name in states[0]["state_dict"])
    assert any(name.startswith("target.trunk.") for name in states[0]["state_dict"])
    assert losses(run_dir) == losses(finished)


def test_pretrain__that_has_ended_keeps_what_it_found(finished, tiny_pretraining, caplog):
    files = ("metrics.json", "metrics.csv", "checkpoints/last.ckpt")
    before = [(finished / name).read_bytes() for name in files]
    with caplog.at_level("INFO", logger="eztorch"):
        pretrain(tiny_pretraining, finished.parent, finished.name)
    assert "There was nothing left to do" in caplog.text
    assert [(finished / name).read_bytes() for name in files] == before


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")
def test_pretrain__losses_do_not_depend_on_the_number_of_workers(finished, tiny_pretraining, tmp_path, workers):
    run_dir = pretrain(
        tiny_pretraining, tmp_path, "workers", f"datamodule.train.loader.num_workers={workers}", "report=false"
    )
    assert losses(run_dir) == losses(finished)


@pytest.mark.parametrize("decoder", ["torchcodec", "decord", "frame"])
def test_pretrain__runs_with_each_decoder(finished, tiny_pretraining, frame_tree, tmp_path, decoder):
    try:
        build_decoder(decoder, {})
    except ConfigError as error:
        pytest.skip(str(error))
    overrides = [f"datamodule.decoder={decoder}", "report=false"]
    if decoder == "frame":
        overrides += [f"dir.data={frame_tree}", "datamodule.decoder_args.fps=15"]
    run_dir = pretrain(tiny_pretraining, tmp_path, decoder, *overrides)
    if decoder == "frame":
        assert losses(run_dir) != losses(finished)  # JPEG has other pixels
    else:
        assert losses(run_dir) == losses(finished)  # the same frames, the same pixels


@pytest.fixture
def damaged_tree(video_tree, tmp_path):
    """The videos, of which one of eight in training is a text file and one of eight in validation is cut short."""
    tree = shutil.copytree(video_tree, tmp_path / "damaged")
    (tree / "train/rising/v1.mp4").write_text("This is not a video.")
    whole = (tree / "val/falling/v0.mp4").read_bytes()
    (tree / "val/falling/v0.mp4").write_bytes(whole[: len(whole) // 3])
    return tree


@pytest.mark.filterwarnings("ignore:val. 7 of 8 samples were evaluated")
def test_pretrain__skips_counts_and_lists_unreadable_videos(tiny_pretraining, damaged_tree, tmp_path):
    run_dir = pretrain(
        tiny_pretraining,
        tmp_path,
        "damaged",
        f"dir.data={damaged_tree}",
        "+callbacks.failures._target_=eztorch.callbacks.FailureMonitor",
        "+callbacks.failures.max_failure_share=0.5",
    )
    with (run_dir / "failed_samples.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["split"], Path(row["path"]).name) for row in rows} == {("train", "v1.mp4"), ("val", "v0.mp4")}
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert (metrics["val/n_evaluated"], metrics["val/n_expected"]) == (7, 8)


def test_pretrain__too_many_unreadable_videos_are_an_error(tiny_pretraining, damaged_tree, tmp_path, capsys):
    status = main("pretrain", [*tiny_pretraining, f"dir.root={tmp_path}", "dir.exp=x", f"dir.data={damaged_tree}"])
    assert status == 2
    message = capsys.readouterr().err
    assert "max_failure_share" in message
    assert "v1.mp4" in message
    assert "Traceback" not in message


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("dir.data=/does/not/exist", ["/does/not/exist"]),
        ("datamodule.train.global_batch_size=0", ["datamodule.train.global_batch_size=0"]),
        ("model.queue.feature_dim=9", ["queue.feature_dim=9", "8"]),
        ("model.tmep=0.1", ["model.tmep", "temp"]),
        ("+model.tmep=0.1", ["unknown key 'tmep'", "'temp'"]),
        ("model.temp=0", ["temp=0"]),
        ("ckpt_path=/no/such.ckpt", ["ckpt_path=/no/such.ckpt does not exist"]),
        ("datamodule.decoder=pyva", ["pyva", "'pyav'"]),
        ("trainer.precision=16", ["trainer.precision=16 needs a GPU"]),
        ("compile=3", ["compile=3"]),
        ("num_threads=0", ["num_threads=0"]),
    ],
)
def test_pretrain__bad_input_ends_before_training_with_a_message(tiny_pretraining, tmp_path, capsys, override, words):
    status = main("pretrain", [*tiny_pretraining, f"dir.root={tmp_path}", "dir.exp=bad", override])
    message = capsys.readouterr().err
    assert status == 2
    assert "Traceback" not in message
    for word in words:
        assert word in message
    assert not (tmp_path / "bad/checkpoints").exists()


@pytest.mark.filterwarnings("ignore:Guards may run slower on Python")
def test_compile_networks__compiles_in_place_and_keeps_names():
    model = SCEModel(trunk=torch.nn.Linear(4, 3), optimizer=None, queue={"size": 4, "feature_dim": 3})
    names = list(model.state_dict())
    compile_networks(model, {"backend": "eager"})
    assert model.trunk._compiled_call_impl is not None
    assert model.target.trunk._compiled_call_impl is not None
    assert list(model.state_dict()) == names
    assert model(torch.ones(2, 4)).shape == (2, 3)


@pytest.mark.filterwarnings("ignore:Guards may run slower on Python")
def test_compile_networks__compiles_the_tokens_that_masked_methods_ask_for():
    trunk = VisionTransformer(patch=(4, 4), embed_dim=8, depth=1, num_heads=2)
    model = MAEModel(trunk=trunk, optimizer=None, decoder_dim=8, decoder_depth=1, decoder_heads=2)
    names, graphs = list(model.state_dict()), []
    images = torch.rand(2, 3, 8, 8)
    plain = model.trunk.tokens(images)

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    compile_networks(model, {"backend": backend})
    torch.testing.assert_close(model.trunk.tokens(images), plain)
    assert graphs
    assert list(model.state_dict()) == names


def test_compile_networks__false_leaves_the_networks_alone():
    model = SCEModel(trunk=torch.nn.Linear(4, 3), optimizer=None, queue={"size": 4, "feature_dim": 3})
    compile_networks(model, False)
    assert model.trunk._compiled_call_impl is None


@pytest.mark.parametrize("tell", [True, False])
def test_keep_metrics__says_which_numbers_of_an_earlier_job_it_replaces(tmp_path, caplog, tell):
    caplog.set_level("INFO")
    path = tmp_path / "metrics.json"
    keep_metrics(path, {"knn/acc_1": 0.5, "pretrain/loss": 3.0, "knn/acc_5": 0.9}, tell=tell)
    assert not caplog.messages
    kept = keep_metrics(path, {"knn/acc_1": 0.25, "knn/acc_5": 0.9, "knn/k": 20.0}, tell=tell)
    assert kept == {"knn/acc_1": 0.25, "knn/acc_5": 0.9, "knn/k": 20.0, "pretrain/loss": 3.0}
    assert caplog.messages == ([f"Replaced in {path}: knn/acc_1 (was 0.5)."] if tell else [])


def test_supervised__without_its_test_images_ends_before_training(tmp_path, capsys):
    for split in ("train", "val"):
        layouts.write_folders(tmp_path / split, ["a", "b"], per_class=2)
    loaders = [f"datamodule.{split}.loader.num_workers=0" for split in ("train", "val", "test")]
    command = ["-cn", "supervised_resnet18_cifar10", "datamodule=images", f"dir.data={tmp_path}", *loaders]
    small = [
        "model.model.num_classes=2",
        "model/trunk@model.model=convnet_tiny",
        "datamodule.train.global_batch_size=2",
    ]
    crops = [f"datamodule.{split}.transform=null" for split in ("train", "val", "test")]
    crops += [f"transform@model.{split}_transform=image_eval" for split in ("train", "val")]
    run = ["trainer.accelerator=cpu", "trainer.max_epochs=1", f"dir.root={tmp_path}/out", "dir.exp=run"]
    assert main("supervised", [*command, *small, *crops, *run]) == 2
    assert f"datamodule.test: {tmp_path}/test: there is no such folder" in capsys.readouterr().err
    assert not (tmp_path / "out/run/checkpoints").exists()
    assert main("supervised", [*command, *small, *crops, *run, "datamodule.test=null"]) == 0
    assert (tmp_path / "out/run/checkpoints/last.ckpt").exists()


def test_keep_metrics__goes_on_without_a_file_that_was_half_written(tmp_path, caplog):
    caplog.set_level("INFO")
    path = tmp_path / "metrics.json"
    path.write_text('{"knn/acc')
    assert keep_metrics(path, {"knn/acc_1": 0.25}, tell=True) == {"knn/acc_1": 0.25}
    assert "metrics.json cannot be read" in caplog.text
    assert json.loads(path.read_text()) == {"knn/acc_1": 0.25}
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.json"]


@pytest.mark.parametrize(("earlier", "replaced"), [(float("nan"), False), (0.5, True)])
def test_keep_metrics__a_number_that_was_none_before_and_is_none_now_is_not_replaced(
    tmp_path, caplog, earlier, replaced
):
    caplog.set_level("INFO")
    keep_metrics(tmp_path / "metrics.json", {"test/map": earlier}, tell=True)
    keep_metrics(tmp_path / "metrics.json", {"test/map": float("nan")}, tell=True)
    assert ("Replaced" in caplog.text) == replaced
