"""`eztorch --help` against a command line that imports torch first, as training scripts do.

The two take turns, each in a fresh interpreter. Goal: ours takes at most a third of the time.

    python benchmarks/cli_help.py
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

IMPORTS_TORCH = "import argparse, torch; argparse.ArgumentParser(prog='train').print_help()"
COMMANDS = {
    "eztorch --help": [sys.executable, "-m", "eztorch", "--help"],
    "a CLI that imports torch": [sys.executable, "-c", IMPORTS_TORCH],
}


def seconds(command: list[str]) -> float:
    """Run a command and return its wall-clock time."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Measure, and print the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=7)
    repetitions = parser.parse_args().repetitions
    for command in COMMANDS.values():
        seconds(command)  # the files are in memory afterwards
    rounds = [{name: seconds(command) for name, command in COMMANDS.items()} for _ in range(repetitions)]
    median = {name: statistics.median(one[name] for one in rounds) for name in COMMANDS}
    for name, value in median.items():
        print(f"{name:25} {value * 1e3:7.0f} ms")
    ours, theirs = median.values()
    print(f"ratio {ours / theirs:.3f} (goal: at most 0.333), {repetitions} repetitions")


if __name__ == "__main__":
    main()
