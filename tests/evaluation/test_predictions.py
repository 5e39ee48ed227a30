"""Files of predictions, and their fusion."""

import json

import pytest
import torch

from eztorch.evaluation import Predictions, fuse
from eztorch.evaluation.predictions import Unanswered, ViewScores
from eztorch.utils.errors import ConfigError, DataError


def make(scores, *, names=("a/x.mp4", "a/y.mp4"), labels=(0, 1), idx=(0, 1), **options):
    labels = labels if isinstance(labels, torch.Tensor) else torch.tensor(labels)
    return Predictions(torch.tensor(idx), labels, torch.tensor(scores), tuple(names), **options)


ONE = [[0.9, 0.1], [0.4, 0.6]]
TWO = [[0.3, 0.7], [0.2, 0.8]]


@pytest.mark.parametrize("several", [False, True])
def test_predictions__come_back_as_they_were(tmp_path, several):
    labels = torch.tensor([[1.0, 0.5], [0.0, 1.0]]) if several else torch.tensor([1, -1])
    predictions = make(
        ONE,
        labels=labels,
        class_names=("walk", "rün"),
        protocol={"views": {"temporal": 3}, "failures": ["b.mp4"], "checkpoint": None},
        num_views=torch.tensor([3, 2]),
        unanswered=Unanswered(torch.tensor([2]), labels[:1]),
        views=ViewScores(torch.tensor([0]), torch.tensor([1]), torch.tensor([2]), torch.tensor([[0.5, 0.5]])),
    )
    predictions.save(tmp_path / "test.safetensors")
    found = Predictions.load(tmp_path / "test.safetensors")
    for name in ("idx", "labels", "scores", "num_views"):
        assert torch.equal(getattr(found, name), getattr(predictions, name)), name
    for name in ("names", "class_names", "protocol", "multi_label"):
        assert getattr(found, name) == getattr(predictions, name), name
    for name in ("views", "unanswered"):
        for mine, theirs in zip(getattr(found, name), getattr(predictions, name), strict=True):
            assert torch.equal(mine, theirs)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test.json", "test.safetensors"]


def test_predictions__need_nothing_but_scores(tmp_path):
    Predictions(torch.arange(0), torch.arange(0), torch.empty(0, 3)).save(tmp_path / "test.safetensors")
    found = Predictions.load(tmp_path / "test.safetensors")
    assert (found.scores.shape, found.names, found.num_views, found.views) == ((0, 3), (), None, None)


def test_predictions__that_do_not_belong_together_are_an_error(tmp_path):
    file = tmp_path / "test.safetensors"
    make(ONE).save(file)
    content = file.read_bytes()
    make(TWO).save(file)
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"test.safetensors and test.json do not belong together"):
        Predictions.load(file)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda folder: (folder / "test.json").unlink(),
            r"test.json cannot be read: No such file.*In that folder are: .*test.safe",
        ),
        (lambda folder: (folder / "test.json").write_text("{"), r"test.json is not JSON"),
        (
            lambda folder: (folder / "test.json").write_text("{}"),
            r"test.json is not about predictions: it has no sha256",
        ),
        (lambda folder: (folder / "test.safetensors").unlink(), r"test.safetensors cannot be read: No such file"),
    ],
)
def test_predictions__that_cannot_be_read_say_why(tmp_path, damage, message):
    make(ONE).save(tmp_path / "test.safetensors")
    damage(tmp_path)
    with pytest.raises(DataError, match=message):
        Predictions.load(tmp_path / "test.safetensors")


def test_predictions__are_in_safetensors(tmp_path):
    with pytest.raises(DataError, match=r"test.pth: predictions are in a file \*.safetensors"):
        make(ONE).save(tmp_path / "test.pth")


def test_predictions__of_shapes_that_do_not_fit_are_an_error():
    with pytest.raises(
        DataError, match=r"Predictions of 2 videos and 2 classes have other sizes of names, class_names"
    ):
        make(ONE, names=("a",), class_names=("x",))


def test_fuse__of_probabilities_equals_a_computation_by_hand():
    fusion = fuse([make(ONE), make(TWO)], [1, 1.5])
    torch.testing.assert_close(fusion.scores, torch.tensor([[0.54, 0.46], [0.28, 0.72]]))
    assert fusion.protocol["weights"] == [0.4, 0.6]


def test_fuse__of_logits_is_the_softmax_of_their_mean():
    logits = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)).double()
    streams = [make(one.softmax(1).tolist(), names="abc", labels=(0, 1, 2), idx=(0, 1, 2)) for one in logits]
    fusion = fuse(streams, [1, 3], of="logits")
    torch.testing.assert_close(fusion.scores, (0.25 * logits[0] + 0.75 * logits[1]).softmax(1).float())


def test_fuse__of_logits_of_several_labels_is_the_sigmoid_of_their_mean():
    logits = torch.randn(2, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    labels = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    fusion = fuse([make(one.sigmoid().tolist(), labels=labels) for one in logits], of="logits")
    torch.testing.assert_close(fusion.scores, logits.mean(0).sigmoid().float())


def test_fuse__of_logits_takes_probabilities_of_zero():
    fusion = fuse([make([[1.0, 0.0], [0.0, 1.0]]), make([[0.5, 0.5], [0.5, 0.5]])], of="logits")
    assert torch.isfinite(fusion.scores).all()
    assert fusion.scores.argmax(1).tolist() == [0, 1]


def test_fuse__brings_videos_together_by_their_names():
    frames = make([TWO[1], TWO[0]], names=("a/y", "a/x"), labels=(1, 0), idx=(0, 1))
    fusion = fuse([make(ONE), frames])
    torch.testing.assert_close(fusion.scores, torch.tensor([[0.6, 0.4], [0.3, 0.7]]))
    assert (fusion.names, fusion.idx.tolist()) == (("a/x.mp4", "a/y.mp4"), [0, 1])


def test_fuse__brings_segments_of_a_video_together_by_their_index():
    one, two = make(ONE, names=("x", "x")), make([TWO[1], TWO[0]], names=("x", "x"), labels=(1, 0), idx=(1, 0))
    torch.testing.assert_close(fuse([one, two]).scores, torch.tensor([[0.6, 0.4], [0.3, 0.7]]))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            make(TWO, names=("a/x.mp4", "a/z.mp4")),
            r"The streams are not about the same videos. rgb lacks 1 of flow: a/z; flow lacks 1 of rgb: a/y\.",
        ),
        (make(TWO[:1], names=("a/x.mp4",), labels=(0,), idx=(0,)), r"flow lacks 1 of rgb: a/y"),
        (make(TWO, labels=(0, 0)), r"1 video\(s\) have other labels in flow than in rgb, the first: a/y"),
        (make([[0.2, 0.2, 0.6]] * 2), r"rgb has 2 classes and flow 3"),
        (make(TWO, class_names=("walk", "jump")), r"Class 1 is 'run' in rgb and 'jump' in flow"),
    ],
)
def test_fuse__of_other_videos_says_which(other, message):
    with pytest.raises(DataError, match=message):
        fuse([make(ONE, class_names=("walk", "run")), other], names=("rgb", "flow"))


@pytest.mark.parametrize(
    ("count", "options", "message"),
    [
        (2, {"weights": [1]}, r"There are 2 streams and 1 weights"),
        (2, {"weights": [1, -1]}, r"weights=\[1, -1\]; expected positive"),
        (2, {"weights": [0, 0]}, r"weights=\[0, 0\]; expected positive"),
        (2, {"of": "logit"}, r"of='logit' is not known.* Did you mean 'logits'\?"),
        (1, {}, r"two or more streams, not of 1"),
    ],
)
def test_fuse__says_what_cannot_be(count, options, message):
    with pytest.raises(ConfigError, match=message):
        fuse([make(ONE)] * count, **options)


def test_protocol__of_a_fusion_has_those_of_its_streams():
    fusion = fuse([make(ONE, protocol={"checkpoint": "rgb.ckpt", "n_expected": 3}), make(TWO)], names=("rgb", "flow"))
    assert fusion.protocol["streams"][0]["checkpoint"] == "rgb.ckpt"
    assert (fusion.protocol["fusion_of"], fusion.protocol["n_expected"]) == (["rgb", "flow"], 3)
    json.dumps(fusion.protocol)
