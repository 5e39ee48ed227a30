import copy
import functools

import pytest
import torch
from lightning.pytorch import Callback
from tiny_run import TinyData, TinyModule, fit, make_trainer
from torch import nn
from torch.nn import functional

from eztorch.callbacks import ModelCheckpoint, OnlineEvaluator
from eztorch.utils.errors import ConfigError


def momentum_sgd(model, num_steps_per_epoch, interval="step", momentum=0.9):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=momentum)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step / num_steps_per_epoch))
    return optimizer, {"scheduler": scheduler, "interval": interval}


def probe(classes=2, **options):
    return OnlineEvaluator(functools.partial(momentum_sgd, **options), nn.Linear(6, classes))


class Features(Callback):
    """Keeps what a probe learns from."""

    def __init__(self):
        self.train, self.val = [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.train.append((outputs["h"].clone(), batch["label"].clone()))

    def on_validation_start(self, *_):
        self.val = []

    def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.val.append((outputs["h"].clone().float(), batch["label"].clone()))


def train_by_hand(classifier, batches, per_epoch, interval="step", accumulate=1):
    """A plain loop over the features that a probe saw."""
    optimizer, scheduler = momentum_sgd(classifier, per_epoch, interval)
    for begin in range(0, len(batches), accumulate):
        h = torch.cat([h for h, _ in batches[begin : begin + accumulate]]).float()
        labels = torch.cat([labels for _, labels in batches[begin : begin + accumulate]])
        optimizer.zero_grad()
        functional.cross_entropy(classifier(h)[labels >= 0], labels[labels >= 0]).backward()
        optimizer.step()
        if interval == "step" or (begin // accumulate + 1) % per_epoch == 0:
            scheduler["scheduler"].step()


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("interval", ["step", "epoch"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_online_evaluator__learns_as_a_plain_loop_does(tmp_path, precision, interval, accumulate):
    evaluator, features = probe(interval=interval), Features()
    by_hand = copy.deepcopy(evaluator.classifier)
    data = TinyData(unlabelled=True)
    options = {"precision": precision, "accumulate_grad_batches": accumulate}
    run = fit(tmp_path, [features, evaluator], data=data, **options)
    train_by_hand(by_hand, features.train, 4 // accumulate, interval, accumulate)
    torch.testing.assert_close(evaluator.classifier.state_dict(), by_hand.state_dict())

    h, labels = torch.cat([h for h, _ in features.val]), torch.cat([labels for _, labels in features.val])
    logits, labels = by_hand(h)[labels >= 0], labels[labels >= 0]
    metrics = {name: float(value) for name, value in run.trainer.callback_metrics.items()}
    assert len(labels) == 6
    assert metrics["online/val_acc_1"] == pytest.approx((logits.argmax(1) == labels).float().mean().item())
    assert metrics["online/val_loss"] == pytest.approx(functional.cross_entropy(logits, labels).item(), rel=1e-4)
    assert metrics["online/train_acc_1"] > 0.8
    assert "online/val_acc_5" not in metrics


def test_online_evaluator__does_not_touch_the_model(tmp_path):
    plain = fit(tmp_path, [])
    probed = fit(tmp_path, [probe()])
    torch.testing.assert_close(probed.module.state_dict(), plain.module.state_dict(), rtol=0, atol=0)


def test_online_evaluator__has_the_top_five_with_more_than_five_classes(tmp_path):
    features = Features()
    evaluator = OnlineEvaluator(momentum_sgd, nn.Linear(6, 7))
    run = fit(tmp_path, [features, evaluator], max_epochs=1)
    hits = [
        labels[i] in evaluator.classifier(h)[i].topk(5).indices for h, labels in features.val for i in range(len(h))
    ]
    assert float(run.trainer.callback_metrics["online/val_acc_5"]) == pytest.approx(sum(map(bool, hits)) / len(hits))


class Modes(Callback):
    def __init__(self, evaluator):
        self.evaluator, self.seen = evaluator, set()

    def on_train_batch_end(self, *_):
        self.seen.add(("train", self.evaluator.classifier.training))

    def on_validation_batch_end(self, *_):
        self.seen.add(("val", self.evaluator.classifier.training))


def test_online_evaluator__trains_in_train_mode_and_is_evaluated_in_eval_mode(tmp_path):
    classifier = nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 2))
    evaluator = OnlineEvaluator(momentum_sgd, classifier)
    modes = Modes(evaluator)
    fit(tmp_path, [evaluator, modes], max_epochs=3)
    assert modes.seen == {("train", True), ("val", False)}


def test_online_evaluator__goes_on_where_a_checkpoint_left_it(tmp_path):
    def callbacks(every):
        return [probe(), ModelCheckpoint(tmp_path, "{epoch}", every_n_epochs=every, save_top_k=-1)]

    whole = callbacks(2)
    fit(tmp_path, whole, max_epochs=4, enable_checkpointing=True)
    parts = callbacks(2)
    path = str(tmp_path / "epoch=1.ckpt")
    fit(tmp_path, parts, max_epochs=4, enable_checkpointing=True, ckpt_path=path)
    expected, found = whole[0].state_dict(), parts[0].state_dict()
    torch.testing.assert_close(found["classifier"], expected["classifier"], rtol=0, atol=0)
    torch.testing.assert_close(found["optimizer"]["state"], expected["optimizer"]["state"], rtol=0, atol=0)
    assert found["scheduler"]["last_epoch"] == expected["scheduler"]["last_epoch"] == 16


def test_online_evaluator__evaluates_a_checkpoint_and_nothing_untrained(tmp_path):
    checkpoint = ModelCheckpoint(tmp_path, "last", enable_version_counter=False)
    run = fit(tmp_path, [probe(), checkpoint], enable_checkpointing=True)
    expected = float(run.trainer.callback_metrics["online/val_acc_1"])
    callbacks = [probe(), ModelCheckpoint(tmp_path, "last", enable_version_counter=False)]
    trainer = make_trainer(tmp_path, callbacks, enable_checkpointing=True)
    trainer.validate(TinyModule(), datamodule=TinyData(), verbose=False)
    assert "online/val_acc_1" not in trainer.callback_metrics
    trainer.validate(TinyModule(), datamodule=TinyData(), ckpt_path=str(tmp_path / "last.ckpt"), verbose=False)
    assert float(trainer.callback_metrics["online/val_acc_1"]) == expected


def test_online_evaluator__builds_from_specs_without_drawing_from_the_generators(tmp_path):
    before = torch.get_rng_state()
    evaluator = OnlineEvaluator(
        {"_target_": f"{__name__}.momentum_sgd"}, {"_target_": "torch.nn.Linear", "in_features": 6, "out_features": 2}
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert evaluator.classifier.out_features == 2


@pytest.mark.parametrize(
    ("evaluator", "text"),
    [
        (lambda: OnlineEvaluator(momentum_sgd, nn.Linear(6, 2), input_name="q"), "input_name='q'.*no such features"),
        (
            lambda: OnlineEvaluator(momentum_sgd, nn.Linear(7, 2)),
            "takes 7 features, and 'h' of the model has 6",
        ),
        (lambda: OnlineEvaluator(momentum_sgd, nn.Linear(6, 1)), "classifier has 1 outputs, and the data 2 classes"),
    ],
)
def test_online_evaluator__errors_name_the_value(tmp_path, evaluator, text):
    with pytest.raises(ConfigError, match=text):
        fit(tmp_path, [evaluator()])
