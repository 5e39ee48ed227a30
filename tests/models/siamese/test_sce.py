from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from eztorch.losses import sce_loss
from eztorch.models.heads import MLPHead
from eztorch.models.siamese import SCEModel
from eztorch.utils.errors import ConfigError, DataError

ONLINE = ("trunk", "projector", "predictor")


def _batch(*shapes: tuple[int, ...]) -> dict:
    generator = torch.Generator().manual_seed(1)
    return {"input": [torch.randn(shape, generator=generator) for shape in shapes or ((4, 3, 2, 2), (4, 3, 2, 2))]}


def _query(model: SCEModel, h: torch.Tensor) -> torch.Tensor:
    return F.normalize(model.predictor(model.projector(h)), dim=1)


def _expected(model, tiny, views, pairs, **keys):
    """Mean of the loss over (key view, query view), networks called one by one."""
    scalars = {"temp": 0.1, "temp_m": 0.05, "coeff": 0.5, "queue": model.queue.features, **keys}
    return torch.stack(
        [sce_loss(_query(model, model.trunk(views[q])), tiny.keys(model, views[k]), **scalars) for k, q in pairs]
    ).mean()


@pytest.mark.parametrize("mutual_pass", [False, True])
@pytest.mark.parametrize(
    ("keys", "pairs"),
    [
        ({"sym": True}, [(0, 1), (1, 0)]),
        ({"sym": False}, [(0, 1)]),
        ({"sym": True, "num_local_crops": 2}, [(0, 1), (0, 2), (0, 3), (1, 0), (1, 2), (1, 3)]),
        ({"sym": False, "num_global_crops": 3, "num_local_crops": 1}, [(0, 1), (0, 2), (0, 3)]),
    ],
)
def test_training_step__is_the_mean_sce_loss_over_the_pairs(tiny, mutual_pass, keys, pairs):
    model = tiny.model(mutual_pass=mutual_pass, **keys)
    num_global = keys.get("num_global_crops", 2)
    batch = _batch(*[(4, 3, 6, 6)] * num_global, *[(4, 3, 4, 4)] * keys.get("num_local_crops", 0))
    output = model.training_step(batch, 0)
    torch.testing.assert_close(output["loss"], _expected(model, tiny, batch["input"], pairs))
    assert output["loss"].dtype == torch.float32


def test_training_step__asks_for_the_coefficients_of_the_configuration(tiny):
    model = tiny.model(temp=0.2, temp_m=0.07, coeff=0.25)
    batch = _batch()
    expected = _expected(model, tiny, batch["input"], [(0, 1), (1, 0)], temp=0.2, temp_m=0.07, coeff=0.25)
    torch.testing.assert_close(model.training_step(batch, 0)["loss"], expected)


def test_training_step__use_keys_takes_the_batch_as_negatives(tiny):
    model, batch = tiny.model(use_keys=True), _batch()
    losses = []
    for k, q in ((0, 1), (1, 0)):
        key, query = tiny.keys(model, batch["input"][k]), _query(model, model.trunk(batch["input"][q]))
        for i in range(4):
            negatives = torch.cat([key[:i], key[i + 1 :], model.queue.features])
            one = {"temp": 0.1, "temp_m": 0.05, "coeff": 0.5, "queue": negatives}
            losses.append(sce_loss(query[i : i + 1], key[i : i + 1], **one))
    torch.testing.assert_close(model.training_step(batch, 0)["loss"], torch.stack(losses).mean())


def test_training_step__a_split_view_gives_the_mean_over_combinations_of_patches(tiny):
    model = tiny.model(num_splits=2, num_splits_per_combination=3, num_local_crops=1)
    views = _batch((4, 3, 8, 8), (4, 3, 8, 8), (4, 3, 4, 4))["input"]
    output = model.training_step({"input": views}, 0)

    def queries(view: int) -> list[torch.Tensor]:
        if view == 2:  # a local crop stays whole
            return [_query(model, model.trunk(views[view]))]
        x = views[view]
        patches = [x[..., :4, :4], x[..., :4, 4:], x[..., 4:, :4], x[..., 4:, 4:]]
        h = [model.trunk(patch) for patch in patches]
        return [_query(model, (h[a] + h[b] + h[c]) / 3) for a, b, c in itertools.combinations(range(4), 3)]

    scalars = {"temp": 0.1, "temp_m": 0.05, "coeff": 0.5, "queue": model.queue.features}
    pairs = []
    for k, q in [(0, 1), (0, 2), (1, 0), (1, 2)]:
        key = tiny.keys(model, views[k])
        pairs.append(torch.stack([sce_loss(query, key, **scalars) for query in queries(q)]).mean())
    torch.testing.assert_close(output["loss"], torch.stack(pairs).mean())
    torch.testing.assert_close(output["q"], torch.stack(queries(0)).mean(dim=0))
    assert output["h"].shape == (4, 8)


def test_training_step__gradient_reaches_the_online_side_only(tiny):
    model = tiny.model(use_keys=True)
    model.training_step(_batch(), 0)["loss"].backward()
    for name, parameter in model.named_parameters():
        if name.startswith("target."):
            assert parameter.grad is None
            assert not parameter.requires_grad
        else:
            assert parameter.grad.abs().sum() > 0, name


def test_training_step__returns_scalars_and_detached_features_of_the_first_query_view(tiny):
    model, batch = tiny.model(sym=False), _batch()
    output = model.training_step(batch, 0)
    assert output["scalars"].keys() == {
        "pretrain/loss",
        "pretrain/temp",
        "pretrain/temp_m",
        "pretrain/coeff",
        "pretrain/momentum_value",
    }
    assert not output["scalars"]["pretrain/loss"].requires_grad
    settings = {name: value for name, value in output["scalars"].items() if name != "pretrain/loss"}
    assert all(type(value) is float for value in settings.values())
    expected = model.features(batch["input"][1])
    for name in ("h", "z", "q"):
        assert not output[name].requires_grad
        torch.testing.assert_close(output[name], getattr(expected, name).detach())


def test_training_step__transforms_the_views_first(tiny):
    def swap(views):
        assert not torch.is_grad_enabled()
        return [2 * views[1], views[0]]

    model, batch = tiny.model(sym=False, train_transform=swap), _batch()
    expected = _expected(model, tiny, [2 * batch["input"][1], batch["input"][0]], [(0, 1)])
    torch.testing.assert_close(model.training_step(batch, 0)["loss"], expected)


def test_training_step__refuses_another_number_of_views(tiny):
    with pytest.raises(DataError, match=r"has 3 view\(s\) and the model expects 2"):
        tiny.model().training_step(_batch(*[(4, 3, 2, 2)] * 3), 0)


def test_training_step__dropout_is_repeated_by_address(tiny):
    model = tiny.model(trunk=nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(12, 8)))
    first, again, other = (model.training_step(_batch(), index)["loss"].item() for index in (0, 0, 1))
    assert first == again
    assert first != other


class _HostReads(TorchDispatchMode):
    """Counts what would make the host wait for a device: values read, shapes that depend on values."""

    names = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2")

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket._qualified_op_name.removeprefix("aten::") in self.names:
            self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("keys", [{}, {"use_keys": True, "mutual_pass": True, "shuffle_bn": True}])
def test_step__never_reads_the_device(tiny, keys):
    model = tiny.model(**keys)
    with _HostReads() as reads:
        model.training_step(_batch(), 0)["loss"].backward()
        model.after_optimizer_step(0)
    assert reads.seen == []
    with _HostReads() as reads:
        torch.ones(1).item()
    assert reads.seen  # the instrument works


def test_forward__is_the_raw_prediction_of_the_networks_there_are(tiny):
    x = _batch()["input"][0]
    model = tiny.model()
    assert torch.equal(model(x), model.predictor(model.projector(model.trunk(x))))
    assert torch.equal(tiny.model(predictor=None)(x), model.projector(model.trunk(x)))
    bare = tiny.model(projector=None, predictor=None, queue={"size": 4, "feature_dim": 8})
    assert torch.equal(bare(x), bare.trunk(x))
    assert bare.training_step(_batch(), 0)["loss"].isfinite()


def test_features__are_normalised_unless_told_otherwise(tiny):
    x = _batch()["input"][0]
    h, z, q = tiny.model().features(x)
    raw = tiny.model(normalize_outputs=False).features(x)
    assert torch.equal(h, raw.h)
    torch.testing.assert_close(z, raw.z / raw.z.norm(dim=1, keepdim=True))
    torch.testing.assert_close(q, raw.q / raw.q.norm(dim=1, keepdim=True))
    assert (raw.q.norm(dim=1) - 1).abs().max() > 0.01


@pytest.mark.parametrize(("step", "transform"), [("validation_step", "val_transform"), ("test_step", "test_transform")])
def test_evaluation_steps__return_features_of_clips_or_of_the_first_view(tiny, step, transform):
    def halve(inputs):
        return [x / 2 for x in inputs] if isinstance(inputs, list) else inputs / 2

    model, views = tiny.model(**{transform: halve}), _batch()["input"]
    expected = model.features(views[0] / 2)._asdict()
    for inputs in (views[0], views):
        output = getattr(model, step)({"input": inputs}, 0)
        assert output.keys() == {"h", "z", "q"}
        for name, value in expected.items():
            assert torch.equal(output[name], value)
    assert getattr(model, step)({"input": None, "failures": []}, 0) is None


def test_chance_level__is_the_loss_when_all_similarities_are_equal(tiny):
    model = tiny.model(use_keys=True)
    assert model.chance_level == pytest.approx(math.log(1 + 24))
    with torch.no_grad():
        for parameter in (model.projector.weight, model.target.projector.weight, model.predictor.weight):
            parameter.zero_()
    model.queue.features.copy_(model.target.projector.bias.div(model.target.projector.bias.norm()).expand(24, 4))
    loss = model.training_step(_batch(), 0)["loss"]
    assert model.chance_level == pytest.approx(math.log(1 + 24 + 3))
    assert loss.item() == pytest.approx(model.chance_level, rel=1e-5)


def test_chance_level__without_a_queue_is_known_after_the_first_batch(tiny):
    model = tiny.model(queue=None, use_keys=True)
    assert model.chance_level is None
    model.training_step(_batch(), 0)
    assert model.chance_level == pytest.approx(math.log(4))


def test_schedules__are_functions_of_the_step(tiny):
    model = tiny.model(
        scheduler_momentum="cosine",
        initial_momentum=0.9,
        temp_m=0.07,
        start_warmup_temp_m=0.03,
        warmup_epoch_temp_m=2,
        warmup_scheduler_temp_m="linear",
        coeff=0.5,
        start_warmup_coeff=1.0,
        warmup_epoch_coeff=1,
        scheduler_coeff="cosine",
        final_scheduler_coeff=0.1,
    )
    model.total_steps, model.steps_per_epoch = 21, 5
    assert model.momentum_at(0) == 0.9
    assert model.momentum_at(10) == pytest.approx(0.95)
    assert model.momentum_at(20) == 1.0
    assert [model.temp_m_at(t) for t in (0, 5, 10, 20)] == pytest.approx([0.03, 0.05, 0.07, 0.07])
    assert [model.coeff_at(t) for t in (0, 1, 5)] == pytest.approx([1.0, 0.9, 0.5])
    half = 0.1 + 0.4 * (1 + math.cos(math.pi * 3 / 15)) / 2
    assert [model.coeff_at(t) for t in (8, 20)] == pytest.approx([half, 0.1])


def test_schedules__constant_ones_hold_their_values(tiny):
    model = tiny.model(initial_momentum=0.99)
    model.total_steps, model.steps_per_epoch = 10, 5
    assert {model.momentum_at(t) for t in range(10)} == {0.99}
    assert {model.temp_m_at(t) for t in range(10)} == {0.05}
    assert {model.coeff_at(t) for t in range(10)} == {0.5}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"temp": 0}, "temp=0; expected a value above 0"),
        ({"temp_m": -0.1}, r"temp_m=-0\.1; expected a value above 0"),
        ({"start_warmup_temp_m": 0.0}, r"start_warmup_temp_m=0\.0; expected"),
        ({"coeff": 1.5}, r"coeff=1\.5; expected a value from 0 to 1"),
        ({"start_warmup_coeff": -1}, "start_warmup_coeff=-1; expected"),
        ({"final_scheduler_coeff": 2}, "final_scheduler_coeff=2; expected"),
        ({"initial_momentum": 1.1}, r"initial_momentum=1\.1; expected"),
        ({"warmup_epoch_coeff": -1}, "warmup_epoch_coeff=-1; expected a value of at least 0"),
        ({"scheduler_momentum": "cosin"}, "scheduler_momentum='cosin' .* Did you mean 'cosine'"),
        ({"warmup_scheduler_temp_m": "lin"}, "warmup_scheduler_temp_m='lin' .*'linear'"),
        ({"warmup_scheduler_coeff": "x"}, "warmup_scheduler_coeff='x' .* one of .*'cosine'"),
        ({"scheduler_coeff": "x"}, "scheduler_coeff='x' .* one of .*'cosine'"),
        ({"queue": None}, r"There are no negatives; write model\.queue\.size"),
        ({"queue": {"size": 8}}, r"model\.queue=\{'size': 8\}; expected the keys size and feature_dim"),
        ({"queue": {"size": 8, "feature_dim": 4, "sise": 1}}, "expected the keys size and feature_dim"),
        ({"queue": {"size": 0, "feature_dim": 4}}, r"queue\.size=0; expected a positive number"),
    ],
)
def test_sce_model__names_the_key_and_the_value_that_cannot_be_used(tiny, keys, message):
    with pytest.raises(ConfigError, match=message):
        tiny.model(**keys)


def _head(input_dim: int, output_dim: int) -> MLPHead:
    return MLPHead(input_dim=input_dim, hidden_dims=8, output_dim=output_dim)


def test_sce_model__a_queue_of_another_length_than_the_heads_output_is_refused_at_once(tiny):
    with pytest.raises(ConfigError, match=r"queue\.feature_dim=4, but the keys have 6 features; .*feature_dim=6"):
        tiny.model(projector=_head(8, 6), predictor=None)


def test_sce_model__a_queue_of_another_length_than_unknown_networks_give_is_refused_in_the_first_step(tiny):
    model = tiny.model(projector=nn.Linear(8, 6), predictor=nn.Linear(6, 6))
    with pytest.raises(ConfigError, match=r"queue\.feature_dim=4, but the keys have 6 features"):
        model.training_step(_batch(), 0)


def test_sce_model__networks_that_do_not_fit_together_are_refused(tiny):
    with pytest.raises(ConfigError, match=r"model\.predictor\.input_dim=5, but the projector gives 4 features"):
        tiny.model(projector=_head(8, 4), predictor=_head(5, 4))
    with pytest.raises(ConfigError, match=r"model\.predictor\.output_dim=3, .* which have 4 features"):
        tiny.model(projector=_head(8, 4), predictor=_head(4, 3))


def test_state_dict__has_the_names_that_checkpoints_promise(tiny):
    names = {name for name, _ in itertools.groupby(tiny.model().state_dict(), lambda n: n.rsplit(".", 1)[0])}
    assert names == {"trunk.2", "projector", "predictor", "target.trunk.2", "target.projector", "queue"}


class _Shift(nn.Module):
    """A transform with a constant on the model's device."""

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.register_buffer("shift", torch.tensor(shift))

    def forward(self, views: list[torch.Tensor]) -> list[torch.Tensor]:
        return [view + self.shift for view in views]


def test_state_dict__has_no_constants_of_transforms(tiny):
    model = tiny.model(train_transform=nn.Sequential(_Shift(1.0)))
    assert list(model.state_dict()) == list(tiny.model().state_dict())
    assert model.to(torch.float64).train_transform[0].shift.dtype == torch.float64  # moved with the model
    tiny.model(train_transform=_Shift(2.0)).load_state_dict(model.state_dict())


class _Layers(nn.Linear):
    """A linear trunk that tells its layers: the weight is layer 0, the bias layer 1."""

    num_layers = 2

    def get_param_layer_id(self, name: str) -> int:
        return ["weight", "bias"].index(name)


def test_layers__run_through_trunk_projector_and_predictor_without_the_target(tiny):
    model = tiny.model(trunk=_Layers(12, 8), projector=_head(8, 4), predictor=_head(4, 4))
    assert model.num_layers == 2 + 2 + 2
    ids = {name: model.get_param_layer_id(name) for name, _ in model.named_parameters() if name.split(".")[0] in ONLINE}
    assert ids == {
        "trunk.weight": 0,
        "trunk.bias": 1,
        "projector.layers.0.weight": 2,
        "projector.layers.0.bias": 2,
        "projector.layers.2.weight": 3,
        "projector.layers.2.bias": 3,
        "predictor.layers.0.weight": 4,
        "predictor.layers.0.bias": 4,
        "predictor.layers.2.weight": 5,
        "predictor.layers.2.bias": 5,
    }
    assert {id(p) for p in model.learnable_params} == {
        id(p) for name, p in model.named_parameters() if name.split(".")[0] in ONLINE
    }
    with pytest.raises(ConfigError, match=r"'target\.trunk\.weight' is not of the online branch"):
        model.get_param_layer_id("target.trunk.weight")


def test_layers__a_missing_projector_is_passed_over(tiny):
    model = tiny.model(trunk=_Layers(12, 8), projector=None, predictor=_head(8, 8), queue={"size": 4, "feature_dim": 8})
    assert model.num_layers == 4
    assert model.get_param_layer_id("predictor.layers.2.weight") == 3


def test_layers__a_network_that_does_not_tell_them_is_named(tiny):
    model = tiny.model()
    with pytest.raises(ConfigError, match=r"layer_decay_lr.* model\.trunk, a Sequential, does not have them"):
        _ = model.num_layers
    with pytest.raises(ConfigError, match=r"model\.projector, a Linear"):
        model.get_param_layer_id("projector.weight")
