from __future__ import annotations

import numpy as np
import pytest

from eztorch.datasets import Concat, SampleAddress, Subset
from eztorch.datasets.concat import check_classes_agree
from eztorch.utils.errors import DataError

from .test_subsets import Numbers


class SeveralLabels(Numbers):
    def __init__(self):
        super().__init__([0])

    labels = property(lambda self: (_ for _ in ()).throw(DataError("several labels each")), lambda self, value: None)


def test_concat__has_the_samples_of_all_one_after_the_other():
    both = Concat([Numbers([3, 1], "ab"), Numbers([0, 2, 1], "cde")])
    assert len(both) == 5
    assert both.labels.tolist() == [3, 1, 0, 2, 1]
    assert [both[index]["idx"] for index in range(5)] == list(range(5))
    assert [both[index]["label"] for index in range(5)] == both.labels.tolist()
    assert [both.name(index) for index in range(5)] == list("abcde")


def test_concat__draws_every_copy_of_every_epoch_anew():
    both = Concat([Numbers([0, 0]), Numbers([0])], repeats=[3, 1])
    assert len(both) == 7
    assert both.labels.tolist() == [0] * 7
    drawn = [both[SampleAddress(epoch, index)]["input"] for epoch in range(2) for index in range(7)]
    assert len(set(drawn)) == 14
    assert [both[SampleAddress(5, index)]["idx"] for index in range(7)] == [0, 1, 0, 1, 0, 1, 2]


def test_concat__of_one_data_set_that_is_there_once_is_that_data_set():
    alone = Numbers([0, 1])
    assert [Concat([alone])[SampleAddress(4, i)] for i in range(2)] == [alone[SampleAddress(4, i)] for i in range(2)]


def test_concat__says_where_failures_stand():
    both = Concat([Numbers([0]), Numbers([0, 1], "ab", broken=(1,))], repeats=[2, 1])
    failure = both[SampleAddress(7, 3)]
    assert (failure.idx, failure.path, failure.epoch, failure.label) == (2, "b", 7, 1)


def test_classes__have_to_agree_where_they_are_named():
    named, unnamed = Numbers([0], classes=("cat", "dog")), Numbers([0])
    check_classes_agree([named, unnamed, Numbers([1], classes=("cat", "dog"))], ["a", "b", "c"])
    with pytest.raises(
        DataError, match="a has 2 classes and c 2, and they are not the same in the same order: 'cat', 'dog'"
    ):
        check_classes_agree([named, unnamed, Numbers([1], classes=("dog", "cat"))], ["a", "b", "c"])
    with pytest.raises(DataError, match=r"a has 2 classes and b 1, .*: 'dog' differ"):
        check_classes_agree([named, Numbers([0], classes=("cat",))], ["a", "b"])


def test_classes__of_a_subset_are_those_that_it_has():
    whole = Numbers([0, 1, 2], classes=("ant", "cat", "dog"))
    part = Subset(whole, np.array([1, 2]), classes=np.array([1, 2]))
    check_classes_agree([part, Numbers([0], classes=("cat", "dog"))], ["a", "b"])


def test_labels__are_one_a_sample_everywhere_or_nowhere():
    with pytest.raises(DataError, match="a has one label a sample and b several"):
        check_classes_agree([Numbers([0]), SeveralLabels()], ["a", "b"])
