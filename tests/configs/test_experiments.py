"""Every shipped YAML composes, every `_target_` resolves and takes its keys, every experiment runs two steps."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
import yaml
from omegaconf import OmegaConf

from eztorch.engine.arguments import parse
from eztorch.engine.compose import Composer
from eztorch.engine.experiments import experiments_dir, find_recipe
from eztorch.engine.launch import main
from eztorch.utils.config import build, problems

ROOT = Path(__file__).parents[2]
GROUPS = ROOT / "eztorch" / "configs"
EXPERIMENTS = sorted(path.stem for path in experiments_dir().glob("*.yaml"))
GROUP_FILES = sorted(path.relative_to(GROUPS).as_posix() for path in GROUPS.rglob("*.yaml"))
TASK_OF = {"demo": "pretrain", "finetune": "supervised", "semi": "supervised", "linear": "linear_classifier_evaluation"}
TASKS = {name: TASK_OF.get(name.split("_")[0], name.split("_")[0]) for name in EXPERIMENTS}
TASKS |= {"demo_supervised": "supervised", "demo_linear": "linear_classifier_evaluation"}
# Recipes that begin with the weights of a trunk.
TRANSFER = [name for name in EXPERIMENTS if name.startswith(("finetune", "semi", "linear")) or name == "demo_linear"]
# Last parts of the names of recipes that share a tree of data.
SHARED_DATA = ("_cifar10", "_imagenet100", "_imagenet", "_kinetics400")
# What makes the recipes of TSM small.
TSM = """
    datamodule.train.global_batch_size=2 datamodule.test.global_batch_size=2
    datamodule.train.clip_sampler.frames.num_frames=3 datamodule.val.clip_sampler.frames.num_frames=3
    datamodule.test.clip_sampler.frames.num_frames=3 datamodule.train.transform.transform.size=32
    datamodule.val.transform.transform.transforms.0.size=32 datamodule.val.transform.transform.transforms.1.size=32
    datamodule.test.transform.transform.transforms.0.size=32
    datamodule.test.transform.transform.transforms.1.size=32
    trainer.accelerator=cpu trainer.precision=32 trainer.sync_batchnorm=false trainer.benchmark=false
    trainer.strategy=auto"""
# What makes each experiment a matter of seconds on a CPU.
SMALL = {
    "demo": "datamodule.num_train=16 datamodule.num_val=8 datamodule.train.global_batch_size=8",
    "demo_supervised": "datamodule.num_train=16 datamodule.num_val=8 datamodule.train.global_batch_size=8",
    "pretrain_resnet18_SCE_cifar10": """
        datamodule.train.global_batch_size=8 model.queue.size=16 model.trunk.small_input=false""",
    "supervised_resnet18_cifar10": "datamodule.train.global_batch_size=8 model.model.small_input=false",
    "pretrain_r3d18_MoSI_hmdb51": """
        datamodule.train.global_batch_size=4 datamodule.train.transform.transform.transforms.0.size=40
        datamodule.train.transform.transform.transforms.1.size=40
        datamodule.val.transform.transform.transforms.0.size=32 datamodule.val.transform.transform.transforms.1.size=32
        datamodule.val.clip_sampler.frames.num_frames=4
        model.train_transform.size=32 model.train_transform.num_frames=4
        trainer.accelerator=cpu trainer.precision=32 trainer.sync_batchnorm=false trainer.benchmark=false
        trainer.strategy=auto +model.trunk.model.stem_dim_out=4 model.trunk.head.in_features=32""",
    "supervised_tsm_r50_something_v1": f"""
        {TSM} model.model.network.name=resnet18 model.model.network.pretrained=false""",
    "supervised_tsm_r50_epic_kitchens55": f"""
        {TSM} model.trunk.network.name=resnet18 model.trunk.network.pretrained=false
        model.heads.verb.input_dim=512 model.heads.noun.input_dim=512""",
    "supervised_r3d18_kinetics200": """
        datamodule.decoder=pyav datamodule.decoder_args.frame_filter.num_samples=4
        datamodule.train.global_batch_size=4 datamodule.val.global_batch_size=4
        datamodule.train.transform.transform.transforms.0.min_size=40
        datamodule.train.transform.transform.transforms.0.max_size=48
        datamodule.train.transform.transform.transforms.1.size=32
        datamodule.val.transform.transform.transforms.0.size=32
        datamodule.val.transform.transform.transforms.1.size=32
        datamodule.test.clip_sampler.clips_per_video=2
        datamodule.test.transform.transform.size=32 datamodule.test.transform.dict_transform.size=32
        trainer.accelerator=cpu trainer.precision=32 trainer.sync_batchnorm=false
        +model.model.model.stem_dim_out=4 model.model.head.in_features=32""",
}


# What makes a recipe of a shared data set small, key by key, where it has the key.
SMALLER = {
    "datamodule.train.global_batch_size": "8",
    "datamodule.val.global_batch_size": "8",
    "datamodule.test.global_batch_size": "4",
    "datamodule.decoder_args.frame_filter.num_samples": "4",
    "datamodule.train.clip_sampler.clip_duration": "1",
    "datamodule.val.clip_sampler.clip_duration": "1",
    "datamodule.train.transform.transform.set_transforms.0.transform.size": "32",
    "datamodule.train.transform.transform.set_transforms.0.transform.target_height": "32",
    "datamodule.train.transform.transform.set_transforms.0.transform.target_width": "32",
    "datamodule.train.transform.transform.size": "32",
    "datamodule.train.transform.transform.transforms.0.min_size": "40",
    "datamodule.train.transform.transform.transforms.0.max_size": "48",
    "datamodule.train.transform.transform.transforms.1.size": "32",
    "datamodule.train.transform.transform.target_height": "32",
    "datamodule.train.transform.transform.target_width": "32",
    "datamodule.val.transform.transform.transforms.0.size": "32",
    "datamodule.val.transform.transform.transforms.1.size": "32",
    "datamodule.test.transform.transform.transforms.0.size": "32",
    "datamodule.test.transform.transform.transforms.1.size": "32",
    "datamodule.test.transform.transform.size": "32",
    "datamodule.test.transform.dict_transform.size": "32",
    "datamodule.test.clip_sampler.clip_duration": "1",
    "datamodule.test.clip_sampler.clips_per_video": "2",
    "model.queue.size": "16",
    "model.simulate_n_devices": "2",
    "model.projector.hidden_dims": "32",
    "model.projector.output_dim": "4",
    "model.predictor.hidden_dims": "32",
    "model.whitening_size": "null",
    "model.num_out_tokens": "2",
    "model.teacher_weights": "null",
    "model.trunk.small_input": "false",
    "trainer.accelerator": "cpu",
    "trainer.precision": "32",
    "trainer.sync_batchnorm": "false",
    "trainer.benchmark": "false",
    "trainer.strategy": "auto",
    "callbacks.knn": "null",
}


def smaller(name: str) -> list[str]:
    """Return the overrides that make a recipe of a shared tree of data a matter of seconds on a CPU."""
    _, config = compose(name, "dir.data=/data")
    found = [f"{key}={value}" for key, value in SMALLER.items() if OmegaConf.select(config, key) is not None]
    trunk, width = OmegaConf.select(config, "model.trunk"), None
    if trunk._target_.endswith("create_vit"):
        found += ["+model.trunk.depth=1", "+model.trunk.embed_dim=24", "+model.trunk.num_heads=3"]
        if "decoder_dim" in config.model:
            found += ["model.decoder_dim=12", "model.decoder_depth=1", "model.decoder_heads=2"]
        width = 24
    elif "transformer" in trunk:
        width = 24
        found += [f"+model.trunk.transformer.{key}" for key in ("depth=1", f"embed_dim={width}", "num_heads=3")]
        if OmegaConf.select(config, "model.teacher") is not None:
            found += ["+model.teacher.model.stem_dim_out=4", "model.teacher.head.in_features=128"]
            found += ["model.projector.output_dim=128"]
    elif "name" in trunk:
        found, width = [*found, "model.trunk.name=resnet18"], 512
    elif "head" in trunk and name != "demo_linear":
        width = 32 if trunk.model.model_depth == 18 else 128
        found += ["+model.trunk.model.stem_dim_out=4", f"model.trunk.head.in_features={width}"]
    for key in (
        "model.projector.input_dim",
        "model.classifier.input_dim",
        "callbacks.linear_probe.classifier.input_dim",
    ):
        if width and OmegaConf.select(config, key) is not None:
            found.append(f"{key}={width}")
    return [*found, "+trainer.limit_val_batches=2"]


def transfer(name: str, tree: Path, folder: Path) -> list[str]:
    """Return the command line of a small transfer recipe that begins with weights of its trunk, here random ones."""
    command = ["-cn", name, f"dir.data={tree}", *smaller(name), "+trainer.limit_test_batches=2"]
    if "kinetics200" in name:
        command += ["datamodule.decoder=pyav"]
    if name == "demo_linear":
        command += ["datamodule.num_train=16", "datamodule.num_val=8"]
        command = [word for word in command if "target_" not in word and ".size" not in word]
    _, config = compose(name, *command[2:])
    trunk = build(OmegaConf.to_container(config.model.trunk, resolve=True))
    torch.save({"state_dict": {f"trunk.{key}": value for key, value in trunk.state_dict().items()}}, folder / "w.ckpt")
    return [*command, f"pretrained.path={folder / 'w.ckpt'}"]


def compose(name: str, *overrides: str, task: str = "pretrain"):
    arguments = parse(["-cn", name, *overrides])
    composer = Composer(find_recipe(arguments, task), task)
    return composer, composer.compose(arguments.overrides)


def test_experiments__are_found():
    assert len(EXPERIMENTS) >= 4
    assert len(GROUP_FILES) >= 25
    assert (ROOT / "doc/examples/configs").resolve() == ROOT / "configs"


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiments__compose_and_every_target_takes_its_keys(name, tmp_path):
    composer, config = compose(name, "dir.data=/data", f"dir.root={tmp_path}")
    assert list(problems(composer.resolve(config, tmp_path))) == []


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiments__begin_with_their_command(name):
    header = (experiments_dir() / f"{name}.yaml").read_text().split("defaults:")[0]
    assert f"-cn {name}" in header
    assert all(line.startswith("#") or not line for line in header.splitlines())


@pytest.mark.parametrize("file", GROUP_FILES)
def test_groups__are_used_by_an_experiment_or_offered_for_a_choice(file):
    tree = yaml.safe_load((GROUPS / file).read_text())
    assert isinstance(tree, dict)
    targets = [line for line in problems({key: value for key, value in tree.items() if key != "defaults"})]
    assert [line for line in targets if "unknown key" in line or "cannot be imported" in line] == []


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "lars", "sgd"])
def test_groups__every_optimizer_composes_with_the_recipe(optimizer, tmp_path):
    composer, config = compose(
        "pretrain_r3d18_SCE_kinetics200", f"model/optimizer={optimizer}", "dir.data=/d", f"dir.root={tmp_path}"
    )
    resolved = composer.resolve(config, tmp_path)["model"]["optimizer"]
    assert resolved["name"] == optimizer
    assert resolved["batch_size"] == 512
    assert resolved["scheduler"]["params"]["max_epochs"] == 200


def leaves(tree, path=()):
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, (*path, key))
    else:
        yield path, tree


def test_kinetics200_recipe__has_every_key_of_the_guide_with_its_value(tmp_path):
    guide = OmegaConf.create(yaml.safe_load((Path(__file__).parent / "seed_recipe.yaml").read_text()))
    guide.dir.data = "/data"
    del guide["hydra"]
    expected = OmegaConf.to_container(guide, resolve=True)
    _, config = compose("pretrain_r3d18_SCE_kinetics200", "dir.data=/data")
    composed = OmegaConf.to_container(OmegaConf.masked_copy(config, list(expected)), resolve=True)
    found = dict(leaves(composed))
    wanted = list(leaves(expected))
    assert len(wanted) > 120
    assert {".".join(path): found.get(path, "missing") for path, _ in wanted} == {
        ".".join(path): value for path, value in wanted
    }
    for split in ("val", "test"):
        assert composed["datamodule"][split]["clip_sampler"]["_target_"].endswith("ConstantClipsPerVideoSampler")


# Those that train nothing run in test_evaluation_recipes.py.
@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if not name.startswith(("evaluate_", "retrieval_"))])
@pytest.mark.filterwarnings("ignore:.*has no use for", "ignore:.*max_epochs=.* is not trainer.max_epochs")
def test_experiments__run_two_steps(
    name,
    video_tree,
    cifar_tree,
    hmdb51_tree,
    ucf101_tree,
    imagenet_tree,
    kinetics400_tree,
    something_v1_tree,
    epic_kitchens55_tree,
    tiny_pretraining,
    tmp_path,
):
    if name in TRANSFER:
        trees = {"cifar10": cifar_tree, "hmdb51": hmdb51_tree, "ucf101": ucf101_tree, "kinetics200": video_tree}
        trees |= {"kinetics400": kinetics400_tree, "demo_linear": tmp_path / "data"}
        found = [tree for key, tree in trees.items() if key in name]
        command = transfer(name, found[0] if found else imagenet_tree, tmp_path)
    elif name in SMALL:
        trees = {"cifar10": cifar_tree, "hmdb51": hmdb51_tree, "v1": something_v1_tree}
        trees["kitchens55"] = epic_kitchens55_tree
        data = tmp_path / "data" if name.startswith("demo") else trees.get(name.split("_")[-1], video_tree)
        command = ["-cn", name, f"dir.data={data}", *SMALL[name].split()]
    elif name.endswith(SHARED_DATA):
        tree = {"cifar10": cifar_tree, "kinetics400": kinetics400_tree}.get(name.split("_")[-1], imagenet_tree)
        command = ["-cn", name, f"dir.data={tree}", *smaller(name)]
    else:
        command = tiny_pretraining
    loaders = [f"datamodule.{split}.loader.num_workers=0" for split in ("train", "val", "test")]
    limits = [
        "+trainer.limit_train_batches=2",
        "trainer.max_epochs=1",
        "trainer.check_val_every_n_epoch=1",
    ]
    if (
        OmegaConf.select(compose(name, "dir.data=/data")[1], "model.optimizer.scheduler.params.warmup_epochs")
        is not None
    ):
        limits.append("model.optimizer.scheduler.params.warmup_epochs=0")
    task = TASKS.get(name, "pretrain")
    overrides = [word for word in command if not word.startswith(("trainer.max_epochs", "model.optimizer.scheduler"))]
    place = [f"dir.root={tmp_path}", "dir.exp=run", "report=false"]
    assert main(task, [*overrides, *loaders, *limits, *place]) == 0
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    if name in TRANSFER:
        assert {"train/loss", "val/acc_1", "test/acc_1"} <= metrics.keys()
        assert math.isfinite(metrics["train/loss"])
    elif task == "supervised":
        assert {"train/loss", "val/acc_1", "test/acc_1"} <= metrics.keys()
        assert metrics["test/n_evaluated"] == metrics["test/n_expected"] > 0
        trained = [word for word in overrides if not word.startswith("trainer.max_epochs")]
        assert main("test", [*trained, *loaders, *place]) == 0
        again = json.loads((tmp_path / "run/metrics.json").read_text())
        assert {name: again[name] for name in metrics} == pytest.approx(metrics)
        for target in ("verb_", "noun_") if "test/verb_acc_1" in metrics else ("",):
            assert 0 <= again[f"test/{target}ece"] <= 1
            assert (tmp_path / f"run/predictions/test_{target}".rstrip("_")).with_suffix(".safetensors").exists()
        if "test/verb_acc_1" in metrics:
            assert main("scorecard", [f"checkpoint={tmp_path}/run", "+scorecard.protocols=[test]"]) == 0
            page = (tmp_path / "run/evaluation/scorecard/scorecard.html").read_text()
            assert "test: top-1 accuracy" in page  # of verb and noun together, first of all
            assert "verb: expected calibration error" in page
            assert "n_scored" not in page  # a count is no share
            for target in ("verb", "noun"):
                assert f"<summary>Test, {target}: confusions" in page
    else:
        assert math.isfinite(metrics["pretrain/loss"])


@pytest.mark.filterwarnings(
    "ignore:.*has no use for",
    "ignore:.*max_epochs=.* is not trainer.max_epochs",
    "ignore:You defined a `validation_step` but have no `val_dataloader`",
)
def test_guide_recipe__runs_as_it_is_written_there(tiny_pretraining, tmp_path):
    """The guide's own file, which has no validation split and writes every number out."""
    skipped = ("-cn", "pretrain_r3d18", "datamodule.val", "trainer.log_every_n_steps", "callbacks.linear_probe")
    overrides = [word for word in tiny_pretraining if not word.startswith(skipped)]
    overrides += ["+trainer.log_every_n_steps=1", "model.optimizer.batch_size=4", "+report=false"]
    place = [f"dir.root={tmp_path}", "dir.exp=guide"]
    assert main("pretrain", ["-cp", str(Path(__file__).parent), "-cn", "seed_recipe", *overrides, *place]) == 0
    assert (tmp_path / "guide/metrics.json").exists()


@pytest.mark.filterwarnings("ignore:.*has no use for", "ignore:.*max_epochs=.* is not trainer.max_epochs")
def test_distillation_recipe__finds_its_teacher_in_the_run_of_the_recipe_that_it_names(kinetics400_tree, tmp_path):
    limits = ["+trainer.limit_train_batches=1", "trainer.max_epochs=1", "report=false"]
    limits += ["model.optimizer.scheduler.params.warmup_epochs=0"]
    limits += [f"datamodule.{split}.loader.num_workers=0" for split in ("train", "val")]
    states = []
    for name in ("pretrain_r3d50_MoCo_kinetics400", "pretrain_vit_SCEDistillTokens_kinetics400"):
        small = [word for word in smaller(name) if not word.startswith("model.teacher_weights")]
        place = [f"dir.data={kinetics400_tree}", f"dir.root={tmp_path}"]
        assert main("pretrain", ["-cn", name, *place, *small, *limits]) == 0
        checkpoint = torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)
        states.append(checkpoint["state_dict"])
    pretrained, distilled = states
    prefix = "teacher.network."
    teacher = {key.removeprefix(prefix): value for key, value in distilled.items() if key.startswith(prefix)}
    assert len(teacher) > 200
    for key, value in teacher.items():
        assert torch.equal(value, pretrained[f"trunk.{key}"]), key
