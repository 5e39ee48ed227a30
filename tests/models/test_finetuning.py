"""What fine-tuning and linear evaluation make of a trunk: what learns, at which rate, and what stays."""

from __future__ import annotations

import math

import pytest
import torch
from lightning.pytorch import Callback
from tiny_transfer import CLASSES, WIDTH, Trunk, make_data, make_model, make_trainer, optimizer_of
from torch import nn
from torchvision.models import resnet18

from eztorch.models import FinetuningModel, LinearClassifierEvaluation
from eztorch.models.heads import LinearHead
from eztorch.models.siamese import SCEModel
from eztorch.models.trunks import create_resnet
from eztorch.modules import batch_norms
from eztorch.utils.config import build
from eztorch.utils.errors import ConfigError

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),  # the data is in memory
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated"),  # Lightning 2.6, torch 2.15
    pytest.mark.filterwarnings("ignore:Found . module.s. in eval mode"),  # the frozen ones
    pytest.mark.filterwarnings("ignore:The `srun` command is available"),  # where SLURM is installed
]


class Rates(Callback):
    """Keeps the rates of every step: by weight decay, of trunk and classifier."""

    def __init__(self):
        self.steps = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        names = {id(parameter): name for name, parameter in pl_module.named_parameters()}
        (optimizer,) = trainer.optimizers
        self.steps.append({names[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]})


def fit(tmp_path, case, counts=(8, 7), trainer_options=None, **keys):
    rates, model = Rates(), make_model(case, **keys)
    trainer = make_trainer(tmp_path, callbacks=[rates], **(trainer_options or {}))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trainer.fit(model, datamodule=make_data(*counts))
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    return model, trainer, rates.steps, changed


@pytest.mark.parametrize("case", ["linear", "frozen"])
def test_frozen_trunk__has_no_state_of_the_optimizer_and_nothing_of_it_changes(tmp_path, case):
    model, trainer, steps, changed = fit(tmp_path, case)
    assert changed == {"classifier.weight", "classifier.bias"} == set(steps[0])
    assert not any(parameter.requires_grad for parameter in model.trunk.parameters())
    assert not model.trunk.training
    (optimizer,) = trainer.optimizers
    assert {id(parameter) for parameter in optimizer.state} == {id(p) for p in model.classifier.parameters()}


@pytest.mark.parametrize("case", ["linear", "frozen"])
def test_frozen_trunk__stays_frozen_whoever_changes_the_mode(case):
    model = make_model(case)
    for mode in (True, False, True):
        model.train(mode)
        assert not any(part.training for part in model.trunk.modules())
        assert model.classifier.training is mode


def test_frozen_trunk__uses_its_statistics_and_no_dropout_in_training():
    trunk = nn.Sequential(Trunk(), nn.Dropout(0.9))
    model, batch = make_model("linear", trunk=trunk), make_data(8, 8).dataset("train")
    inputs = torch.stack([batch[i]["input"] for i in range(4)])
    expected = model.eval()(inputs)
    assert torch.equal(model.train()(inputs), expected)


def test_two_groups__have_their_rates_at_every_step_of_the_schedule(tmp_path):
    _, _, steps, changed = fit(tmp_path, "two_groups", counts=(12, 7))
    assert len(steps) == 9
    for step, rates in enumerate(steps):
        warming, falling = 0.1 + 0.4 * step / 3, 0.02 + 0.48 * (1 + math.cos(math.pi * (step - 3) / 6)) / 2
        rate = warming if step < 3 else falling
        for name, found in rates.items():
            assert found == pytest.approx(rate / 10 if name.startswith("trunk.") else rate), (step, name)
    assert steps[0].keys() == {"trunk.0.weight", "trunk.0.bias", "trunk.1.weight", "trunk.1.bias"} | {
        "classifier.weight",
        "classifier.bias",
    }
    assert changed == steps[0].keys()  # and no statistics


@pytest.mark.parametrize("scheduler", ["with", "without"])
def test_layer_decay__goes_over_trunk_and_classifier_at_every_step(tmp_path, scheduler):
    keys = {"layer_decay_lr": 0.5} | ({} if scheduler == "with" else {"scheduler": None})
    _, _, steps, _ = fit(tmp_path, "plain", counts=(12, 7), optimizer=optimizer_of(**keys))
    layers = {"trunk.0": 0, "trunk.1": 1, "classifier": 2}
    for rates in steps:
        for name, rate in rates.items():
            layer = layers[name.rpartition(".")[0]]
            assert rate == pytest.approx(rates["classifier.weight"] * 0.5 ** (2 - layer))
    base = [rates["classifier.weight"] for rates in steps]
    assert base[:4] == pytest.approx([0.1, 0.1 + 0.4 / 3, 0.1 + 0.8 / 3, 0.5] if scheduler == "with" else [0.5] * 4)


@pytest.mark.parametrize(("freeze", "learns"), [(True, True), ("statistics", True), ("all", False)])
def test_freeze_bn_layers__keeps_statistics_and_scales_where_it_is_asked_to(tmp_path, freeze, learns):
    model, _, _, changed = fit(tmp_path, "plain", freeze_bn_layers=freeze)
    assert not any(name.startswith("trunk.1.") and "running" in name for name in changed)
    assert ({"trunk.1.weight", "trunk.1.bias"} <= changed) is learns
    assert {"trunk.0.weight", "classifier.weight"} <= changed
    assert not batch_norms(model)[0].training


def test_plain_finetuning__changes_everything(tmp_path):
    model, _, _, changed = fit(tmp_path, "plain")
    assert changed == set(model.state_dict())


@pytest.mark.parametrize(("samples", "momentum"), [(8, 0.1), (800, 0.05)])
def test_update_bn_momentum__is_that_of_the_paper_and_acts(tmp_path, samples, momentum):
    """1 - max(1 - 10 / s, 0.9) of the new statistics, for s = 2 and s = 200 batches an epoch."""
    limits = {"max_steps": 1, "max_epochs": -1, "limit_val_batches": 0}
    model, _, _, _ = fit(tmp_path, "plain", (samples, 7), limits, update_bn_momentum=True, optimizer=optimizer_of())
    (norm,) = batch_norms(model)
    assert norm.momentum == pytest.approx(momentum)
    other, _, _, _ = fit(tmp_path, "plain", (samples, 7), limits, optimizer=optimizer_of())
    # From running means of 0, one batch moves them by the momentum times its mean.
    torch.testing.assert_close(norm.running_mean / momentum, batch_norms(other)[0].running_mean / 0.1)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"two_groups": True},
            r"model.two_groups=true, and model.optimizer has one rate: write _target_: .*two_groups",
        ),
        ({"freeze_trunk": True, "update_bn_momentum": True}, "frozen by model.freeze_trunk=true"),
        ({"freeze_bn_layers": "all", "update_bn_momentum": True}, "frozen by model.freeze_bn_layers=all"),
        ({"freeze_bn_layers": "al"}, "Did you mean 'all'"),
        ({"trunk_pattern": "^trunk"}, "of model.pretrained_trunk_path, which is not given"),
        ({"classifier": LinearHead(input_dim=5, output_dim=2)}, "takes 5 features, and the trunk gives 4"),
        (
            {"pretrained_trunk_path": "/nowhere.ckpt"},
            "model.pretrained_trunk_path=/nowhere.ckpt: there is no such file",
        ),
    ],
)
def test_keys__that_cannot_be_are_an_error(keys, message):
    with pytest.raises(ConfigError, match=message):
        make_model("plain", **keys)


def test_two_groups__of_one_rate_or_of_a_frozen_trunk_are_an_error():
    two = optimizer_of(_target_="eztorch.optimizers.optimizer_factory_two_groups", initial_lr1=1, initial_lr2=1)
    with pytest.raises(ConfigError, match=r"two_groups=false, and model\.optimizer has initial_lr1"):
        make_model("plain", two_groups=False, optimizer=two)
    with pytest.raises(ConfigError, match=r"initial_lr1, and model\.freeze_trunk=true"):
        make_model("frozen", optimizer=two)


def test_training_step__of_a_classifier_of_fewer_classes_is_an_error(tmp_path):
    model = make_model("linear", trunk=None)
    model.classifier = nn.Linear(WIDTH, CLASSES - 1)
    with pytest.raises(ConfigError, match="gives 5 logits, and the data has 6 classes"):
        make_trainer(tmp_path).fit(model, datamodule=make_data(8, 8))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files of weights of a residual network from three hands, and the weights that its trunk should have."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(7)
    plain = resnet18().state_dict()
    trunk = {name: value for name, value in plain.items() if not name.startswith("fc.")}
    other = {name: value + 1 for name, value in trunk.items()}
    run = SCEModel(
        trunk=create_resnet("resnet18", num_classes=0),
        projector=LinearHead(input_dim=512, output_dim=4),
        optimizer=optimizer_of(),
        queue={"size": 8, "feature_dim": 4},
        shuffle_bn=False,
    )
    run.trunk.load_state_dict(trunk)
    run.target.trunk.load_state_dict(other)
    trainer = make_trainer(folder)
    trainer.strategy.connect(run)
    trainer.save_checkpoint(folder / "run.ckpt", weights_only=True)
    momentum = {f"momentum_trunk.{name}": value for name, value in other.items()}
    ours = {f"trunk.{name}": value for name, value in trunk.items()}
    torch.save({"state_dict": {**momentum, **ours, "queue": torch.zeros(4, 8)}}, folder / "predecessor.ckpt")
    torch.save(plain, folder / "torchvision.pth")
    return folder, trunk


@pytest.mark.parametrize("kind", [FinetuningModel, LinearClassifierEvaluation])
@pytest.mark.parametrize(
    ("name", "pattern"),
    [("run.ckpt", None), ("predecessor.ckpt", r"^(trunk\.)"), ("predecessor.ckpt", None), ("torchvision.pth", None)],
)
def test_pretrained_trunk_path__loads_the_trunk_of(files, kind, name, pattern):
    folder, expected = files
    model = build(
        {
            "_target_": f"eztorch.models.{kind.__name__}",
            "_recursive_": False,
            "trunk": {"_target_": "eztorch.models.trunks.create_resnet", "name": "resnet18", "num_classes": 0},
            "classifier": {"_target_": "eztorch.models.heads.LinearHead", "input_dim": 512, "output_dim": 3},
            "optimizer": optimizer_of(),
            "pretrained_trunk_path": str(folder / name),
            "trunk_pattern": pattern,
        }
    )
    found = model.trunk.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


def test_pretrained_trunk_path__of_which_nothing_matches_is_an_error(files):
    folder, _ = files
    with pytest.raises(ConfigError, match=r"pattern='\^\(backbone"):
        make_model("plain", pretrained_trunk_path=str(folder / "run.ckpt"), trunk_pattern=r"^(backbone\.)")
    other = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(ConfigError, match=r"no weight of .* belongs to Sequential"):
        make_model("plain", trunk=other, pretrained_trunk_path=str(folder / "torchvision.pth"))
