"""The tasks extract_features, knn and retrieval_from_bank, from the command line, on real videos."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from inspect import signature
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from eztorch.engine.evaluation.feature_settings import (
    ExtractSettings,
    KNNSettings,
    RetrievalSettings,
    RetrievalSide,
    read_settings,
)
from eztorch.engine.launch import main
from eztorch.evaluation import FeatureStore, LinearProbe
from eztorch.utils.errors import ConfigError

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*has no use for"),  # the recipe's arguments of the frame decoder
    pytest.mark.filterwarnings("ignore:.*max_epochs=.* is not trainer.max_epochs"),
]


@pytest.fixture(scope="module")
def command(tiny_pretraining) -> list[str]:
    """The recipe with a callback that belongs to training, over every video of the small set at once."""
    return [*tiny_pretraining, "datamodule.val.global_batch_size=4", "datamodule.test.loader.num_workers=0"]


@pytest.fixture(scope="module")
def pretrained(command, tmp_path_factory) -> Path:
    """A pretraining of one epoch."""
    root = tmp_path_factory.mktemp("pretrained")
    short = ["trainer.max_epochs=1", "model.optimizer.scheduler.params.warmup_epochs=0"]
    assert main("pretrain", [*command, *short, f"dir.root={root}", "dir.exp=run"]) == 0
    return root / "run"


@pytest.fixture
def run(pretrained, tmp_path) -> Path:
    """A copy of its run directory."""
    return shutil.copytree(pretrained, tmp_path / "run")


@pytest.fixture
def evaluate(command):
    """Run a task in a run directory; return its exit status."""

    def call(task: str, run_dir: Path, *overrides: str) -> int:
        return main(task, [*command, f"dir.root={run_dir.parent}", f"dir.exp={run_dir.name}", *overrides])

    return call


def read_metrics(run_dir: Path) -> dict[str, float]:
    return json.loads((run_dir / "metrics.json").read_text())


def all_rows(path: Path) -> torch.Tensor:
    store = FeatureStore.open(path)
    return store.rows(0, len(store))


def test_knn__takes_model_data_and_newest_checkpoint_from_the_run(run, evaluate, capsys):
    before, report = read_metrics(run), (run / "report.html").read_bytes()
    assert evaluate("knn", run, "knn.k=[2,1,50]", "knn.temperature=[0.07,0.2]") == 0
    metrics = read_metrics(run)
    assert {name: metrics[name] for name in before} == before  # the training keeps its numbers
    assert (run / "report.html").read_bytes() == report
    assert (metrics["knn/n_evaluated"], metrics["knn/n_expected"]) == (8, 8)
    assert metrics["knn/acc_1"] == metrics["knn/acc_1_k2_t0.07"]
    assert "knn/acc_5" not in metrics  # of two classes
    found = load_file(run / "knn_predictions.safetensors")
    for k in (1, 2, 50):
        for temperature in ("0.07", "0.2"):
            classes = found[f"k{k}_t{temperature}"]
            accuracy = float((classes[:, 0] == found["labels"]).float().mean())
            assert metrics[f"knn/acc_1_k{k}_t{temperature}"] == pytest.approx(accuracy)
    printed = capsys.readouterr().out
    assert "kNN, 8 of 8 samples evaluated, 8 in the bank" in printed
    assert "top-1" in printed


def test_extract_features__says_all_of_what_it_wrote(run, evaluate, video_tree):
    assert evaluate("extract_features", run, "extract.rows_per_shard=3", "extract.splits=[val]") == 0
    store = FeatureStore.open(run / "features/val")
    checkpoint = run / "checkpoints/last.ckpt"
    index = store.index
    assert index["checkpoint"] == {
        "path": str(checkpoint),
        "sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
    }
    assert (store.dim, len(store), index["dtype"], index["features"]) == (32, 8, "float32", "h")
    assert [shard["rows"] for shard in index["shards"]] == [3, 3, 2]
    assert store.label_names == []  # a csv has none
    assert store.name(1) == str(video_tree / "val/falling/v1.mp4")
    assert index["configuration"]["model"]["_target_"].endswith("SCEModel")
    assert "extract_features" in index["command"]
    assert not (run / "features/train").exists()
    metrics = read_metrics(run)
    assert (metrics["features/val/n_evaluated"], metrics["features/val/n_expected"]) == (8, 8)


TRUNK_RECIPE = """
defaults:
  - base
  - datamodule: kinetics200_frame
  - model: trunk_features
  - transform@model.val_transform: video_normalize
  - override model/trunk@model.trunk: resnet3d
  - _self_
model: {trunk: {model: {stem_dim_out: 4}, head: {in_features: 32}}}
trainer: {max_epochs: 1}
hydra:
  searchpath: [pkg://eztorch.configs]
  run: {dir: "${...dir.run}"}
"""


def test_extract_features__of_a_trunk_alone_are_those_that_the_model_gives(run, evaluate, command, tmp_path):
    splits = "extract.splits=[val]"
    assert evaluate("extract_features", run, splits) == 0
    (tmp_path / "trunk.yaml").write_text(TRUNK_RECIPE)
    kept = ("datamodule.decoder", "datamodule.val", "datamodule.train.global", "dir.data", "trainer.accelerator")
    data = [word for word in command if word.startswith(kept)]
    alone = ["-cp", str(tmp_path), "-cn", "trunk", *data, f"dir.root={tmp_path}", "dir.exp=alone", splits]
    weights = f"pretrained.path={run}/checkpoints/last.ckpt"
    assert main("extract_features", [*alone, weights]) == 0
    expected, found = (all_rows(folder / "features/val") for folder in (run, tmp_path / "alone"))
    assert torch.equal(found, expected)
    assert FeatureStore.open(tmp_path / "alone/features/val").index["checkpoint"]["path"].endswith("last.ckpt")
    assert main("extract_features", [*alone, "ckpt_path=untrained"]) == 0
    assert not torch.allclose(all_rows(tmp_path / "alone/features/val"), expected)  # and not taken for the same


def test_extract_features__of_the_projection_in_half_precision(run, evaluate):
    assert evaluate("extract_features", run, "extract.splits=[val]", "extract.features=z", "extract.dtype=float16") == 0
    store = FeatureStore.open(run / "features/val")
    assert (store.dim, store.index["dtype"], store.index["features"]) == (8, "float16", "z")
    torch.testing.assert_close(store.rows(0, 8).norm(dim=1), torch.ones(8), atol=1e-3, rtol=0)  # as the model gives it


def test_extract_features__keeps_the_clips_whose_mean_it_gives_otherwise(run, evaluate):
    clips = ["extract.splits=[val]", "datamodule.val.clip_sampler.clips_per_video=3"]
    assert evaluate("extract_features", run, *clips) == 0
    mean = all_rows(run / "features/val")
    assert evaluate("extract_features", run, *clips, "extract.clips=keep", "extract.folder=clips") == 0
    store = FeatureStore.open(run / "clips/val")
    assert store.idx.tolist() == [idx for idx in range(8) for _ in range(3)]
    assert store.column("clip_index").tolist() == [0, 1, 2] * 8
    assert store.column("clip_end").sub(store.column("clip_start")).tolist() == pytest.approx([1.0] * 24)
    assert (store.n_evaluated, len(store)) == (8, 24)
    torch.testing.assert_close(store.rows(0, 24).view(8, 3, -1).mean(dim=1), mean)


def test_features__are_reused_where_nothing_changed_and_made_anew_where_something_did(run, evaluate, caplog):
    index = run / "features/val/index.json"
    splits = "extract.splits=[val]"
    assert evaluate("extract_features", run, splits) == 0
    before = index.stat().st_mtime_ns, all_rows(index)
    with caplog.at_level("INFO", logger="eztorch"):
        assert evaluate("extract_features", run, splits, "datamodule.val.global_batch_size=2") == 0
    assert "they are taken as they are" in caplog.text
    assert index.stat().st_mtime_ns == before[0]
    assert evaluate("extract_features", run, splits, "datamodule.decoder_args.frame_filter.num_samples=2") == 0
    assert not torch.equal(all_rows(index), before[1])
    checkpoint = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    name = next(one for one in checkpoint["state_dict"] if one.startswith("trunk.") and one.endswith("conv.weight"))
    checkpoint["state_dict"][name] *= 2
    torch.save(checkpoint, run / "checkpoints/last.ckpt")
    assert evaluate("extract_features", run, splits) == 0
    assert not torch.equal(all_rows(index), before[1])


@pytest.fixture
def damaged(video_tree, tmp_path) -> Path:
    """The videos, one of validation cut short."""
    tree = shutil.copytree(video_tree, tmp_path / "damaged")
    whole = (tree / "val/rising/v2.mp4").read_bytes()
    (tree / "val/rising/v2.mp4").write_bytes(whole[: len(whole) // 3])
    return tree


def test_features__that_stop_at_an_unreadable_video_go_on_when_they_are_started_again(
    run, evaluate, damaged, video_tree, capsys
):
    here = ["extract.splits=[train,val]", f"dir.data={damaged}", "++datamodule.val.on_error=raise"]
    assert evaluate("extract_features", run, *here) == 2
    message = capsys.readouterr().err
    assert "v2.mp4" in message
    assert "Traceback" not in message
    train = (run / "features/train/index.json").stat().st_mtime_ns
    assert not (run / "features/val/index.json").exists()
    shutil.copy(video_tree / "val/rising/v2.mp4", damaged / "val/rising/v2.mp4")
    assert evaluate("extract_features", run, *here) == 0
    assert (run / "features/train/index.json").stat().st_mtime_ns == train  # the split that was done is kept
    assert FeatureStore.open(run / "features/val").n_evaluated == 8


@pytest.mark.parametrize("on_error", ["skip", "count_as_wrong"])
def test_features__leave_out_what_cannot_be_read_and_say_so(run, evaluate, damaged, on_error):
    here = [f"dir.data={damaged}", f"++datamodule.val.on_error={on_error}", "knn.k=[1]", "retrieval.ranks=[1]"]
    here += ["knn.bank=val", "retrieval.bank.split=val"]
    assert evaluate("knn", run, *here) == 0
    assert evaluate("retrieval_from_bank", run, *here) == 0
    store = FeatureStore.open(run / "features/val")
    assert (store.n_evaluated, store.n_expected, len(store)) == (7, 8, 7)
    assert [Path(one["path"]).name for one in store.index["failures"]] == ["v2.mp4"]
    assert store.idx.tolist() == [0, 1, 2, 3, 4, 5, 7]
    with (run / "failed_samples.csv").open() as file:
        assert [(row["split"], row["idx"]) for row in csv.DictReader(file)] == [("val", "6")]
    metrics = read_metrics(run)
    over = 8 if on_error == "count_as_wrong" else 7
    predictions, neighbours = (load_file(run / f"{one}.safetensors") for one in ("knn_predictions", "neighbours"))
    correct = int((predictions["k1_t0.07"][:, 0] == predictions["labels"]).sum())
    hits = int((neighbours["labels"][:, 0] == neighbours["query_labels"]).sum())
    assert metrics["knn/acc_1"] == correct / over
    assert metrics["retrieval/r_1"] == hits / over
    for name in ("knn", "retrieval"):
        assert (metrics[f"{name}/n_evaluated"], metrics[f"{name}/n_expected"]) == (7, 8)


def test_retrieval__from_stores_and_from_the_files_of_the_predecessor_is_that_of_the_checkpoint(
    run, evaluate, tmp_path, capsys
):
    sides = ["retrieval.query.center=true", "retrieval.bank.center=true", "retrieval.ranks=[1,3]"]
    assert evaluate("retrieval_from_bank", run, *sides, "extract.format=legacy", "extract.prefix=_k200") == 0
    expected = {name: value for name, value in read_metrics(run).items() if name.startswith("retrieval/")}
    assert set(expected) == {f"retrieval/{name}" for name in ("r_1", "r_3", "map", "n_evaluated", "n_expected")}
    assert "R@3" in capsys.readouterr().out
    files = load_file(run / "neighbours.safetensors")
    for kind in ("{}", "{}_k200_features.pth"):
        paths = [
            f"{side}.features_path={run}/features/{kind.format(split)}"
            for side, split in (("query", "val"), ("bank", "train"))
        ]
        place = [f"dir.root={tmp_path}", "trainer.accelerator=cpu", "ranks=[1,3]", "bank.center=true"]
        assert main("retrieval_from_bank", ["-cn", "retrieval_from_bank", *place, *paths, "query.center=true"]) == 0
        folder = tmp_path / "retrieval_from_bank"
        assert read_metrics(folder) == expected
        found = load_file(folder / "neighbours.safetensors")
        for name, tensor in files.items():
            assert torch.equal(found[name], tensor), name
    labels = torch.load(run / "features/val_k200_labels.pth", weights_only=True)
    assert labels.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert torch.load(run / "features/val_k200_ids.pth", weights_only=True).tolist() == list(range(8))


def test_retrieval__keeps_the_neighbours_with_their_names(run, evaluate, video_tree):
    assert evaluate("retrieval_from_bank", run, "retrieval.bank.split=val", "retrieval.num_neighbours=4") == 0
    found = load_file(run / "neighbours.safetensors")
    assert found["idx"].shape == found["labels"].shape == found["similarity"].shape == (8, 4)
    assert not (found["idx"] == found["query_idx"][:, None]).any()
    assert torch.equal(found["labels"], (found["idx"] >= 4).long())
    assert (found["similarity"].diff(dim=1) <= 0).all()
    names = json.loads((run / "neighbours.json").read_text())
    assert names["query"]["names"]["5"] == str(video_tree / "val/rising/v1.mp4")
    assert {int(one) for one in names["bank"]["names"]} == set(found["idx"].flatten().tolist())
    assert names["label_names"] == []  # a csv has none
    assert names["query"]["source"] == names["bank"]["source"] == str(run / "features/val")


@pytest.mark.parametrize(
    ("task", "overrides", "words"),
    [
        ("knn", ["ckpt_path=/no/such.ckpt"], ["ckpt_path=/no/such.ckpt does not exist"]),
        (
            "knn",
            ["model.projector.hidden_dims=[24,16]"],
            ["is of another model", "projector"],
        ),
        ("knn", ["knn.k=[0]"], ["knn.k=0"]),
        ("knn", ["knn.temperature=-1"], ["knn.temperature=-1"]),
        ("knn", ["knn.kk=3"], ["kk"]),
        ("knn", ["+knn.kk=3"], ["knn.kk: unknown key"]),
        ("knn", ["knn.bank=tarin"], ["knn.bank='tarin'", "'train'"]),
        ("extract_features", ["extract.clips=mean"], ["extract.clips='mean'", "average"]),
        ("extract_features", ["extract.features=g", "extract.splits=[val]"], ["extract.features='g'", "'h', 'q', 'z'"]),
        ("extract_features", ["ckpt_path=untrained", "pretrained.path=/x"], ["write one of them"]),
        ("retrieval_from_bank", ["retrieval.query.features_path=/x"], ["retrieval.bank.features_path is not"]),
        ("retrieval_from_bank", ["retrieval.ranks=[]"], ["retrieval.ranks"]),
        ("retrieval_from_bank", ["extract.clips=keep"], ["extract.clips=average"]),
    ],
)
def test_features__bad_input_is_an_error_that_names_it(run, evaluate, capsys, task, overrides, words):
    assert evaluate(task, run, *overrides) == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    for word in words:
        assert word in message
    assert not (run / "features/val/index.json").exists()


def test_features__without_weights_are_an_error_that_says_what_to_write(evaluate, tmp_path, capsys):
    assert evaluate("knn", tmp_path / "nothing") == 2
    message = capsys.readouterr().err
    for word in ("There is nothing to evaluate", "has no checkpoint", "ckpt_path=untrained", "pretrained.path="):
        assert word in message


def test_retrieval__wrong_paths_are_an_error_before_anything_runs(tmp_path, capsys):
    paths = ["query.features_path=/no/such", "bank.features_path=/no/such"]
    assert main("retrieval_from_bank", ["-cn", "retrieval_from_bank", f"dir.root={tmp_path}", *paths]) == 2
    assert "retrieval.query.features_path: /no/such: there are no features" in capsys.readouterr().err
    assert main("retrieval_from_bank", ["-cn", "retrieval_from_bank", f"dir.root={tmp_path}"]) == 2
    assert "This experiment has no model" in capsys.readouterr().err


def test_settings__are_those_of_the_groups():
    import yaml

    groups = Path(__file__).parents[3] / "eztorch/configs/evaluation"
    read = {name: yaml.safe_load((groups / f"{name}.yaml").read_text()) for name in ("extract", "knn", "retrieval")}
    assert read_settings(ExtractSettings, read["extract"], "extract") == ExtractSettings()
    assert list(KNNSettings().ks) == read["knn"].pop("k")
    assert read_settings(KNNSettings, read["knn"], "knn") == KNNSettings()
    del read["retrieval"]["defaults"]
    side = yaml.safe_load((groups / "retrieval_side.yaml").read_text())
    read["retrieval"]["query"] |= side
    read["retrieval"]["bank"] |= side
    assert read_settings(RetrievalSettings, read["retrieval"], "retrieval").sides == RetrievalSettings().sides
    assert list(RetrievalSettings().ranks) == read["retrieval"]["ranks"]
    assert read_settings(RetrievalSide, {"split": "val", **side}, "x") == RetrievalSide(split="val")
    with pytest.raises(ConfigError, match=r"knn: unknown|knn='x'"):
        read_settings(KNNSettings, "x", "knn")


def test_probe__without_a_section_is_that_of_the_group():
    import yaml

    group = yaml.safe_load((Path(__file__).parents[3] / "eztorch/configs/evaluation/linear_probe.yaml").read_text())
    assert group.pop("_target_") == "eztorch.evaluation.LinearProbe"
    arguments = signature(LinearProbe).parameters
    defaults = {name: arguments[name].default for name in group}
    assert {name: list(one) if isinstance(one, tuple) else one for name, one in defaults.items()} == group
