from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from torch.utils.data import Dataset

from eztorch.data.check.report import write_list
from eztorch.datasets import SampleAddress, SampleFailure, Subset, SubsetRule
from eztorch.datasets.subsets import choose_classes, choose_samples
from eztorch.utils.errors import ConfigError, DataError


class Numbers(Dataset):
    """Samples that say what they were asked for; those in `broken` fail."""

    def __init__(self, labels, names=(), classes=(), broken=()):
        self.labels = np.asarray(labels)
        self.names, self.classes, self.broken = names, tuple(classes), broken
        self.stand_ins = range(len(labels))

    def __len__(self):
        return len(self.labels)

    def name(self, index):
        return self.names[index]

    def __getitem__(self, address):
        epoch, index = address
        label = int(self.labels[index])
        if index in self.broken:
            return SampleFailure(index, self.names[index], "pillow", "torn", epoch, label, True)
        return {"input": (epoch, index), "label": label, "idx": index}


def chosen(dataset, **keys):
    rule = SubsetRule(**keys)
    classes = choose_classes(rule, dataset.classes, int(dataset.labels.max()) + 1)
    return choose_samples(dataset, rule, classes)


@pytest.mark.parametrize(("ratio", "counts"), [(0.01, [1, 1, 1, 10]), (0.1, [1, 1, 3, 100]), (1.0, [1, 3, 30, 1000])])
def test_sample_ratio__takes_that_share_of_every_class_and_at_least_one(ratio, counts):
    dataset = Numbers(np.random.default_rng(0).permutation(np.repeat([0, 1, 2, 3], [1, 3, 30, 1000])))
    indices = chosen(dataset, sample_ratio=ratio)
    assert Counter(dataset.labels[indices].tolist()) == dict(enumerate(counts))
    assert (np.diff(indices) > 0).all()


def test_sample_ratio__of_one_seed_is_part_of_a_larger_one():
    dataset = Numbers(np.arange(5000) % 7 - 1)  # -1: samples without a label are a class
    shares = [set(chosen(dataset, sample_ratio=ratio, seed=3).tolist()) for ratio in (0.01, 0.1, 0.5)]
    assert shares[0] < shares[1] < shares[2]
    assert shares[1] == set(chosen(dataset, sample_ratio=0.1, seed=3).tolist())
    assert shares[1] != set(chosen(dataset, sample_ratio=0.1, seed=4).tolist())
    assert Counter(dataset.labels[list(shares[0])].tolist())[-1] == 7


def test_class_ratio__of_one_seed_is_part_of_a_larger_one():
    few, many = (choose_classes(SubsetRule(class_ratio=ratio), (), 100) for ratio in (0.1, 0.3))
    assert (len(few), len(many)) == (10, 30)
    assert set(few.tolist()) < set(many.tolist())
    assert len(choose_classes(SubsetRule(class_ratio=0.001), (), 100)) == 1
    assert choose_classes(SubsetRule(class_ratio=0.1, seed=1), (), 100).tolist() != few.tolist()


def test_class_and_sample_ratio__take_samples_of_the_chosen_classes():
    dataset = Numbers(np.arange(1000) % 10)
    indices = chosen(dataset, class_ratio=0.2, sample_ratio=0.1)
    assert sorted(Counter(dataset.labels[indices].tolist()).values()) == [10, 10]
    assert set(indices.tolist()) < set(chosen(dataset, sample_ratio=0.1).tolist())


def test_class_list__takes_names_numbers_or_a_file(tmp_path):
    names, listed = ("bird", "cat", "dog"), tmp_path / "classes.txt"
    listed.write_text("dog\n\n bird \n")
    for classes in (["dog", "bird"], [2, 0], ["bird", 2], str(listed)):
        assert choose_classes(SubsetRule(class_list=classes), names, 3).tolist() == [0, 2]


def test_sample_list__takes_ends_of_paths_with_or_without_their_extension(tmp_path):
    names = ["/d/cat/a.jpg", "/d/cat/b.jpg", "/d/dog/a.jpg", "/d/dog/c.1.jpg"]
    dataset = Numbers([0, 0, 1, 1], names)
    listed = tmp_path / "samples.txt"
    listed.write_text("dog/a.jpg\nb\n")
    assert chosen(dataset, sample_list=str(listed)).tolist() == [1, 2]
    assert chosen(dataset, sample_list=["/d/cat/a.jpg", "c.1"]).tolist() == [0, 3]
    assert chosen(dataset, sample_list=[3, 1, 1]).tolist() == [1, 3]
    with pytest.raises(ConfigError, match=r"'a.jpg' may be /d/cat/a.jpg or /d/dog/a.jpg; write more of its path"):
        chosen(dataset, sample_list=["a.jpg"])


def test_sample_list__takes_all_samples_of_a_path():
    dataset = Numbers([0, 1, 1], ["/d/long.mp4", "/d/long.mp4", "/d/other.mp4"])
    assert chosen(dataset, sample_list=["long.mp4"]).tolist() == [0, 1]


def test_exclude_list__leaves_out_what_is_there_of_a_list(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    dataset = Numbers([0, 0, 1, 1], ["d/a.mp4", "d/b.mp4", "d/c.mp4", "d/c.mp4"])
    listed = tmp_path / "quarantine.txt"
    listed.write_text(f"{tmp_path}/d/b.mp4\n/elsewhere/a.mp4\n{tmp_path}/d/c.mp4\n")
    with caplog.at_level("INFO", "eztorch"):
        assert chosen(dataset, exclude_list=str(listed)).tolist() == [0]
    assert "exclude_list leaves out 3 of 4 samples" in caplog.text
    assert chosen(dataset, exclude_list=[]).tolist() == [0, 1, 2, 3]
    assert chosen(dataset, exclude_list=["b"], sample_list=["a", "b"]).tolist() == [0]


def test_exclude_list__takes_a_file_of_names_in_any_encoding(tmp_path):
    names = ["d/latin\udce9.mp4", "d/next\x85line.mp4", "d/c.mp4"]
    write_list(tmp_path / "quarantine.txt", names[:2])
    assert chosen(Numbers([0, 0, 1], names), exclude_list=str(tmp_path / "quarantine.txt")).tolist() == [2]


def test_exclude_list__counts_before_a_share_is_taken():
    dataset = Numbers(np.zeros(100, int), [f"{index}.jpg" for index in range(100)])
    excluded = [f"{index}.jpg" for index in range(80)]
    taken = chosen(dataset, exclude_list=excluded, sample_ratio=0.5)
    assert len(taken) == 10
    assert taken.min() >= 80


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        ({"exclude_list": "no/file.txt"}, ConfigError, "exclude_list=no/file.txt: there is no such file"),
        ({"exclude_list": ["a", "b", "c"]}, ConfigError, r"exclude_list=.* leaves none of the 3 samples"),
        ({"class_list": ["dgo"]}, ConfigError, "class_list: 'dgo' is not a class; Did you mean 'dog'"),
        ({"class_list": [7]}, ConfigError, "class_list: '7' is not a class; expected a name or 0 to 2"),
        ({"class_list": ["dog", 2]}, ConfigError, "1 of its 2 classes are there twice"),
        ({"class_list": "no/file.txt"}, ConfigError, "class_list=no/file.txt: there is no such file"),
        (
            {"class_list": ["bird"], "sample_list": ["b.jpg"]},
            ConfigError,
            r"class_list=\['bird'\] and sample_list=.*le",
        ),
        ({"sample_list": ["x.jpg", "b"]}, ConfigError, r"1 of its 2 samples are not there, the first: 'x.jpg'.*/a.jpg"),
        ({"sample_list": []}, ConfigError, r"sample_list=\[\] leaves none of the 3 samples"),
        ({"sample_ratio": 0}, ConfigError, "sample_ratio=0; expected a share above 0 and at most 1"),
        ({"class_ratio": 1.5}, ConfigError, "class_ratio=1.5"),
        ({"class_ratio": 0.5, "class_list": ["dog"]}, ConfigError, "class_ratio=0.5 and class_list: only one"),
        ({"sample_ratio": 0.5, "seed": -1}, ConfigError, "seed=-1"),
    ],
)
def test_rules__that_cannot_be_are_errors(keys, error, message):
    dataset = Numbers([0, 1, 2], ["/d/a.jpg", "/d/b.jpg", "/d/c.jpg"], ["bird", "cat", "dog"])
    with pytest.raises(error, match=message):
        chosen(dataset, **keys)


def test_rules__by_class_need_labels():
    with pytest.raises(DataError, match="list has no `labels`"):
        choose_samples([1, 2], SubsetRule(sample_ratio=0.5))
    with pytest.raises(ConfigError, match="these samples have no names"):
        choose_samples([1, 2], SubsetRule(sample_list=["a.jpg"]))


def test_subset__numbers_its_samples_and_classes_anew():
    dataset = Numbers([4, 0, 2, 4, 2], classes="abcde")
    subset = Subset(dataset, np.array([0, 2, 3]), classes=np.array([2, 4]))
    assert subset.labels.tolist() == [1, 0, 1]
    assert subset.classes == ("c", "e")
    items = [subset[SampleAddress(6, index)] for index in range(len(subset))]
    assert [item["idx"] for item in items] == [0, 1, 2]
    assert [item["label"] for item in items] == [1, 0, 1]
    assert [item["input"] for item in items] == [(6, 0), (6, 2), (6, 3)]  # drawn as in the whole


def test_subset__says_where_its_failures_stand():
    dataset = Numbers([5, 3, 5], "abc", broken=(2,))
    subset = Subset(dataset, np.array([0, 2]), classes=np.array([5]))
    assert subset[1] == SampleFailure(1, "c", "pillow", "torn", 0, label=0, counts_as_wrong=True)
    assert subset.name(1) == "c"
    assert dataset.stand_ins.tolist() == [0, 2]
