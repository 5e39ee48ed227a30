import pytest

from eztorch.data.shards import Shard, add_shard_argument, find_shard
from eztorch.engine.commands import Parser
from eztorch.utils.errors import ConfigError


def parse(*words):
    parser = Parser()
    add_shard_argument(parser)
    return parser.parse_words(words).shard


@pytest.fixture(autouse=True)
def no_slurm(monkeypatch):
    for name in ("SLURM_NTASKS", "SLURM_PROCID", "SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS", "SLURM_JOB_NAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("count", [1, 2, 3, 8, 20])
def test_shards__have_every_item_once(count):
    shared = [item for number in range(1, count + 1) for item in Shard(number, count).of(range(8))]
    assert sorted(shared) == list(range(8))


def test_find_shard__is_all_by_default_and_what_was_asked_for():
    assert find_shard(parse()) == (1, 1)
    assert find_shard(parse("--shard", "3/4")) == (3, 4)


def test_find_shard__is_that_of_the_slurm_task(monkeypatch):
    for name, value in {"SLURM_NTASKS": "4", "SLURM_PROCID": "1", "SLURM_STEP_ID": "0"}.items():
        monkeypatch.setenv(name, value)
    assert find_shard(None) == (2, 4)
    assert find_shard(Shard(1, 2)) == (1, 2)


@pytest.mark.parametrize("text", ["0/4", "5/4", "4", "a/b", "-1/4", "1/0"])
def test_shard__that_cannot_be_is_an_error(text):
    with pytest.raises(ConfigError, match=r"--shard: .* is not I/N"):
        parse(f"--shard={text}")
