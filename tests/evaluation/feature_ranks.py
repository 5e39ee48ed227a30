"""What each process does for test_two_processes.py; started once a rank by torch.distributed.run.

Jobs from the command line over 7, 8 and 9 samples, and clips of a sample that lie in several batches and processes.
"""

import sys
import warnings
from pathlib import Path

import torch
import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).parent))
from test_feature_store import write

from eztorch.engine.launch import main
from eztorch.utils.distributed import rank, world_size

SIZES = (7, 8, 9)
CASES = [(size, "train") for size in SIZES] + [(9, "val")]
RECIPE = """\
defaults:
  - base
  - model: trunk_features
  - _self_
datamodule:
  _target_: eztorch.datamodules.RandomDataModule
  num_classes: 3
  train: {global_batch_size: 4, dataset: {shape: [2, 3, 2], len_dataset: 1}}
  val: {global_batch_size: 4, dataset: {shape: [2, 3, 2], len_dataset: 1}}
trainer: {max_epochs: 1, accelerator: cpu, enable_progress_bar: false}
callbacks: {progress_bar: null}
dir: {data: null, exp: job}
ckpt_path: untrained
extract: {rows_per_shard: 4}
knn: {k: [3, 1], bank: train}
retrieval: {ranks: [1, 2], num_neighbours: 3}
hydra:
  searchpath: [pkg://eztorch.configs]
  run: {dir: "${...dir.run}"}
"""
# A trunk without sums, so that a feature does not depend on the samples that it is computed with.
TRUNK = ["~model.trunk", "+model.trunk._target_=torch.nn.Flatten"]


def run(folder, processes):
    """Run kNN and retrieval over every size, and once with the queries themselves as the bank."""
    for size, bank in CASES:
        lengths = [f"datamodule.train.dataset.len_dataset={size + 3}", f"datamodule.val.dataset.len_dataset={size}"]
        place = ["-cp", str(folder), "-cn", "recipe", f"dir.root={folder}", f"trainer.devices={processes}"]
        banks = [f"knn.bank={bank}", f"retrieval.bank.split={bank}", f"dir.exp={size}_{bank}"]
        for task in ("knn", "retrieval_from_bank"):
            assert main(task, [*place, *lengths, *TRUNK, *banks]) == 0


def spread_clips(folder):
    """Write 5 samples of 4 clips, the clips dealt out to the processes, two a batch; return the store."""
    clips = [(idx, clip) for clip in range(4) for idx in range(5)][rank() :: world_size()]
    return write(folder, [clips[begin : begin + 2] for begin in range(0, len(clips), 2)], 5)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    path = Path(sys.argv[1])
    run(path, 2)
    spread_clips(path / "spread")
    dist.destroy_process_group()
