from __future__ import annotations

import shlex

import pytest

import eztorch
from eztorch.engine.arguments import FLAGS, parse
from eztorch.engine.experiments import experiments_dir, list_experiments
from eztorch.engine.help import overview, task_help
from eztorch.engine.tasks import TASKS


def test_overview__lists_every_task_with_its_line_and_an_example():
    text = overview(commands={"data": "Look at data."})
    assert eztorch.__version__ in text
    assert "  data  Look at data.\n" in text
    for task in TASKS.values():
        assert task.summary in text
        assert task.examples[0] in text


@pytest.mark.parametrize("name", sorted(TASKS))
def test_task_help__lists_flags_and_the_experiments_of_the_task(name):
    text = task_help(TASKS[name])
    for flag in FLAGS:
        assert ", ".join(flag.names) in text
    listed = [one for one in list_experiments() if f"  {one.name} " in text]
    assert listed
    assert listed == list_experiments(task=name)
    assert all(one.summary in text for one in listed)


@pytest.mark.parametrize("example", [example for task in TASKS.values() for example in task.examples])
def test_examples__are_commands_that_the_parser_takes_on_experiments_that_exist(example):
    program, task, *words = shlex.split(example)
    assert program == "eztorch"
    assert task in TASKS
    name = parse(words).config_name
    if name is None:  # the run of a checkpoint says what the experiment is
        assert TASKS[task].evaluates
        assert any(word.startswith("checkpoint=") for word in words)
    else:
        assert (experiments_dir() / f"{name}.yaml").is_file()


def test_list_experiments__reads_the_comment_at_the_top(tmp_path):
    (tmp_path / "a.yaml").write_text(
        "# @package _global_\n# First line.\n#\n#   eztorch test -cn a\nx: 1\n# run/pretrain.py\n"
    )
    (tmp_path / "b.yaml").write_text("x: 1\n")
    (tmp_path / "c.yaml").write_text("# python run/pretrain.py -cn c\n")
    first, second, third = list_experiments(tmp_path)
    assert (first.name, first.summary, first.tasks) == ("a", "First line.", ("test",))
    assert (second.name, second.summary, second.tasks) == ("b", "", ())
    assert third.tasks == ("pretrain",)
    assert [one.name for one in list_experiments(tmp_path, task="pretrain")] == ["b", "c"]
    (tmp_path / "b.yaml").unlink()
    assert [one.name for one in list_experiments(tmp_path, task="supervised")] == ["a", "c"]


def test_experiments_dir__has_experiments():
    assert len(list_experiments()) >= 2


def test_tasks__are_run_by_the_engine():
    from eztorch.engine.evaluation.feature_runs import run_features
    from eztorch.engine.run import run_job

    assert {task.load() for task in TASKS.values()} == {run_job, run_features}
