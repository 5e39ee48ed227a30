"""The commands of `eztorch data` by name. Nothing here imports torch: a command does so once it runs."""

from __future__ import annotations

from eztorch.engine.commands import Command, CommandGroup

_COMMANDS = (
    Command(
        "data",
        "index",
        "Probe every file of a folder once: duration, frame rate, frames, size, codec, status. Datamodules read it.",
        (
            "eztorch data index /data/kinetics200",
            "eztorch data index /data/ucf101_frames --kind frames --workers 16",
        ),
    ),
    Command(
        "data",
        "check",
        "Examine data before a run does: broken, empty, doubled, leaking, mislabelled; deletes nothing.",
        (
            "eztorch data check /data/mine",
            "eztorch data check train=/data/train.csv val=/data/val.csv --prefix /data/videos --num-classes 101",
            "eztorch data check -cn pretrain_r3d18_SCE_kinetics200 dir.data=/data/kinetics200 --quick",
            "eztorch data check /data/mine --decode --ignore unlisted --write-annotation",
        ),
    ),
    Command(
        "data",
        "split",
        "Write annotation files from a folder or official lists, clips of one source on one side only.",
        (
            "eztorch data split /data/mine -o /data/mine_lists --ratios 0.8 0.1 0.1",
            "eztorch data split /data/mine -o /data/mine_lists --folds 5 --group '(subject[0-9]+)_'",
            "eztorch data split /data/ucf101_frames -o /data/lists --official ucf101 --lists /data/ucfTrainTestlist",
            "eztorch data split /data/kinetics200/train -o /data/lists --all train",
        ),
    ),
    Command(
        "data",
        "prepare",
        "Make videos small and fast to read, or extract their frames; resize pictures.",
        (
            "eztorch data prepare /data/kinetics /data/kinetics256 --measure",
            "eztorch data prepare /data/kinetics /data/kinetics256 --dry-run",
            "eztorch data prepare /data/ucf101 /data/ucf101_frames --to frames --fps 25",
            "eztorch data prepare /data/imagenet /data/imagenet256 --workers 16",
            "srun -N1 -n8 eztorch data prepare /data/kinetics /data/kinetics256 --to intra --workers 4",
        ),
    ),
    Command(
        "data",
        "show",
        "Draw a contact sheet or GIF of what an experiment reads: views, labels, clip times.",
        (
            "eztorch data show -cn pretrain_r3d18_SCE_kinetics200 dir.data=/data/kinetics200 -o views.png",
            "eztorch data show -cn pretrain_r3d18_SCE_kinetics200 dir.data=/data/kinetics200 --device-transform",
            "eztorch data show -cn supervised_r3d18_kinetics200 dir.data=/data/kinetics200 --split val -o val.gif",
            "eztorch data show /data/kinetics200/train --samples 20",
        ),
    ),
    Command(
        "data",
        "bench",
        "Measure how fast data can be read with each decoder, and what would make it faster.",
        (
            "eztorch data bench /data/kinetics/val",
            "eztorch data bench /data/kinetics/val --frames 32 --clips 2 --feed 500 --json bench.json",
            "eztorch data bench -cn pretrain_r3d18_SCE_kinetics200 dir.data=/data/kinetics200 --split train",
        ),
    ),
)
DATA = CommandGroup("data", "Look at, check, convert and split data, before and around training.", _COMMANDS)
COMMANDS = DATA.commands
