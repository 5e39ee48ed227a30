import json

import pytest
import torch

from eztorch.datasets.failures import SampleFailure
from eztorch.evaluation import FeatureStore, open_features
from eztorch.evaluation.feature_store import blocks
from eztorch.evaluation.feature_writer import FeatureWriter
from eztorch.utils.errors import DataError


class Data:
    """What a store asks of a data set."""

    classes = ("walk", "run", "jump")

    def __init__(self, length):
        self.length = length

    def __len__(self):
        return self.length

    def name(self, index):
        return f"video{index}.mp4"


def make_batch(idx, clips=None):
    batch = {"label": torch.tensor(idx) % 3, "idx": torch.tensor(idx)}
    if clips is not None:
        batch |= {"clip_index": torch.tensor(clips), "aug_index": torch.zeros(len(idx)).long()}
        batch |= {"clip_start": torch.tensor(clips) * 0.5, "clip_end": torch.tensor(clips) * 0.5 + 2.0}
    return batch


def feature_of(idx, clip=0):
    return torch.randn(6, generator=torch.Generator().manual_seed(100 * idx + clip))


def write(folder, batches, length, **options):
    """Write batches of (idx, clip) and return the store."""
    writer = FeatureWriter(folder, **{"rows_per_shard": 3, **options})
    for batch in batches:
        idx, clips = [one for one, _ in batch], [clip for _, clip in batch]
        writer.add(torch.stack([feature_of(one, clip) for one, clip in batch]), make_batch(idx, clips))
    return writer.close(Data(length), {"split": "val", "features": "h", "identity": "x"})


@pytest.mark.parametrize("length", [1, 7, 8, 9])
def test_feature_store__gives_every_sample_once_in_order_from_any_order(tmp_path, length):
    order = torch.randperm(length, generator=torch.Generator().manual_seed(length)).tolist()
    batches = [[(one, 0) for one in order[begin : begin + 2]] for begin in range(0, length, 2)]
    store = write(tmp_path / "val", batches, length)
    expected = torch.stack([feature_of(one) for one in range(length)])
    assert store.idx.tolist() == list(range(length))
    assert store.labels.tolist() == [one % 3 for one in range(length)]
    assert torch.equal(store.rows(0, length), expected)
    assert torch.equal(torch.cat(list(blocks(store, 2))), expected)
    assert torch.equal(store.rows(length - 1, length), expected[-1:])
    assert torch.equal(store[-1], expected[-1])
    assert [store.name(row) for row in range(length)] == [f"video{one}.mp4" for one in range(length)]
    assert [shard["rows"] for shard in store.index["shards"]] == [3] * (length // 3) + [length % 3] * bool(length % 3)
    assert sorted(one.name for one in (tmp_path / "val").iterdir()) == [
        *(shard["file"] for shard in store.index["shards"]),
        "index.json",
    ]


def test_feature_store__averages_the_clips_of_a_sample_however_they_are_spread(tmp_path):
    clips = [(idx, clip) for idx in (3, 0, 5) for clip in range(4)]
    spread = [clips[::3], clips[1::3], clips[2::3]]
    stores = [write(tmp_path / f"{n}", batches, 6) for n, batches in enumerate(([clips], spread, [[c] for c in clips]))]
    expected = torch.stack([torch.stack([feature_of(idx, c) for c in range(4)]).double().mean(0) for idx in (0, 3, 5)])
    for store in stores:
        assert store.idx.tolist() == [0, 3, 5]
        assert store.column("num_clips").tolist() == [4, 4, 4]
        assert torch.equal(store.rows(0, 3), expected.float())
        assert (store.n_evaluated, store.n_expected) == (3, 6)


def test_feature_store__keeps_the_clips_in_their_order(tmp_path):
    clips = [(idx, clip) for clip in (1, 0, 2) for idx in (4, 1)]
    store = write(tmp_path / "val", [clips[:3], clips[3:]], 5, clips="keep")
    assert store.idx.tolist() == [1, 1, 1, 4, 4, 4]
    assert store.column("clip_index").tolist() == [0, 1, 2, 0, 1, 2]
    assert store.column("clip_start").tolist() == [0.0, 0.5, 1.0] * 2
    assert store.column("clip_end").tolist() == [2.0, 2.5, 3.0] * 2
    assert torch.equal(store.rows(0, 6), torch.stack([feature_of(idx, c) for idx in (1, 4) for c in range(3)]))
    assert (store.n_evaluated, len(store), store.name(2), store.name(3)) == (2, 6, "video1.mp4", "video4.mp4")


def test_feature_store__reads_only_what_is_asked_for(tmp_path):
    store = write(tmp_path / "val", [[(one, 0) for one in range(9)]], 9)
    (tmp_path / "val/00001.safetensors").write_bytes(b"damaged")
    assert torch.equal(FeatureStore.open(tmp_path / "val").rows(6, 9), torch.stack([feature_of(i) for i in (6, 7, 8)]))
    with pytest.raises(DataError, match=r"00001\.safetensors: features cannot be read"):
        store.rows(2, 4)


def test_feature_store__of_half_precision_gives_float32(tmp_path):
    store = write(tmp_path / "val", [[(one, 0) for one in range(4)]], 4, dtype="float16")
    expected = torch.stack([feature_of(one) for one in range(4)])
    assert store.rows(0, 4).dtype == torch.float32
    assert torch.equal(store.rows(0, 4), expected.half().float())


def test_feature_writer__refuses_features_that_half_precision_does_not_hold(tmp_path):
    writer = FeatureWriter(tmp_path / "val", dtype="float16")
    writer.add(torch.full((2, 6), 1e5), make_batch([0, 1]))
    with pytest.raises(DataError, match=r"1e\+05 do not fit float16; write extract\.dtype=float32"):
        writer.close(Data(2), {})


def test_feature_store__lists_what_could_not_be_read(tmp_path):
    writer = FeatureWriter(tmp_path / "val")
    writer.add(torch.ones(2, 6), make_batch([0, 2]))
    failures = [
        SampleFailure(1, "b.mp4", "pyav", "no\nframes", 0, 1, True),
        SampleFailure(3, "d.mp4", "pyav", "empty", 0, -1, True),
        SampleFailure(2, "c.mp4", "pyav", "one clip is gone", 0, 2, True),
    ]
    writer.add_failures(failures[:1])
    writer.add_failures(failures)
    store = writer.close(Data(4), {})
    assert [one["path"] for one in store.index["failures"]] == ["b.mp4", "c.mp4", "d.mp4"]
    assert store.index["failures"][0]["reason"] == "no frames"
    assert (store.num_wrong, store.n_evaluated, store.n_expected) == (1, 2, 4)  # 3 has no label, 2 has an answer


def test_feature_writer__starts_cleanly_after_one_that_was_stopped(tmp_path):
    folder = tmp_path / "val"
    write(folder, [[(one, 0) for one in range(9)]], 9)
    stopped = FeatureWriter(folder, rows_per_shard=2)
    for one in range(5):
        stopped.add(torch.zeros(1, 6), make_batch([one]))
    assert list((folder / ".parts").iterdir())  # parts are written while it runs
    with pytest.raises(DataError, match="there are no features"):
        FeatureStore.open(folder)  # neither the old ones nor half of the new ones
    store = write(folder, [[(1, 0), (0, 0)]], 2)
    assert torch.equal(store.rows(0, 2), torch.stack([feature_of(0), feature_of(1)]))
    assert sorted(one.name for one in folder.iterdir()) == ["00000.safetensors", "index.json"]


def test_feature_writer__without_a_sample_is_an_error(tmp_path):
    writer = FeatureWriter(tmp_path / "val")
    writer.add_failures([SampleFailure(1, "b.mp4", "pyav", "no frames", 0, 1)])
    with pytest.raises(DataError, match=r"no sample.*1 failures: b\.mp4: no frames"):
        writer.close(Data(4), {})


def test_feature_store__of_samples_with_several_labels_keeps_them(tmp_path):
    writer = FeatureWriter(tmp_path / "val", rows_per_shard=2)
    labels = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    writer.add(torch.ones(3, 6), {"label": labels, "idx": torch.tensor([2, 0, 2])})
    store = writer.close(Data(3), {})
    assert torch.equal(store.labels, labels[[1, 2]])


def test_open__says_what_is_wrong(tmp_path):
    write(tmp_path / "features/val", [[(0, 0)]], 1)
    with pytest.raises(DataError, match=r"Did you mean .*features/val"):
        FeatureStore.open(tmp_path / "features")
    index = tmp_path / "features/val/index.json"
    content = json.loads(index.read_text())
    (tmp_path / "features/val/00000.safetensors").unlink()
    with pytest.raises(DataError, match=r"00000\.safetensors is missing"):
        FeatureStore.open(index)
    index.write_text(json.dumps({**content, "format": "eztorch features 9"}))
    with pytest.raises(DataError, match="'eztorch features 9'"):
        FeatureStore.open(index)
    index.write_text("[]")
    with pytest.raises(DataError, match="no index of features"):
        FeatureStore.open(index)


def test_open_features__reads_the_files_of_the_predecessor(tmp_path):
    features, labels, ids = torch.randn(5, 6), torch.arange(5), torch.tensor([4, 3, 2, 1, 0])
    for name, tensor in (("features", features), ("labels", labels), ("ids", ids)):
        torch.save(tensor, tmp_path / f"val_ucf_{name}.pth")
    found = open_features(tmp_path / "val_ucf_features.pth", key="query")
    assert torch.equal(found.rows(1, 4), features[1:4])
    assert torch.equal(found.labels, labels)
    assert torch.equal(found.idx, ids)
    assert (len(found), found.n_expected, found.num_wrong) == (5, 5, 0)
    torch.save(labels[:3], tmp_path / "few.pth")
    with pytest.raises(DataError, match="5 rows, and there are 3 labels"):
        open_features(tmp_path / "val_ucf_features.pth", tmp_path / "few.pth", key="query")
    with pytest.raises(DataError, match=r"query\.labels_path=.*none\.pth does not exist"):
        open_features(tmp_path / "val_ucf_features.pth", tmp_path / "none.pth", key="query")
    with pytest.raises(DataError, match=r"bank\.features_path=.*few\.pth: expected a tensor of 2"):
        open_features(tmp_path / "few.pth", key="bank")
    with pytest.raises(DataError, match=r"bank\.features_path: .*there are no features"):
        open_features(tmp_path / "nowhere", key="bank")
