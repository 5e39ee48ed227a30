"""What `PredictionWriter` writes of models of several kinds, over data in memory."""

import json

import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from sklearn.metrics import average_precision_score
from tiny_run import make_trainer
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from eztorch.callbacks import PredictionWriter
from eztorch.datasets.collate import collate
from eztorch.datasets.failures import SampleFailure
from eztorch.evaluation import Predictions
from eztorch.models import SupervisedModel
from eztorch.utils.errors import ConfigError

CLASSES = 6
TRAIT = torch.randn(10, CLASSES, generator=torch.Generator().manual_seed(0))  # what the model sees of each sample


class Memory(LightningDataModule):
    """Ten samples with these labels; the last cannot be read."""

    num_classes, test_num_samples = CLASSES, 10

    def __init__(self, labels, counts=False):
        super().__init__()
        self.samples = [{"input": x, "label": y, "idx": i} for i, (x, y) in enumerate(zip(TRAIT, labels, strict=True))]
        self.samples[-1] = SampleFailure(9, "torn.jpg", "pillow", "torn", 0, labels[9], counts)

    def test_dataloader(self):
        return DataLoader(self.samples, batch_size=4, collate_fn=collate)


def written(folder, data, module=None, **options):
    """Test a module; return its predictions and metrics."""
    module = module or SupervisedModel(nn.Identity(), None)
    trainer = make_trainer(folder, [PredictionWriter(folder, **options)])
    trainer.test(module, datamodule=data, verbose=False)
    metrics = {name.removeprefix("test/"): float(value) for name, value in trainer.callback_metrics.items()}
    return Predictions.load(folder / "test.safetensors"), metrics


def several_labels():
    labels = (torch.rand(10, CLASSES, generator=torch.Generator().manual_seed(1)) < 0.4).float()
    labels[9, 0] = 1
    return labels


@pytest.mark.parametrize("counts", [False, True])
def test_writer__of_several_labels_keeps_them(tmp_path, counts):
    labels = several_labels()
    model = SupervisedModel(nn.Identity(), None, loss="bce")
    found, metrics = written(tmp_path, Memory(labels, counts), model)
    torch.testing.assert_close(found.scores, TRAIT[:9].sigmoid())
    assert torch.equal(found.labels, labels[:9])
    assert (found.protocol["scores"], found.names, found.class_names) == ("sigmoid", (), ())
    scores, truth = TRAIT[:9].sigmoid(), labels[:9]
    if counts:
        assert torch.equal(found.unanswered.labels, labels[9:])
        scores, truth = torch.cat([scores, torch.full((1, CLASSES), -1.0)]), labels
    else:
        assert found.unanswered is None
    classes = truth.any(0)
    expected = average_precision_score(truth[:, classes], scores[:, classes])
    assert metrics["map"] == pytest.approx(expected, rel=1e-6)
    assert (metrics["n_scored"], metrics["n_evaluated"]) == (9, 9)
    assert (tmp_path / "test_classes.csv").read_text().startswith("class,name,n,average_precision\n")


def test_writer__of_soft_labels_takes_the_largest(tmp_path):
    soft = torch.randn(10, CLASSES, generator=torch.Generator().manual_seed(2)).softmax(1)
    found, metrics = written(tmp_path, Memory(soft, True))
    assert found.labels.tolist() == soft[:9].argmax(1).tolist()
    assert found.unanswered.labels.tolist() == [int(soft[9].argmax())]
    right = int((TRAIT[:9].argmax(1) == soft[:9].argmax(1)).sum())
    assert metrics["acc_1"] == pytest.approx(right / 10)


def test_writer__of_another_module_measures_what_it_gives(tmp_path):
    class Plain(LightningModule):
        def test_step(self, batch, batch_idx):
            return {"logits": batch["input"]} if batch["input"] is not None else None

    labels = torch.arange(10) % CLASSES
    labels[2] = -1
    found, metrics = written(tmp_path, Memory(labels), Plain(), groups={k: k // 3 for k in range(CLASSES)})
    torch.testing.assert_close(found.scores, TRAIT[:9].softmax(1))
    assert found.labels[2] == -1
    has_label = labels[:9] >= 0
    assert metrics["nll"] == pytest.approx(F.cross_entropy(TRAIT[:9][has_label], labels[:9][has_label]).item())
    assert metrics["n_scored"] == 8
    told = TRAIT[:9].argmax(1) // 3
    expected = (told == labels[:9] // 3)[has_label].double().mean().item()
    assert metrics["group_acc_argmax"] == pytest.approx(expected)


def test_writer__is_exact_again_in_a_second_test(tmp_path):
    labels = torch.arange(10) % CLASSES
    writer = PredictionWriter(tmp_path)
    trainer = make_trainer(tmp_path, [writer])
    contents = []
    for _ in range(2):
        trainer.test(SupervisedModel(nn.Identity(), None), datamodule=Memory(labels), verbose=False)
        contents.append(((tmp_path / "test.safetensors").read_bytes(), (tmp_path / "test.json").read_text()))
    assert contents[0] == contents[1]
    assert json.loads(contents[0][1])["protocol"]["failures"] == ["torn.jpg"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": ["acc1"]}, r"evaluation.metrics: there is no 'acc1'"),
        ({"bins": 0}, r"bins=0"),
        ({"threshold": -1}, r"threshold=-1; expected a probability"),
    ],
)
def test_writer__says_what_is_wrong_before_the_test(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        PredictionWriter(tmp_path, **options)


def test_writer__names_a_class_without_a_group(tmp_path):
    with pytest.raises(ConfigError, match=r"evaluation.groups: 5 of 6 classes have no group: 1, 2"):
        written(tmp_path, Memory(torch.arange(10) % CLASSES), groups={0: "a"})
