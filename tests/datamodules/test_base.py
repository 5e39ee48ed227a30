from __future__ import annotations

from itertools import chain
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch.utils.data import DistributedSampler

from eztorch.datamodules import BaseDataModule, DumbDataModule, RandomDataModule
from eztorch.utils.errors import ConfigError

DATASET = {"shape": [2], "len_dataset": 22}


def make(train=None, val=None, **arguments) -> RandomDataModule:
    train = {"dataset": DATASET, "global_batch_size": 4} | (train or {})
    if val is not None:
        val = {"dataset": {"shape": [2], "len_dataset": 7}, "global_batch_size": 4} | val
    return RandomDataModule(train=train, val=val, **arguments)


def attach(datamodule: BaseDataModule, rank: int, world: int) -> BaseDataModule:
    datamodule.trainer = SimpleNamespace(world_size=world, global_rank=rank)
    return datamodule


def flat(lists) -> list[int]:
    return list(chain.from_iterable(lists))


def indices(loader) -> list[list[int]]:
    return [batch["idx"].tolist() for batch in loader]


class Recorder(LightningModule):
    """Learns nothing; notes what it is trained on."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen = []

    def training_step(self, batch, batch_idx):
        self.seen.append((self.current_epoch, batch_idx, batch["idx"].tolist()))
        return self.weight.sum()

    def validation_step(self, batch, batch_idx):
        return None

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class SaveAt(Callback):
    def __init__(self, step, path):
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, *arguments):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def trainer(tmp_path, **arguments) -> Trainer:
    usual = {
        "accelerator": "cpu",
        "max_epochs": 3,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "default_root_dir": tmp_path,
        "use_distributed_sampler": False,
    }
    return Trainer(**(usual | arguments))


lightning_run = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers:lightning.pytorch.utilities.warnings.PossibleUserWarning",
    "ignore:The `srun` command is available",
    "ignore:.isinstance.treespec, LeafSpec:FutureWarning",  # Lightning's own use of torch
    "ignore:You defined a `validation_step` but have no `val_dataloader`",
)


def test_training__is_shuffled_every_epoch_on_one_device():
    loader = make().train_dataloader()
    epochs = []
    for epoch in range(2):
        loader.batch_sampler.sampler.set_epoch(epoch)
        epochs.append(flat(indices(loader)))
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(22))
    assert epochs[0] != epochs[1] != list(range(22))
    assert flat(indices(make({"loader": {"shuffle": False}}).train_dataloader())) == list(range(22))


@pytest.mark.parametrize(("drop_last", "batches"), [(True, 5), (False, 6)])
def test_training__drops_the_last_batch_where_it_is_told_to(drop_last, batches):
    loader = make({"loader": {"drop_last": drop_last}}).train_dataloader()
    assert len(indices(loader)) == len(loader) == batches


def test_training__batches_of_ranks_make_up_that_of_one_process():
    spec = {"loader": {"drop_last": True}}
    single = indices(make(spec).train_dataloader())
    ranks = [indices(attach(make(spec), rank, 2).train_dataloader()) for rank in range(2)]
    assert [sorted(one + two) for one, two in zip(*ranks, strict=True)] == [sorted(batch) for batch in single]


def test_evaluation__ranks_together_read_every_sample_once():
    ranks = [flat(indices(attach(make(val={}), rank, 4).val_dataloader())) for rank in range(4)]
    assert [len(rank) for rank in ranks] == [2, 2, 2, 1]
    assert sorted(flat(ranks)) == list(range(7))
    assert indices(make(val={}).val_dataloader()) == [[0, 1, 2, 3], [4, 5, 6]]


def test_evaluation__of_fewer_samples_than_processes_is_an_error():
    assert len(flat(indices(attach(make(val={"global_batch_size": 7}), 6, 7).val_dataloader()))) == 1
    with pytest.raises(ConfigError, match=r"The val split has 7 sample\(s\), fewer than the 8 processes"):
        attach(make(val={"global_batch_size": 8}), 0, 8).val_dataloader()


def test_loaders__have_samplers_that_lightning_leaves_alone():
    datamodule = make(val={})
    assert isinstance(datamodule.train_dataloader().batch_sampler.sampler, DistributedSampler)
    assert isinstance(datamodule.val_dataloader().sampler, DistributedSampler)


def test_features__are_read_from_training_samples_as_in_evaluation():
    def mark(kind):
        return {
            "_target_": "eztorch.transforms.ApplyTransformOnDict",
            "transform": lambda sample: sample | {"kind": kind},
        }

    datamodule = make({"transform": mark("train")}, {"transform": mark("val"), "global_batch_size": 5})
    batches = list(datamodule.feature_dataloader("train"))
    assert flat(batch["idx"].tolist() for batch in batches) == list(range(22))
    assert {kind for batch in batches for kind in batch["kind"]} == {"val"}
    assert len(batches[0]["idx"]) == 5
    assert {kind for batch in datamodule.train_dataloader() for kind in batch["kind"]} == {"train"}
    with pytest.raises(ConfigError, match=r"neither datamodule.val nor datamodule.test"):
        make().feature_dataloader("train")
    with pytest.raises(ConfigError, match=r"split='test' is not known"):
        datamodule.feature_dataloader("test")


def test_splits__that_are_not_there_have_no_loader():
    datamodule = make()
    assert not is_overridden("val_dataloader", datamodule)
    with pytest.raises(ConfigError, match=r"split='test' is not known; expected one of \['train'\]"):
        datamodule.test_dataloader()
    assert (datamodule.train_num_samples, datamodule.val_num_samples, datamodule.test_num_samples) == (22, 0, 0)


def test_batch_size__is_divided_among_the_processes():
    assert attach(make(), 1, 2).train_dataloader().batch_sampler.batch_size == 2
    with pytest.raises(ConfigError, match=r"datamodule.train.global_batch_size=4 cannot be divided among 3 processes"):
        attach(make(), 0, 3).train_dataloader()


def test_batch_size__of_more_than_all_samples_is_an_error_where_it_leaves_no_batch():
    with pytest.raises(ConfigError, match=r"global_batch_size=64 is more than the 22 training samples"):
        make({"global_batch_size": 64, "loader": {"drop_last": True}}).train_dataloader()
    assert len(make({"global_batch_size": 64}).train_dataloader()) == 1


def test_workers__live_on_unless_told_not_to_and_their_options_do_not_count_without_them():
    loader = make({"loader": {"num_workers": 1}}).train_dataloader()
    assert loader.persistent_workers
    loader = make({"loader": {"num_workers": 1, "persistent_workers": False, "prefetch_factor": 3}}).train_dataloader()
    assert (loader.persistent_workers, loader.prefetch_factor) == (False, 3)
    options = {"num_workers": 0, "persistent_workers": True, "prefetch_factor": 3, "timeout": 9}
    assert not make({"loader": options}).train_dataloader().persistent_workers


def test_memory__is_pinned_where_there_is_a_gpu():
    loader = make({"loader": {"pin_memory": True}}).train_dataloader()
    assert loader.pin_memory == torch.cuda.is_available()
    next(iter(loader))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"loader": {"batch_size": 8}},
            r"datamodule.train.loader.batch_size=8: write datamodule.train.global_batch_size",
        ),
        ({"loader": {"num_worker": 8}}, r"datamodule.train.loader.num_worker: unknown key. Did you mean 'num_workers'"),
        (
            {"loader": {"num_workers": -1}},
            "datamodule.train.loader.num_workers=-1; expected .* at least 0",
        ),
        ({"loader": {"num_workers": "x"}}, "datamodule.train.loader.num_workers='x'; expected a whole number"),
        ({"loader": {"collate_fn": "multiple_sample"}}, "train.loader.collate_fn='multiple_sample' is not known"),
        ({"transfrom": None}, "datamodule.train.transfrom: unknown key. Did you mean 'transform'"),
        ({"global_batch_size": None}, "datamodule.train.global_batch_size=None; expected a whole number"),
        ({"global_batch_size": 0}, "datamodule.train.global_batch_size=0"),
        (
            {"dataset": {"shape": [2], "len_dataset": 3, "num_view": 2}},
            "unknown key 'num_view'. Did you mean 'num_views'",
        ),
        ({"dataset": {"shape": [2]}}, "datamodule.train.dataset=.*expected at least shape and len_dataset"),
    ],
)
def test_split__errors_name_the_key(spec, message):
    with pytest.raises(ConfigError, match=message):
        make(spec).setup("fit")


@pytest.mark.parametrize("key", ["shuffle", "drop_last"])
def test_evaluation__refuses_to_lose_or_mix_samples(key):
    with pytest.raises(
        ConfigError, match=rf"datamodule.val.loader.{key}=true: every sample is evaluated once and in order"
    ):
        make(val={"loader": {key: True}})


def test_datamodule__changes_nothing_of_what_it_is_given():
    spec = {"dataset": dict(DATASET), "global_batch_size": 4, "loader": {"collate_fn": "default", "num_workers": 0}}
    given = {**spec, "dataset": dict(DATASET), "loader": dict(spec["loader"])}
    RandomDataModule(train=spec).train_dataloader()
    assert spec == given
    assert DumbDataModule is RandomDataModule


@lightning_run
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("step", [2, 6, 8])
def test_resume__continues_where_it_stood_in_the_epoch(tmp_path, workers, step):
    def run(model, callbacks, ckpt_path=None):
        datamodule = make({"loader": {"num_workers": workers, "drop_last": True}, "global_batch_size": 5}, val={})
        trainer(tmp_path, callbacks=callbacks).fit(model, datamodule=datamodule, ckpt_path=ckpt_path)

    whole, rest = Recorder(), Recorder()
    run(whole, [SaveAt(step, tmp_path / "middle.ckpt")])
    run(rest, [], tmp_path / "middle.ckpt")
    assert len(whole.seen) == 12
    assert rest.seen == whole.seen[step:]


@lightning_run
def test_epoch__of_fewer_batches_begins_anew_after_it(tmp_path):
    whole, rest = Recorder(), Recorder()
    for model, callbacks, checkpoint in (
        (whole, [SaveAt(2, tmp_path / "end.ckpt")], None),
        (rest, [], tmp_path / "end.ckpt"),
    ):
        trainer(tmp_path, limit_train_batches=2, callbacks=callbacks).fit(
            model, datamodule=make(), ckpt_path=checkpoint
        )
    assert rest.seen == whole.seen[2:]
    assert len({tuple(batch) for _, _, batch in whole.seen}) == 6


@lightning_run
def test_overfitting__reads_the_same_batches_in_every_epoch(tmp_path):
    model = Recorder()
    trainer(tmp_path, overfit_batches=2).fit(model, datamodule=make())
    assert [batch for _, _, batch in model.seen] == [[0, 1, 2, 3], [4, 5, 6, 7]] * 3
