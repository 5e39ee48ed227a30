from __future__ import annotations

import torch

from eztorch.models.siamese import convert_legacy_state_dict

_LEGACY = {"target.trunk.": "momentum_trunk.", "target.projector.": "momentum_projector."}


def _to_legacy(state_dict: dict) -> dict:
    legacy = {}
    for name, value in state_dict.items():
        for new, old in _LEGACY.items():
            name = name.replace(new, old)
        if name == "queue.features":
            name, value = "queue", value.T
        elif name == "queue.pointer":
            name, value = "queue_ptr", value.reshape(1)
        legacy[name] = value
    return {**legacy, "train_transform.transforms.0.mean": torch.zeros(3)}


def _trained(tiny, seed: int):
    model = tiny.model()
    generator = torch.Generator().manual_seed(seed)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
    model.queue.pointer.fill_(seed)
    return model


def test_convert__gives_every_weight_of_the_predecessor_its_place(tiny):
    model = _trained(tiny, 5)
    legacy = _to_legacy(model.state_dict())
    assert {"momentum_trunk.2.weight", "momentum_projector.bias", "queue", "queue_ptr"} <= legacy.keys()
    assert legacy["queue"].shape == (4, 24)

    other = _trained(tiny, 6)
    other.load_state_dict(convert_legacy_state_dict(legacy), strict=True)
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


def test_convert__leaves_todays_names_and_its_input(tiny):
    state_dict = tiny.model().state_dict()
    names = list(state_dict)
    assert list(convert_legacy_state_dict(state_dict)) == names
    legacy = _to_legacy(state_dict)
    before = dict(legacy)
    convert_legacy_state_dict(legacy)
    assert legacy == before


def test_checkpoint__of_the_predecessor_trains_on(tiny, fit, tmp_path):
    trainer = fit(tiny.model(optimizer=tiny.still), max_epochs=1)
    trainer.save_checkpoint(tmp_path / "now.ckpt")
    checkpoint = torch.load(tmp_path / "now.ckpt", weights_only=True)
    expected = checkpoint["state_dict"]
    checkpoint["state_dict"] = _to_legacy(expected)
    torch.save(checkpoint, tmp_path / "legacy.ckpt")

    model = tiny.model(optimizer=tiny.still)
    fit(model, max_epochs=1, ckpt_path=str(tmp_path / "legacy.ckpt"))
    for name, value in model.state_dict().items():
        assert torch.equal(value, expected[name]), name
