"""`eztorch checkpoint`: command line, what is shown, what is exported."""

import copy
import importlib.util
import shlex
import subprocess
import sys

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file

from eztorch.checkpoint.commands import CHECKPOINT
from eztorch.checkpoint.export import graphs
from eztorch.checkpoint.export.source import Comparison
from eztorch.cli import main
from eztorch.models.siamese import SCEModel
from eztorch.utils.config import build

TRUNKS = {
    "clips": (
        {"_target_": "eztorch.models.trunks.create_resnet3d_basic", "model_depth": 10, "stem_dim_out": 4},
        ["3", "4", "32", "32"],
    ),
    "images": (
        {"_target_": "eztorch.models.trunks.create_resnet", "name": "resnet18", "num_classes": 0},
        ["3", "32", "32"],
    ),
    "tokens": (
        {"_target_": "eztorch.models.trunks.create_vit", "name": "tiny", "depth": 1, "pool": "token"},
        ["3", "32", "32"],
    ),
}


@pytest.fixture(params=sorted(TRUNKS))
def run(request, tmp_path):
    """A checkpoint in the run directory of a pretraining, its trunk, and the shape of an input."""
    spec, shape = TRUNKS[request.param]
    return make_run(tmp_path, spec), build(spec), shape


def make_run(folder, spec):
    torch.manual_seed(0)
    head = {"_target_": "torch.nn.Identity"}
    model = SCEModel(trunk=spec, projector=head, optimizer=None, queue={"size": 8, "feature_dim": 3})
    path = folder / "run" / "checkpoints" / "last.ckpt"
    path.parent.mkdir(parents=True)
    torch.save({"state_dict": model.state_dict(), "epoch": 4, "global_step": 100}, path)
    config = {"model": {"_target_": "eztorch.models.siamese.SCEModel", "trunk": spec}}
    (folder / "run" / "config.yaml").write_text(yaml.safe_dump(config))
    return path


@pytest.mark.parametrize("words", [["--help"], ["show", "--help"], ["export", "--help"]])
def test_help__does_not_load_torch(words):
    code = (
        "import sys; from eztorch.cli import main; main(sys.argv[1:]); print('torch' in sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-W", "error", "-c", code, "checkpoint", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == "False\n"
    assert done.stdout.startswith(("Look into files", "Usage: eztorch checkpoint "))


@pytest.mark.parametrize("example", [example for one in CHECKPOINT.commands.values() for example in one.examples])
def test_examples__are_command_lines_that_the_parser_takes(example):
    program, group, name, *arguments = shlex.split(example)
    assert (program, group) == ("eztorch", "checkpoint")
    assert CHECKPOINT.commands[name].parser().parse_words(arguments) is not None


def test_show__says_whose_weights_they_are(tmp_path, capsys):
    path = make_run(tmp_path, TRUNKS["images"][0])
    assert main(["checkpoint", "show", str(path), "--names"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[:5] == [
        str(path),
        "  names of     eztorch",
        "  stand under  state_dict",
        "  epoch        4",
        "  global_step  100",
    ]
    assert "  trunk   120, " in out
    assert "trunk.conv1.weight" in out
    assert "(64, 3, 7, 7) torch.float32" in out


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_export__weights_are_those_of_the_trunk(run, tmp_path, capsys, suffix):
    path, trunk, shape = run
    out = tmp_path / "exports" / f"trunk{suffix}"
    assert main(["checkpoint", "export", str(path), str(out), "--input", *shape]) == 0
    said = capsys.readouterr().out
    assert "largest difference 0, values up to" in said
    assert "Outputs (2, " in said
    state = load_file(out) if suffix == ".safetensors" else torch.load(out, weights_only=True)["state_dict"]
    source = torch.load(path)["state_dict"]
    assert state.keys() == trunk.state_dict().keys()
    assert all(torch.equal(value, source[f"trunk.{name}"]) for name, value in state.items())
    if suffix == ".safetensors":
        with safe_open(out, framework="pt") as file:
            facts = file.metadata()
        assert (facts["source"], facts["epoch"], facts["format"]) == ("last.ckpt", "4", "pt")
        assert yaml.safe_load(facts["trunk"])["_target_"].startswith("eztorch.models.trunks.")


def test_export__weights_without_a_run_directory_keep_their_names(tmp_path, capsys):
    path = tmp_path / "solo.ckpt"
    torch.save({"state_dict": {"backbone.w": torch.ones(2), "projector.w": torch.ones(3)}}, path)
    assert main(["checkpoint", "export", str(path), str(tmp_path / "w.safetensors")]) == 0
    assert list(load_file(tmp_path / "w.safetensors")) == ["w"]
    assert "1 of 2, those under 'backbone.'" in capsys.readouterr().out
    words = ["checkpoint", "export", str(path), str(tmp_path / "p.pth"), "--pattern", "^projector."]
    assert main(words) == 0
    assert torch.equal(torch.load(tmp_path / "p.pth")["state_dict"]["w"], torch.ones(3))


def test_export__a_program_computes_what_the_trunk_does_for_any_number_of_inputs(run, tmp_path, capsys):
    path, trunk, shape = run
    out = tmp_path / "trunk.pt2"
    assert main(["checkpoint", "export", str(path), str(out), "--input", *shape]) == 0
    said = capsys.readouterr().out
    assert f"of 3 random inputs ({', '.join(shape)}): largest difference " in said
    source = torch.load(path)["state_dict"]
    trunk.load_state_dict({name: source[f"trunk.{name}"] for name in trunk.state_dict()})
    x = torch.randn(5, *map(int, shape))
    with torch.no_grad():
        torch.testing.assert_close(torch.export.load(out).module()(x), trunk.eval()(x), rtol=1e-4, atol=1e-5)


def test_export__onnx(tmp_path, capsys):
    path, shape = make_run(tmp_path, TRUNKS["tokens"][0]), TRUNKS["tokens"][1]
    words = ["checkpoint", "export", str(path), str(tmp_path / "trunk.onnx"), "--input", *shape]
    if not all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime")):
        assert main(words) == 2
        assert "pip install 'eztorch[onnx]'" in capsys.readouterr().err
        pytest.skip("onnx is not installed")
    assert main(words) == 0
    assert "Outputs (3, 192) of 3 random inputs (3, 32, 32): largest difference " in capsys.readouterr().out
    assert sorted(one.name for one in tmp_path.glob("trunk*")) == ["trunk.onnx"]


def test_export__onnx_that_is_not_installed_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    path, shape = make_run(tmp_path, TRUNKS["clips"][0]), TRUNKS["clips"][1]
    assert main(["checkpoint", "export", str(path), str(tmp_path / "trunk.onnx"), "--input", *shape]) == 2
    assert "pip install 'eztorch[onnx]'" in capsys.readouterr().err


def test_export__what_differs_from_its_source_fails(tmp_path, capsys, monkeypatch):
    path, shape = make_run(tmp_path, TRUNKS["clips"][0]), TRUNKS["clips"][1]
    real = graphs._exported

    def wrong(network, *arguments):
        other = copy.deepcopy(network)  # a program shares its weights with the network that it was made of
        with torch.no_grad():
            other.blocks[0].conv.weight.mul_(1.5)
        return real(other, *arguments)

    monkeypatch.setattr(graphs, "_exported", wrong)
    assert main(["checkpoint", "export", str(path), str(tmp_path / "x.pt2"), "--input", *shape]) == 1
    assert "do not use it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("difference", "scale", "equal"),
    [(0.0, 0.0, True), (1e-5, 1.0, True), (1e-3, 1.0, False), (float("nan"), 1.0, False)],
)
def test_comparison__is_of_rounding_or_not(difference, scale, equal):
    comparison = Comparison("Outputs", difference, scale)
    assert comparison.is_equal is equal
    assert ("do not use it" in str(comparison)) is not equal


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["{run}", "x.tflite"], "out=x.tflite: the name must end in .safetensors, .pth, .onnx, .pt2."),
        (["{run}", "x.pt2"], "x.pt2 is made for one shape of inputs: give it, for example --input 3 8 112 112."),
        (["{run}", "x.pt2", "--input", "3", "32"], "--input 3 32 does not suit the trunk"),
        (["{run}", "{run}"], "the name must end in"),
        (["{run}", "x.pth", "model.x=1"], "'model.x=1' is an override of an experiment: give -cn EXPERIMENT."),
        (["{alone}", "x.pt2", "--input", "3", "32", "32"], "Give the experiment that has it: -cn EXPERIMENT"),
        (["{alone}", "x.pth", "--pattern", "nothing"], "--pattern 'nothing' matches no name; they begin with trunk."),
        (["{alone}", "x.pth", "--pattern", "("], "is no regular expression"),
        (["{alone}", "{alone}"], "is the checkpoint itself"),
        (["/nowhere/x.ckpt", "x.pth"], "checkpoint=/nowhere/x.ckpt: there is no such file."),
    ],
)
def test_export__mistakes_are_answered_before_anything_is_written(tmp_path, capsys, monkeypatch, words, reason):
    monkeypatch.chdir(tmp_path)
    run = make_run(tmp_path, TRUNKS["images"][0])
    alone = tmp_path / "alone" / "deep" / "er" / "x.pth"
    alone.parent.mkdir(parents=True)
    torch.save({"trunk.weight": torch.ones(2)}, alone)
    assert main(["checkpoint", "export", *(word.format(run=run, alone=alone) for word in words)]) == 2
    err = capsys.readouterr().err
    assert reason in err
    assert err.startswith("eztorch checkpoint export: error: ")
    assert not any((tmp_path / f"x{suffix}").exists() for suffix in (".pth", ".pt2"))


def test_export__takes_the_trunk_of_an_experiment(tmp_path, capsys):
    net = build({"_target_": "eztorch.models.trunks.create_resnet", "name": "resnet18", "num_classes": 0})
    torch.save({f"backbone.{name}": value for name, value in net.state_dict().items()}, tmp_path / "solo.pth")
    words = ["checkpoint", "export", str(tmp_path / "solo.pth"), str(tmp_path / "x.safetensors")]
    assert main([*words, "-cn", "pretrain_resnet18_SimCLR_imagenet100"]) == 0
    assert "matched" in capsys.readouterr().out
    assert main([*words, "-cn", "pretrain_resnet18_SimCLR_imagenet"]) == 2
    assert "Did you mean pretrain_resnet18_SimCLR_imagenet100?" in capsys.readouterr().err
