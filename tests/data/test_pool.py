import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from eztorch.data.pool import run_all


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_run_all__gives_every_outcome_once(tmp_path, workers):
    paths = [tmp_path / f"{size} é" for size in range(7)]
    for size, path in enumerate(paths):
        path.write_bytes(b"x" * size)
    paths.insert(2, tmp_path / "missing")
    outcomes = {outcome.item: outcome for outcome in run_all(os.path.getsize, paths, workers=workers)}
    assert len(outcomes) == 8
    failed = outcomes.pop(tmp_path / "missing")
    assert "No such file" in failed.error
    assert "Traceback" in failed.trace
    assert {path: outcome.value for path, outcome in outcomes.items()} == {
        path: size for size, path in enumerate(p for p in paths if p.name != "missing")
    }


def test_run_all__names_the_kind_of_an_error_of_the_program():
    (outcome,) = run_all(len, [3], workers=0)
    assert outcome.error == "TypeError: object of type 'int' has no len()"


def test_run_all__goes_on_when_an_item_takes_its_process_down():
    codes = ["1 + 1", "__import__('os')._exit(3)", "__import__('os').abort()", "2 + 2", "3 + 3"]
    outcomes = {outcome.item: outcome for outcome in run_all(eval, codes, workers=2)}
    assert {item: outcome.value for item, outcome in outcomes.items() if outcome.error is None} == {
        "1 + 1": 2, "2 + 2": 4, "3 + 3": 6,
    }  # fmt: skip
    assert outcomes[codes[1]].error == "its process ended while it worked on it (exit status 3)"
    assert outcomes[codes[2]].error == f"its process ended while it worked on it ({signal.strsignal(signal.SIGABRT)})"


def test_run_all__gives_each_process_one_thread():
    before = os.environ.get("OMP_NUM_THREADS")
    (outcome,) = run_all(os.getenv, ["OMP_NUM_THREADS"], workers=1)
    assert outcome.value == "1"
    assert os.environ.get("OMP_NUM_THREADS") == before


def test_run_all__takes_items_as_processes_become_free():
    taken = []

    def items():
        for number in range(5):
            taken.append(number)
            yield 0.01

    outcomes = run_all(time.sleep, items(), workers=2)
    next(outcomes)
    assert len(taken) == 3
    assert len(list(outcomes)) == 4


def test_run_all__stops_the_processes_when_the_iteration_ends_early():
    outcomes = run_all(eval, ["__import__('os').getpid()", "__import__('time').sleep(60)"], workers=1)
    process = next(outcomes).value
    os.kill(process, 0)  # it lives
    start = time.monotonic()
    outcomes.close()
    assert time.monotonic() - start < 30  # it does not wait for the minute of the job
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_run_all__a_process_does_not_hear_of_an_interrupt_even_while_it_imports(tmp_path):
    # The module of the function says who imports it anew, and waits for the interrupt.
    (tmp_path / "slow.py").write_text(
        textwrap.dedent("""
            import multiprocessing, os, pathlib, time
            if multiprocessing.current_process().name != "MainProcess":
                pathlib.Path("new").write_text(str(os.getpid()))
                os.rename("new", "importing")
                while not os.path.exists("interrupted"):
                    time.sleep(0.02)
            def work(item):
                return item
        """)
    )
    program = (
        "import slow; from eztorch.data.pool import run_all; print(next(run_all(slow.work, [1], workers=1)).value)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for _ in range(1200):
        if (tmp_path / "importing").exists():
            break
        time.sleep(0.05)
    os.kill(int((tmp_path / "importing").read_text()), signal.SIGINT)
    (tmp_path / "interrupted").touch()
    assert process.communicate(timeout=60) == ("1\n", "")
