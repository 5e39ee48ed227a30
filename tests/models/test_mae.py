"""Masked autoencoders on images and clips."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_classifier import make_trainer
from torch.utils.data import DataLoader

from eztorch.models import MAEModel
from eztorch.models.trunks import create_vit
from eztorch.utils.errors import ConfigError, DataError

SIZES = {"embed_dim": 24, "depth": 2, "num_heads": 3}
DECODER = {"decoder_dim": 12, "decoder_depth": 1, "decoder_heads": 2}


def adam(model: Any, num_steps_per_epoch: int) -> tuple[torch.optim.Optimizer, None]:
    return torch.optim.AdamW(model.learnable_params, lr=3e-3), None


def make(*, clips: bool, pool: str = "mean", **keys: Any) -> MAEModel:
    torch.manual_seed(0)
    trunk = create_vit("tiny", patch=(2, 4, 4) if clips else (4, 4), pool=pool, **SIZES)
    return MAEModel(trunk=trunk, optimizer=adam, **{**DECODER, "tube": clips, **keys})


def samples(clips: bool, number: int = 16) -> list[dict[str, Any]]:
    shape = (3, 4, 8, 8) if clips else (3, 8, 8)
    draws = torch.Generator().manual_seed(1)
    return [{"input": torch.randn(shape, generator=draws), "idx": i, "label": i % 2} for i in range(number)]


@pytest.mark.parametrize("clips", [False, True])
def test_training_step__only_visible_tokens_pass_the_trunk(clips):
    model = make(clips=clips, mask_ratio=0.75)
    seen = []
    model.trunk.blocks[0].register_forward_pre_hook(lambda block, inputs: seen.append(inputs[0].shape[1]))
    step = model.training_step(torch.utils.data.default_collate(samples(clips)), 0)
    assert seen == [2 if clips else 1]  # of 2 x 2 x 2 and of 2 x 2 patches
    assert step["h"].shape == (16, 24)


@pytest.mark.parametrize("clips", [False, True])
@pytest.mark.parametrize("pool", ["mean", "token"])
def test_training_step__gradient_reaches_every_parameter(clips, pool):
    model = make(clips=clips, pool=pool)
    model.training_step(torch.utils.data.default_collate(samples(clips)), 0)["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name


def test_decoder__puts_every_token_in_its_place():
    model = make(clips=False, mask_ratio=0.5)
    x = torch.randn(1, 3, 8, 8)
    visible, hidden = torch.tensor([[0, 2]]), torch.tensor([[1, 3]])
    pixels = model.decoder(model.trunk.tokens(x, visible), visible, hidden, (2, 2))
    # Named in another order, the same patches come out in that order.
    turned = model.decoder(model.trunk.tokens(x, visible.flip(1)), visible.flip(1), hidden.flip(1), (2, 2))
    torch.testing.assert_close(turned, pixels.flip(1))
    assert not torch.allclose(pixels[:, 0], pixels[:, 1])


@pytest.mark.parametrize("clips", [False, True])
@pytest.mark.parametrize("precision", ["32", "bf16-mixed"])
def test_fit__learns_to_restore_in_every_precision(clips, precision):
    model, losses = make(clips=clips, mask_ratio=0.5), []
    on_end = model.training_step

    def recorded(*arguments: Any) -> dict[str, Any]:
        step = on_end(*arguments)
        losses.append(float(step["loss"].detach()))
        return step

    model.training_step = recorded
    trainer = make_trainer(max_epochs=30, precision=precision)
    trainer.fit(model, DataLoader(samples(clips, 11), batch_size=4), DataLoader(samples(clips), batch_size=4))
    assert sum(losses[-3:]) < 0.97 * sum(losses[:3])


def test_validation_step__gives_features_of_the_whole_input():
    model = make(clips=False).eval()
    batch = torch.utils.data.default_collate(samples(clips=False))
    torch.testing.assert_close(model.validation_step(batch, 0)["h"], model.trunk(batch["input"]))
    assert model.validation_step({"input": None}, 0) is None


def test_several_views__are_an_error_that_says_so():
    batch = {"input": [torch.randn(2, 3, 8, 8)] * 2}
    with pytest.raises(DataError, match="2 views, and a masked autoencoder takes one"):
        make(clips=False).training_step(batch, 0)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"mask_ratio": 1.0}, "mask_ratio=1.0"),
        ({"tube": True}, "tube=true is for clips"),
        ({"decoder_heads": 5}, "decoder_heads=5 does not divide decoder_dim=12"),
        ({"trunk": torch.nn.Identity()}, "model.trunk is a Identity"),
    ],
)
def test_mae_model__names_what_cannot_be_used(keys, message):
    trunk = create_vit("tiny", patch=(4, 4), **SIZES)
    with pytest.raises(ConfigError, match=message):
        MAEModel(**{"trunk": trunk, "optimizer": adam, **DECODER, **keys})
