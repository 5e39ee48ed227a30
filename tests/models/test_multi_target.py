import warnings

import pytest
import torch
from lightning.pytorch import Callback
from tiny_classifier import CLASSES, OPTIMIZER, make_trainer
from tiny_targets import NOUNS, TargetClips, TargetData, make_target_model, predict_targets, validate_targets
from torch import nn
from torch.nn import functional as F

from eztorch.callbacks import FailureMonitor, PredictionWriter
from eztorch.datamodules import EpicKitchens55DataModule
from eztorch.evaluation import Predictions, measure
from eztorch.models import MultiTargetModel
from eztorch.models.heads import LinearHead
from eztorch.transforms.batch import Mix
from eztorch.utils.config import build
from eztorch.utils.errors import ConfigError, DataError

from ..conftest import moving_bar, write_video

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),  # the data is in memory
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated"),  # Lightning 2.6, torch 2.15
    pytest.mark.filterwarnings("ignore:The `srun` command is available"),  # where SLURM is installed
]


def batch_of(verbs, nouns):
    inputs = torch.randn(len(verbs), 1, 2, 2, 2, generator=torch.Generator().manual_seed(3))
    verbs, nouns = torch.tensor(verbs), torch.tensor(nouns)
    return {"input": inputs, "label": verbs, "verb": verbs, "noun": nouns, "idx": torch.arange(len(verbs))}


def expected_values(name):
    """Values of the evaluation set by hand."""
    clips = TargetClips(13, views=3)
    with torch.no_grad():
        logits = make_target_model()(clips.clips.flatten(0, 1))
    labels = torch.tensor(clips.labels)
    truth = {"verb": labels, "noun": labels % NOUNS}
    scores = {}
    for target, values in logits.items():
        views = values.double().softmax(1).unflatten(0, (13, 3))
        if name is None:
            scores[target], truth[target] = views.flatten(0, 1), truth[target].repeat_interleave(3)
        else:
            scores[target] = views.mean(1)
    found = {"val/n_evaluated": 13.0, "val/n_expected": 13.0, "val/loss": 0.0}
    for target, values in scores.items():
        loss = -values[range(len(values)), truth[target]].log().mean().item()
        found[f"val/{target}_loss"] = loss
        found["val/loss"] += loss
        found[f"val/{target}_acc_1"] = (values.argmax(1) == truth[target]).double().mean().item()
        if target == "verb":
            top = values.topk(5, dim=1).indices
            found["val/verb_acc_5"] = (top == truth[target][:, None]).any(1).double().mean().item()
    pairs = (scores["verb"][:, :, None] * scores["noun"][:, None]).flatten(1)
    right = NOUNS * truth["verb"] + truth["noun"]
    for k in (1, 5):
        found[f"val/acc_{k}"] = (pairs.topk(k, dim=1).indices == right[:, None]).any(1).double().mean().item()
    return found


@pytest.mark.parametrize("name", [None, "avg_group"])
def test_validate__equals_a_computation_by_hand(name):
    assert validate_targets(name) == pytest.approx(expected_values(name), rel=1e-5)


@pytest.mark.parametrize("name", [None, "avg_group"])
def test_validate__of_two_processes_is_that_of_one(evaluations, name):
    for results in evaluations:
        assert results["validate_targets"][name] == pytest.approx(expected_values(name), rel=1e-5)


def test_predictions__of_every_target_are_written_by_two_processes_as_by_one(evaluations, tmp_path):
    metrics, folder = predict_targets(tmp_path), evaluations[0]["folder"] / "predictions_targets"
    expected = expected_values("avg_group")
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in tmp_path.iterdir())
    for target, classes in (("verb", CLASSES), ("noun", NOUNS)):
        alone, both = (Predictions.load(place / f"test_{target}.safetensors") for place in (tmp_path, folder))
        assert both.idx.tolist() == alone.idx.tolist() == list(range(13))
        assert both.labels.tolist() == alone.labels.tolist() == [y % classes for y in TargetClips(13, views=3).labels]
        torch.testing.assert_close(both.scores, alone.scores, rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(alone.views.scores.view(13, 3, classes).mean(1), alone.scores)
        assert (alone.protocol["target"], alone.scores.shape) == (target, (13, classes))
        assert (tmp_path / f"test_{target}_classes.csv").is_file()
        values = measure(alone)
        assert values["acc_1"] == pytest.approx(expected[f"val/{target}_acc_1"])
        for name, value in values.items():
            assert metrics[f"test/{target}_{name}"] == pytest.approx(value, rel=1e-5), name
    for rank in evaluations:
        assert rank["predict_targets"] == pytest.approx(metrics, rel=1e-5)


def test_fit__learns_every_target():
    class Scalars(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            self.last = outputs["scalars"]

    scalars = Scalars()
    optimizer = {**OPTIMIZER, "initial_lr": 0.05, "scheduler": None}
    model = make_target_model(optimizer=optimizer, val_time_augmentation={"name": "avg_group"})
    trainer = make_trainer(max_epochs=30, callbacks=[scalars], check_val_every_n_epoch=30)
    trainer.fit(model, datamodule=TargetData())
    assert set(scalars.last) == {
        f"train/{name}"
        for name in ("loss", "verb_loss", "verb_acc_1", "verb_acc_5", "noun_loss", "noun_acc_1", "acc_1", "acc_5")
    }
    assert all(value.shape == () and not value.requires_grad for value in scalars.last.values())
    metrics = trainer.callback_metrics
    assert metrics["val/verb_acc_1"] > 0.5  # chance is 0.17
    assert metrics["val/noun_acc_1"] > 0.5  # chance is 0.33
    assert metrics["val/acc_1"] > 0.4


@pytest.mark.parametrize("loss", ["cross_entropy", {"name": "focal", "gamma": 1.0}])
def test_training_step__the_loss_is_the_weighted_sum_and_reaches_trunk_and_heads(loss):
    model, batch = make_target_model(weights={"noun": 0.5}, loss=loss), batch_of([1, 5, -1, 0], [2, -1, 1, 0])
    outputs = model.training_step(batch, 0)
    logits = model(batch["input"])
    total = 0.0
    for name, weight in (("verb", 1.0), ("noun", 0.5)):
        known = batch[name] >= 0
        losses = F.cross_entropy(logits[name][known], batch[name][known], reduction="none")
        total = total + weight * (losses if loss == "cross_entropy" else losses * (1 - (-losses).exp())).mean()
    torch.testing.assert_close(outputs["loss"], total)
    assert {name: value.shape[1] for name, value in outputs["logits"].items()} == {"verb": CLASSES, "noun": NOUNS}
    outputs["loss"].backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_training_step__the_accuracy_of_all_is_over_samples_with_every_label():
    model, batch = make_target_model(), batch_of([1, 5, -1, 0], [2, -1, 1, 0])
    logits = model(batch["input"])
    batch["verb"] = torch.where(batch["verb"] >= 0, logits["verb"].argmax(1), -1)
    batch["noun"][0] = logits["noun"][0].argmax()
    batch["noun"][3] = logits["noun"][3].argmin()
    scalars = model.training_step(batch, 0)["scalars"]
    assert scalars["train/acc_1"] == 0.5
    assert scalars["train/verb_acc_1"] == 1.0


def test_training_step__mixes_the_labels_of_every_target():
    model, batch = make_target_model(train_mix=Mix(mixup_alpha=1.0)), batch_of([1, 5, 3, 0], [2, 0, 1, 0])
    plain = make_target_model().training_step(batch, 0)["loss"]
    loss = model.training_step(batch, 0)["loss"]
    assert loss.isfinite()
    assert loss != plain


def test_steps__a_batch_of_failures_alone_gives_nothing():
    assert make_target_model().validation_step({"input": None, "failures": [object()]}, 0) is None


@pytest.mark.parametrize("step", ["training_step", "validation_step"])
def test_steps__errors_name_the_target(step):
    with pytest.raises(DataError, match=r"Sample 1 \(noun\) has label 3; the model gives 3 logits"):
        getattr(make_target_model(), step)(batch_of([1, 2], [0, 3]), 0)
    batch = batch_of([1, 2], [0, 1])
    del batch["noun"]
    with pytest.raises(DataError, match=r"model.heads.noun: the samples have no such target; a batch has idx, input"):
        getattr(make_target_model(), step)(batch, 0)


def test_validate__fewer_logits_than_a_target_has_classes_is_an_error():
    data = TargetData()
    data.target_classes["noun"] = 4
    with pytest.raises(ConfigError, match=r"model.heads.noun: The model gives 3 logits, and the data has 4 classes"):
        make_trainer().validate(make_target_model(), datamodule=data)


def test_layers__are_those_of_the_trunk_then_heads_side_by_side():
    class Trunk(nn.Sequential):
        num_layers, num_features = 2, 16

        def get_param_layer_id(self, name):
            return {"1": 0, "3": 1}[name.partition(".")[0]]

    trunk = Trunk(nn.Flatten(), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 16))
    heads = {"verb": LinearHead(input_dim=16, output_dim=CLASSES), "noun": LinearHead(input_dim=16, output_dim=NOUNS)}
    model = make_target_model(trunk=trunk, heads=heads)
    layers = {name: model.get_param_layer_id(name) for name, _ in model.named_parameters()}
    assert model.num_layers == 3
    assert [layers[f"{name}.weight"] for name in ("trunk.1", "trunk.3")] == [0, 1]
    assert {layer for name, layer in layers.items() if name.startswith("heads")} == {2}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": {}}, "model.heads is empty"),
        ({"weights": {"nuon": 2.0}}, "model.weights.nuon: there is no such head. Did you mean 'noun'"),
        ({"weights": {"noun": 0}}, "model.weights.noun=0; expected a number above 0"),
        ({"loss": "bce"}, "model.loss='bce' is of several classes a target"),
    ],
)
def test_multi_target_model__names_the_key_at_fault(options, message):
    with pytest.raises(ConfigError, match=message):
        make_target_model(**options)


def test_multi_target_model__builds_from_its_specification_and_tells_features_that_do_not_fit():
    head = {"_target_": "eztorch.models.heads.LinearHead", "input_dim": 8}
    spec = {
        "_target_": "eztorch.models.MultiTargetModel",
        "_recursive_": False,
        "trunk": {"_target_": "torch.nn.Flatten"},
        "heads": {"verb": {**head, "output_dim": CLASSES}, "noun": {**head, "output_dim": NOUNS}},
        "optimizer": OPTIMIZER,
    }
    model = build(spec)
    assert model.training_step(batch_of([1, 2], [0, 1]), 0)["logits"]["noun"].shape == (2, NOUNS)
    trunk = nn.Flatten()
    trunk.num_features = 9
    with pytest.raises(ConfigError, match=r"model.heads.verb takes 8 features, and the trunk gives 9"):
        build({**spec, "trunk": trunk})


COLUMNS = "uid,participant_id,video_id,start_timestamp,stop_timestamp,start_frame,stop_frame,verb_class,noun_class"


@pytest.fixture(scope="module")
def kitchens(tmp_path_factory):
    """EPIC-Kitchens-55 in its layout: an action of P01, and three of P27, the video of one of which is torn."""
    root = tmp_path_factory.mktemp("kitchens")
    lines = [
        f"{uid},{video[:3]},{video},00:00:00.{start},00:00:00.{start + 30},1,9,{verb},{noun}"
        for uid, (video, start, verb, noun) in enumerate(
            [("P01_01", 10, 1, 2), ("P27_01", 10, 3, 4), ("P27_01", 40, 5, 6), ("P27_02", 10, 7, 8)]
        )
    ]
    (root / "annotations").mkdir()
    (root / "annotations/EPIC_train_action_labels.csv").write_text("\n".join([COLUMNS, *lines]) + "\n")
    for name in ("P01_01", "P27_01", "P27_02"):
        path = root / "videos/train" / name[:3] / f"{name}.MP4"
        write_video(path, moving_bar(0, 0, num_frames=15, height=32, width=32))
        if name == "P27_02":
            path.write_bytes(path.read_bytes()[:40])
    return root


@pytest.mark.parametrize(("on_error", "measured"), [("skip", 2), ("count_as_wrong", 3)])
def test_validate__of_epic_kitchens_counts_a_torn_video_as_it_is_told_to(kitchens, tmp_path, on_error, measured):
    split = {
        "clip_sampler": {
            "_target_": "eztorch.datasets.clip_samplers.ConstantClipsPerVideoSampler",
            "clip_duration": 0.1,
            "clips_per_video": 2,
        },
        "decoder_args": {"frame_filter": {"subsample_type": "uniform", "num_samples": 2}},
        "global_batch_size": 4,
        "on_error": on_error,
    }
    datamodule = EpicKitchens55DataModule(
        kitchens, val=split, test=split, video_path_prefix=str(kitchens / "videos/train")
    )
    trunk = nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten())
    heads = {"verb": nn.Linear(3, 125), "noun": nn.Linear(3, 352)}
    with torch.no_grad():
        for head, rights in zip(heads.values(), ([3], [4]), strict=True):  # always the first action of P27
            head.weight.zero_()
            head.bias.zero_()[rights] = 1.0
    model = MultiTargetModel(
        trunk,
        heads,
        None,
        val_transform=torch.Tensor.float,
        test_transform=torch.Tensor.float,
        val_time_augmentation={"name": "avg_group"},
        test_time_augmentation={"name": "avg_group"},
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*could not be read")
        trainer = make_trainer(
            callbacks=[FailureMonitor(tmp_path / "failed_samples.csv"), PredictionWriter(tmp_path / "predictions")]
        )
        (values,) = trainer.validate(model, datamodule=datamodule, verbose=False)
        trainer.test(model, datamodule=datamodule, verbose=False)
    assert (values["val/n_evaluated"], values["val/n_expected"]) == (2, 3)
    for name in ("val/acc_1", "val/verb_acc_1", "val/noun_acc_1"):
        assert values[name] == pytest.approx(1 / measured)
    for target, labels, torn in (("verb", [3, 5], 7), ("noun", [4, 6], 8)):
        found = Predictions.load(tmp_path / f"predictions/test_{target}.safetensors")
        assert found.labels.tolist() == labels
        assert len(found.names) == 2
        assert (found.unanswered.labels.tolist() if on_error == "count_as_wrong" else [torn]) == [torn]
        assert measure(found)["acc_1"] == pytest.approx(1 / measured)
