import pytest

from eztorch.engine.arguments import parse
from eztorch.engine.finished_run import experiment_of, run_directory
from eztorch.engine.launch import main
from eztorch.utils.errors import ConfigError


@pytest.fixture
def run(tmp_path):
    """A run directory with a checkpoint."""
    (tmp_path / "my run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "my run" / "config.yaml").write_text("model: {}\n")
    (tmp_path / "my run" / "checkpoints" / "last.ckpt").touch()
    return tmp_path / "my run"


def test_experiment_of__is_the_configuration_of_the_run_that_wrote_the_checkpoint(run):
    found = experiment_of(parse([f"checkpoint={run}/checkpoints/last.ckpt", "knn.k=[1]"]), "knn")
    assert (found.config_path, found.config_name) == (str(run), "config")
    assert found.overrides == (
        f"++ckpt_path='{run}/checkpoints/last.ckpt'",  # a path with a space is quoted
        f"++dir.run='{run}/evaluation/knn'",
        "knn.k=[1]",
    )


def test_experiment_of__takes_the_newest_checkpoint_of_a_run_directory(run):
    found = experiment_of(parse([f"checkpoint='{run}'"]), "test")
    assert found.overrides[0] == f"++ckpt_path='{run}/checkpoints/last.ckpt'"


def test_experiment_of__is_the_one_that_is_named(run):
    found = experiment_of(parse(["-cn", "demo", f"checkpoint={run}/checkpoints/last.ckpt"]), "knn")
    assert (found.config_path, found.config_name) == (None, "demo")
    assert found.overrides == (f"++ckpt_path='{run}/checkpoints/last.ckpt'",)


def test_experiment_of__leaves_other_command_lines_as_they_are():
    arguments = parse(["-cn", "demo", "model.temp=0.2"])
    assert experiment_of(arguments, "knn") is arguments


def test_experiment_of__says_what_is_missing(run, tmp_path):
    with pytest.raises(
        ConfigError, match=r"checkpoint=.*first\.ckpt does not exist\. In that folder are: .*last\.ckpt"
    ):
        experiment_of(parse([f"checkpoint={run}/checkpoints/first.ckpt"]), "knn")
    alone = tmp_path / "alone.ckpt"
    alone.touch()
    with pytest.raises(ConfigError, match=r"none of the folders above it is a run directory.*-cn EXPERIMENT"):
        experiment_of(parse([f"checkpoint={alone}"]), "knn")


def test_run_directory__is_looked_for_a_few_folders_up(run):
    deep = run / "checkpoints" / "a" / "b" / "c"
    deep.mkdir(parents=True)
    assert run_directory(run / "checkpoints" / "a" / "x.ckpt") == run
    assert run_directory(deep / "x.ckpt") is None


def test_main__without_an_experiment_says_that_a_checkpoint_names_one(capsys):
    assert main("scorecard", ["checkpointt=/output/run"]) == 2
    message = capsys.readouterr().err
    assert (
        "write checkpoint=FILE for the run that wrote the file (is checkpointt= meant to be that?), or -cn NAME"
        in message
    )
    assert main("pretrain", []) == 2
    assert "no experiment is named: write -cn NAME." in capsys.readouterr().err


def test_experiment_of__moves_the_data_of_the_run(run):
    (run / "config.yaml").write_text(
        "dir: {data: data/digits, root: out}\n"
        "datamodule: {datadir: data/digits, val: {dataset: {annotations: data/digits/val.csv}}}\n"
        "model: {words: data/digits2}\n"
    )
    found = experiment_of(parse([f"checkpoint={run}", "dir.data='/new data'"]), "knn")
    assert found.overrides[2:] == (
        "++datamodule.datadir='/new data'",
        "++datamodule.val.dataset.annotations='/new data/val.csv'",
        "dir.data='/new data'",
    )
    with pytest.raises(ConfigError, match=r"dir.root=elsewhere beside checkpoint= says nothing.*dir.run=FOLDER"):
        experiment_of(parse([f"checkpoint={run}", "dir.root=elsewhere"]), "knn")
