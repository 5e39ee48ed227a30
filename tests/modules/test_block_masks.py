"""Masks in blocks: how much they hide, in what shapes, and what they depend on."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from eztorch.modules import block_mask, draw_hidden


@pytest.mark.parametrize(("height", "width"), [(14, 14), (8, 8), (2, 2), (3, 9)])
def test_block_mask__hides_as_many_patches_as_are_asked_for(height, width):
    for count in range(height * width + 1):
        mask = block_mask(height, width, count, random.Random(count))
        assert (mask.shape, mask.dtype) == ((height, width), np.dtype(bool))
        assert mask.sum() == count


def test_block_mask__is_made_of_blocks():
    def borders(mask):
        return (mask[1:] != mask[:-1]).sum() + (mask[:, 1:] != mask[:, :-1]).sum()

    blocks = sum(borders(block_mask(14, 14, 59, random.Random(seed))) for seed in range(50)) / 50
    generator = np.random.default_rng(0)
    scattered = [generator.permutation(196).reshape(14, 14) < 59 for _ in range(50)]
    assert blocks < 0.6 * sum(map(borders, scattered)) / 50


def test_block_mask__reaches_every_place_and_prefers_no_side():
    often = sum(block_mask(6, 6, 12, random.Random(seed)).astype(int) for seed in range(400)) / 400
    assert often.mean() == pytest.approx(1 / 3)
    assert often.min() > 0.05  # blocks cover the corners less often than the middle
    for mirrored in (often[::-1], often[:, ::-1], often.T):
        assert np.abs(mirrored - often).max() < 0.12


def test_draw_hidden__share_and_probability_are_those_asked_for():
    places = draw_hidden((10, 10), range(600), prob=0.5, ratio=(0.1, 0.5))
    assert places.shape == (600, 50)
    numbers = (places >= 0).sum(dim=1)
    some = numbers[numbers > 0]
    assert len(some) / 600 == pytest.approx(0.5, abs=0.06)
    assert some.min() >= 10
    assert some.max() <= 50
    assert some.float().mean() == pytest.approx(30, abs=2.5)  # uniform
    for row, number in zip(places, numbers, strict=True):
        assert (row[number:] == -1).all()
        assert (row[:number].diff() > 0).all()


def test_draw_hidden__a_sample_has_the_mask_of_its_seed_wherever_it_stands():
    seeds = range(40, 48)
    whole = draw_hidden((6, 6), seeds, prob=0.8, ratio=(0.2, 0.4))
    parts = [draw_hidden((6, 6), seeds[rank::2], prob=0.8, ratio=(0.2, 0.4)) for rank in range(2)]
    assert torch.equal(torch.stack(parts, dim=1).flatten(0, 1), whole)
    assert len({tuple(row.tolist()) for row in whole}) > 4


def test_draw_hidden__hides_the_same_places_of_a_clip_at_all_times():
    clip = draw_hidden((3, 4, 4), [1], prob=1.0, ratio=(0.5, 0.5))
    mask = torch.zeros(48, dtype=torch.bool)
    mask[clip[0]] = True
    first, *others = mask.view(3, 16)
    assert first.sum() == 8
    assert all(torch.equal(other, first) for other in others)
