import pytest
import torch
from lightning.pytorch import LightningDataModule
from tiny_classifier import CLASSES, OPTIMIZER, Data, make_model, make_trainer
from torch import nn

from eztorch.losses import as_weights, class_loss, multi_label_loss
from eztorch.models import FinetuningModel, LinearClassifierEvaluation
from eztorch.models.criteria import make_criterion
from eztorch.models.steps import seed_step
from eztorch.transforms.batch import Mix
from eztorch.utils.errors import ConfigError

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),  # the data is in memory
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated"),  # Lightning 2.6, torch 2.15
    pytest.mark.filterwarnings("ignore:The `srun` command is available"),  # where SLURM is installed
]
LOGITS = torch.randn(4, CLASSES, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 5, 2, 2])
WEIGHTS = [0.5, 1.0, 2.0, 1.0, 1.0, 3.0]


class Unbalanced(Data):
    """The training samples are of classes 0 to 5, 4 each, but half of those of class 5 are of class 0."""

    num_classes = CLASSES

    def __init__(self):
        super().__init__()
        fives = [place for place, label in enumerate(self.train.labels) if label == 5]
        for place in fives[:2]:
            self.train.labels[place] = 0
        self.train_labels = self.train.labels


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("cross_entropy", class_loss(LOGITS, LABELS)),
        ("focal", class_loss(LOGITS, LABELS, gamma=2.0)),
        ({"name": "focal", "gamma": 0.5}, class_loss(LOGITS, LABELS, gamma=0.5)),
    ],
)
def test_criterion__of_one_class_is_the_function_of_its_name(loss, expected):
    torch.testing.assert_close(make_criterion(loss).loss(LOGITS, LABELS), expected)


@pytest.mark.parametrize(
    ("loss", "options"),
    [
        ("bce", {}),
        ("binary_focal", {"gamma": 2.0, "alpha": 0.25}),
        ({"name": "binary_focal", "alpha": 0.5}, {"gamma": 2.0, "alpha": 0.5}),
    ],
)
def test_criterion__of_several_classes_is_the_function_of_its_name(loss, options):
    labels = (LOGITS.roll(1, 0) > 0).float()
    torch.testing.assert_close(make_criterion(loss).loss(LOGITS, labels), multi_label_loss(LOGITS, labels, **options))


def test_criterion__weighs_classes():
    found = make_criterion("focal", class_weights=WEIGHTS).loss(LOGITS, LABELS)
    torch.testing.assert_close(found, class_loss(LOGITS, LABELS, gamma=2.0, class_weights=torch.tensor(WEIGHTS)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": "focl"}, r"model.loss='focl' is not known.*Did you mean 'focal'"),
        ({"loss": {"name": "focl"}}, r"model.loss.name='focl' is not known"),
        ({"loss": {"gamma": 2}}, "expected a name, or a mapping of a name"),
        ({"loss": {"name": "focal", "alpha": 0.2}}, r"model.loss.alpha: focal has no such option; it takes gamma"),
        ({"loss": {"name": "bce", "gamma": 2}}, r"model.loss.gamma: bce has no such option; it takes no options"),
        ({"loss": {"name": "focal", "gamma": -1}}, r"model.loss.gamma=-1; expected a number of at least 0"),
        ({"loss": {"name": "binary_focal", "alpha": 2}}, r"model.loss.alpha=2; expected a share from 0 to 1"),
        ({"loss": "bce", "class_weights": [1.0]}, "class_weights are of one class a sample, and model.loss=bce"),
        ({"loss": "focal", "class_weights": "balance"}, "model.class_weights='balance'; expected balanced"),
        ({"loss": "focal", "class_weights": [1, -1]}, "a number of at least 0"),
    ],
)
def test_make_criterion__names_the_key_at_fault(arguments, message):
    with pytest.raises(ConfigError, match=message):
        make_criterion(**arguments)


def test_class_weights__of_another_number_of_classes_are_an_error():
    with pytest.raises(ConfigError, match="has 2 numbers, and the model gives 6 logits"):
        make_criterion("focal", class_weights=[1, 2]).loss(LOGITS, LABELS)


def test_class_weights__balanced_are_those_of_the_training_labels():
    model, data = make_model(class_weights="balanced"), Unbalanced()
    make_trainer(max_epochs=1, limit_train_batches=1, limit_val_batches=0).fit(model, datamodule=data)
    counts = torch.tensor([6, 4, 4, 4, 4, 2])
    torch.testing.assert_close(model.criterion.class_weights.values, 24 / (6 * counts))
    found = model.criterion.loss(LOGITS, LABELS)
    torch.testing.assert_close(found, class_loss(LOGITS, LABELS, class_weights=24 / (6 * counts)))


def test_class_weights__balanced_are_not_needed_to_evaluate():
    (values,) = make_trainer().validate(make_model(class_weights="balanced"), datamodule=Data(), verbose=False)
    assert values == make_trainer().validate(make_model(), datamodule=Data(), verbose=False)[0]


def test_class_weights__balanced_need_labels():
    data = LightningDataModule.from_datasets(Data().train, Data().val)
    with pytest.raises(ConfigError, match="needs a datamodule that tells its `train_labels`"):
        make_trainer().fit(make_model(class_weights="balanced"), datamodule=data)


def training_batch():
    inputs = torch.randn(8, 1, 2, 2, 2, generator=torch.Generator().manual_seed(3))
    return {"input": inputs, "label": torch.tensor([0, 1, 2, 3, 4, 5, -1, 0]), "idx": torch.arange(8)}


@pytest.mark.parametrize("loss", ["cross_entropy", "focal"])
def test_train_mix__trains_on_mixed_samples_and_the_sum_of_their_losses(loss):
    mix = Mix(mixup_alpha=1.0, cutmix_alpha=1.0)
    model, batch = make_model(train_mix=mix, loss=loss), training_batch()
    outputs = model.training_step(batch, 0)
    seed_step(model, 0)  # what the step begins with
    inputs, mixture = mix(batch["input"])
    logits = model(inputs)
    torch.testing.assert_close(outputs["logits"], logits.detach())
    gamma = 2.0 if loss == "focal" else 0.0
    one_by_one = torch.stack(
        [
            mixture.share[i] * class_loss(logits[i : i + 1], batch["label"][i : i + 1], gamma=gamma)
            + (1 - mixture.share[i])
            * class_loss(logits[i : i + 1], batch["label"][mixture.partner[i]][None], gamma=gamma)
            for i in range(8)
        ]
    )
    known = mixture.labels(as_weights(batch["label"], CLASSES)).sum()
    torch.testing.assert_close(outputs["loss"], one_by_one.sum() / known)
    assert torch.equal(model.training_step(batch, 0)["loss"], outputs["loss"])  # drawn by the address of the step
    assert not torch.equal(model.training_step(batch, 1)["loss"], outputs["loss"])


def test_train_mix__leaves_evaluation_alone():
    batch = training_batch()
    plain, mixed = make_model(), make_model(train_mix={"_target_": "eztorch.transforms.batch.Mix", "mixup_alpha": 1.0})
    torch.testing.assert_close(mixed.validation_step(batch, 0), plain.validation_step(batch, 0))


def test_train_mix__accuracies_are_of_the_larger_weight():
    model = make_criterion("cross_entropy")
    targets = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.0, 0.0], [0.0, 0.4, 0.0]])
    assert model.answers(targets).tolist() == [0, -1, 1]


@pytest.mark.parametrize("kind", [FinetuningModel, LinearClassifierEvaluation])
def test_losses__are_those_of_every_classifier_of_one_class(kind):
    options = {"loss": {"name": "focal", "gamma": 1.0}, "class_weights": WEIGHTS, "train_mix": Mix(mixup_alpha=1.0)}
    torch.manual_seed(0)
    model, batch = kind(nn.Flatten(), nn.Linear(8, CLASSES), OPTIMIZER, **options), training_batch()
    outputs = model.training_step(batch, 0)
    seed_step(model, 0)
    inputs, mixture = model.train_mix(batch["input"])
    labels = mixture.labels(as_weights(batch["label"], CLASSES))
    expected = class_loss(model(inputs), labels, gamma=1.0, class_weights=torch.tensor(WEIGHTS))
    torch.testing.assert_close(outputs["loss"], expected)
