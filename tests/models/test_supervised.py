import subprocess
import sys

import pytest
import torch
from lightning.pytorch import Callback, LightningModule
from tiny_classifier import CLASSES, OPTIMIZER, Clips, Data, make_model, make_trainer, predict, validate
from torch import nn
from torch.nn import functional as F

from eztorch.callbacks import PredictionWriter
from eztorch.evaluation import Predictions
from eztorch.utils.config import build
from eztorch.utils.errors import ConfigError, DataError

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),  # the data is in memory
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated"),  # Lightning 2.6, torch 2.15
    pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no"),  # some tests only train
    pytest.mark.filterwarnings("ignore:The `srun` command is available"),  # where SLURM is installed
]


class Scalars(Callback):
    """Keeps the output of every training step."""

    def __init__(self):
        self.steps = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.steps.append(outputs)


def batch_of(labels, **extra):
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(len(labels), 1, 2, 2, 2, generator=generator)
    return {"input": inputs, "label": torch.tensor(labels), "idx": torch.arange(len(labels)), **extra}


def evaluation_views():
    """Logits of a new model (39, 6), labels (39,) and videos (39,) of the evaluation set."""
    clips = Clips(13, views=3)
    with torch.no_grad():
        logits = make_model()(clips.clips.flatten(0, 1))
    return logits, torch.tensor(clips.labels).repeat_interleave(3), torch.arange(13).repeat_interleave(3)


def reference(scores, labels):
    """Loss and accuracies of probabilities, by hand."""
    order = scores.argsort(dim=1, descending=True)
    return {
        "val/loss": -scores[range(len(labels)), labels].log().mean().item(),
        "val/acc_1": (order[:, 0] == labels).double().mean().item(),
        "val/acc_5": (order[:, :5] == labels[:, None]).any(1).double().mean().item(),
        "val/n_evaluated": 13.0,
        "val/n_expected": 13.0,
    }


def expected_values(name):
    logits, labels, _ = evaluation_views()
    probabilities = logits.double().softmax(1)
    if name is None:
        return reference(probabilities, labels)
    views = probabilities.unflatten(0, (13, 3))
    scores = views.amax(1) if name == "same_max" else views.mean(1)
    alone = reference(probabilities, labels)
    return {
        **reference(scores / scores.sum(1, keepdim=True), labels[::3]),
        **{f"val/clip_acc_{k}": alone[f"val/acc_{k}"] for k in (1, 5)},
        "val/n_clips": 39.0,
    }


def test_fit__learns_and_gives_scalars_of_every_step():
    optimizer = {**OPTIMIZER, "initial_lr": 0.05, "scheduler": None}
    scalars, model = Scalars(), make_model(optimizer=optimizer, val_time_augmentation={"name": "avg_group"})
    trainer = make_trainer(max_epochs=20, callbacks=[scalars])
    trainer.fit(model, datamodule=Data())
    assert len(scalars.steps) == 60
    for outputs in scalars.steps:
        assert set(outputs["scalars"]) == {"train/loss", "train/acc_1", "train/acc_5"}
        assert all(value.shape == () and not value.requires_grad for value in outputs["scalars"].values())
        assert outputs["logits"].shape == (8, CLASSES)
        assert not outputs["logits"].requires_grad
        assert outputs["scalars"]["train/loss"] == outputs["loss"].detach()
    assert trainer.callback_metrics["val/acc_1"] > 0.5  # chance is 0.17
    assert scalars.steps[-1]["loss"] < 0.6 * scalars.steps[0]["loss"]
    assert trainer.callback_metrics["val/n_evaluated"] == trainer.callback_metrics["val/n_expected"] == 13


@pytest.mark.parametrize("name", [None, "avg_group", "same_avg", "same_max"])
def test_validate__works_without_a_fit_and_equals_a_computation_by_hand(name):
    assert validate(name) == pytest.approx(expected_values(name), rel=1e-5)


def test_test__has_its_own_time_augmentation():
    model = make_model(test_time_augmentation={"name": "avg_group"})
    (values,) = make_trainer().test(model, datamodule=Data(), verbose=False)
    expected = {name.replace("val/", "test/"): value for name, value in expected_values("avg_group").items()}
    assert values == pytest.approx(expected, rel=1e-5)


def test_validate__without_a_datamodule_does_not_say_how_many_to_expect():
    (values,) = make_trainer().validate(make_model(), Data().val_dataloader(), verbose=False)
    assert "val/n_expected" not in values
    assert values["val/n_evaluated"] == 13


def test_validate__every_epoch_begins_anew():
    class Values(Callback):
        def __init__(self):
            self.counts = []

        def on_validation_end(self, trainer, pl_module):
            self.counts.append(int(trainer.callback_metrics["val/n_evaluated"]))

    values = Values()
    make_trainer(callbacks=[values]).fit(make_model(), datamodule=Data())
    assert values.counts == [13, 13, 13]


@pytest.mark.parametrize("name", [None, "avg_group", "same_max"])
def test_validate__of_two_processes_is_that_of_one(evaluations, name):
    for results in evaluations:
        assert results["validate"][name] == pytest.approx(expected_values(name), rel=1e-5)


def test_fit__resumed_ends_with_the_weights_of_the_uninterrupted_one(tmp_path):
    whole = make_model()
    make_trainer().fit(whole, datamodule=Data())

    class Stop(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            trainer.should_stop = True

    trainer = make_trainer(callbacks=[Stop()])
    trainer.fit(make_model(), datamodule=Data())
    assert trainer.global_step == 3
    trainer.save_checkpoint(tmp_path / "stopped.ckpt")
    resumed = make_model()
    make_trainer().fit(resumed, datamodule=Data(), ckpt_path=tmp_path / "stopped.ckpt")
    for name, weight in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], weight), name


def test_training_step__the_loss_is_the_mean_over_samples_with_a_label():
    model, batch = make_model(), batch_of([1, -1, 3, -1])
    outputs = model.training_step(batch, 0)
    labelled = batch["label"] >= 0
    expected = F.cross_entropy(model(batch["input"][labelled]), batch["label"][labelled])
    torch.testing.assert_close(outputs["loss"], expected)


def test_training_step__without_any_label_has_no_gradient_and_a_finite_loss():
    model = make_model()
    loss = model.training_step(batch_of([-1, -1]), 0)["loss"]
    loss.backward()
    assert loss == 0
    assert all(not parameter.grad.any() for parameter in model.parameters())


def test_training_step__smooths_labels_and_evaluation_does_not():
    model, batch = make_model(label_smoothing=0.2), batch_of([1, 2, 3])
    logits = model(batch["input"])
    expected = F.cross_entropy(logits, batch["label"], label_smoothing=0.2)
    torch.testing.assert_close(model.training_step(batch, 0)["loss"], expected)
    model.validation_step(batch, 0)
    expected = F.cross_entropy(logits, batch["label"])
    torch.testing.assert_close(model.val_metric.compute()["loss"], expected)


def test_training_step__the_loss_is_in_float32_under_autocast():
    model, batch = make_model(), batch_of([1, 2, 3])
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model.training_step(batch, 0)
    assert outputs["logits"].dtype == torch.bfloat16
    torch.testing.assert_close(outputs["loss"], F.cross_entropy(outputs["logits"].float(), batch["label"]))
    assert outputs["loss"].dtype == torch.float32


def test_steps__each_has_its_own_transform():
    def scaled(factor):
        return lambda inputs: inputs * factor

    model = make_model(train_transform=scaled(2), val_transform=scaled(3), test_transform=scaled(4))
    batch = batch_of([1, 2, 3])
    steps = {2: model.training_step, 3: model.validation_step, 4: model.test_step}
    for factor, step in steps.items():
        torch.testing.assert_close(step(batch, 0)["logits"], model(batch["input"] * factor).detach())


def test_steps__a_batch_of_failures_alone_gives_nothing():
    model = make_model()
    batch = {"input": None, "failures": [object()]}
    assert model.validation_step(batch, 0) is None
    assert model.test_step(batch, 0) is None


@pytest.mark.parametrize(("label", "others"), [(CLASSES, [0, -1]), (-2, [0, 5])])
@pytest.mark.parametrize("step", ["training_step", "validation_step"])
def test_steps__a_label_outside_the_logits_is_an_error_that_names_it(step, label, others):
    message = f"has label {label}; the model gives 6 logits, for labels 0 to 5"
    with pytest.raises(DataError, match=f"Sample 2 {message}"):
        getattr(make_model(), step)(batch_of([*others, label]), 0)
    with pytest.raises(DataError, match=f"bad.mp4 {message}"):
        getattr(make_model(), step)(batch_of([*others, label], video_name=["a.mp4", "b.mp4", "bad.mp4"]), 0)


def test_steps__fewer_logits_than_the_data_has_classes_is_an_error():
    data = Data()
    data.num_classes = CLASSES + 1
    with pytest.raises(ConfigError, match="The model gives 6 logits, and the data has 7 classes"):
        make_trainer().validate(make_model(), datamodule=data)


def test_configure_optimizers__layer_decay_goes_by_the_layers_of_the_inner_model():
    class Network(nn.Sequential):
        num_layers = 2

        def get_param_layer_id(self, name):
            return {"1.weight": 0, "1.bias": 0, "3.weight": 1, "3.bias": 1}[name]

    network = Network(nn.Flatten(), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, CLASSES))
    model = make_model(model=network, optimizer={**OPTIMIZER, "layer_decay_lr": 0.5, "scheduler": None})
    trainer = make_trainer(max_epochs=1)
    trainer.fit(model, datamodule=Data())
    rates = {id(p): group["lr"] for group in trainer.optimizers[0].param_groups for p in group["params"]}
    assert [rates[id(p)] for p in model.parameters()] == [0.25, 0.25, 0.5, 0.5]


def test_configure_optimizers__layer_decay_of_a_model_without_layers_is_an_error():
    model = make_model(optimizer={**OPTIMIZER, "layer_decay_lr": 0.5})
    with pytest.raises(ConfigError, match=r"layer_decay_lr=0.5 needs a model"):
        make_trainer().fit(model, datamodule=Data())


def test_supervised_model__builds_from_its_specification():
    network = {"_target_": "torch.nn.Linear", "in_features": 8, "out_features": CLASSES}
    transform = {"_target_": "torch.nn.Flatten"}
    spec = {
        "_target_": "eztorch.models.SupervisedModel",
        "_recursive_": False,
        "model": network,
        "optimizer": OPTIMIZER,
        "train_transform": transform,
        "val_transform": transform,
        "test_transform": transform,
        "val_time_augmentation": {"name": "avg_group"},
        "test_time_augmentation": None,
    }
    model = build(spec)
    assert model.training_step(batch_of([1, 2]), 0)["logits"].shape == (2, CLASSES)
    assert set(model.state_dict()) == {"model.weight", "model.bias"}


def test_models__importing_the_package_does_not_import_lightning():
    program = "import sys, eztorch.models; assert 'lightning' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_models__an_unknown_name_is_an_error():
    with pytest.raises(ConfigError, match="Did you mean 'SupervisedModel'"):
        build({"_target_": "eztorch.models.SupervizedModel"})


@pytest.mark.parametrize("videos", [7, 8, 9])
def test_predictions__of_views_in_several_batches_and_ranks_are_those_of_one_process(evaluations, tmp_path, videos):
    metrics = predict(tmp_path, videos)
    folder = evaluations[0]["folder"] / f"predictions_{videos}"
    alone, both = (Predictions.load(place / "test.safetensors") for place in (tmp_path, folder))
    assert both.idx.tolist() == alone.idx.tolist() == list(range(videos))
    for name in ("labels", "num_views"):
        assert torch.equal(getattr(both, name), getattr(alone, name)), name
    for name in ("names", "protocol"):
        assert getattr(both, name) == getattr(alone, name), name
    assert alone.num_views.tolist() == [5] * videos
    torch.testing.assert_close(both.scores, alone.scores, rtol=1e-6, atol=1e-7)
    for mine, theirs in zip(both.views, alone.views, strict=True):
        torch.testing.assert_close(mine, theirs)
    assert alone.views.clip_index.tolist() == list(range(5)) * videos
    torch.testing.assert_close(alone.views.scores.view(videos, 5, CLASSES).mean(1), alone.scores)
    for rank in evaluations:
        assert rank["predict"][videos] == pytest.approx(metrics, rel=1e-6)
    assert metrics["test/n_evaluated"] == metrics["test/n_scored"] == metrics["test/n_expected"] == videos


def test_predictions__are_not_written_where_a_test_gives_no_logits(tmp_path):
    class Silent(LightningModule):
        def test_step(self, batch, batch_idx):
            return None

    writer = PredictionWriter(tmp_path / "predictions")
    make_trainer(callbacks=[writer]).test(Silent(), datamodule=Data(), verbose=False)
    assert writer.written == []
    assert not (tmp_path / "predictions").exists()
