"""Which checkpoint a job starts from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from eztorch.utils.errors import ConfigError

_CONFIG = "config.yaml"  # a folder that has it is a run directory


def checkpoints_of(folder: Path) -> list[Path]:
    """Return the checkpoints anywhere below a folder, oldest first."""
    return _by_age(folder.rglob("*.ckpt"))


def checkpoints_of_run(run_dir: Path) -> list[Path]:
    """Return the checkpoints of a run, oldest first; those of another run whose directory is inside are not its own."""
    others = {path.parent for path in run_dir.rglob(_CONFIG)} - {run_dir}
    return _by_age(path for path in run_dir.rglob("*.ckpt") if others.isdisjoint(path.parents))


def _by_age(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: (path.stat().st_mtime_ns, path.name))


def find_checkpoint(asked: str | Path | None, run_dir: Path, *, key: str = "ckpt_path") -> Path | None:
    """Return the checkpoint to start from.

    Args:
        asked: A checkpoint, a folder (its newest one is taken) or None.
        run_dir: Where to look for the newest checkpoint when none is asked for.
        key: The configuration key that `asked` came from, for the message.

    Returns:
        The checkpoint; None when none is asked for and the run directory has none.

    Raises:
        ConfigError: What was asked for does not exist, or is a folder without a checkpoint.
    """
    if asked is None:
        found = checkpoints_of_run(run_dir) if run_dir.is_dir() else []
        return found[-1] if found else None
    path = Path(asked).expanduser()
    if path.is_dir():
        found = checkpoints_of(path)
        if not found:
            raise ConfigError(f"{key}={asked} is a folder without a checkpoint (*.ckpt).")
        return found[-1]
    if not path.is_file():
        near = [str(p) for p in _by_age(path.parent.glob("*.ckpt"))] if path.parent.is_dir() else []
        hint = f" In that folder are: {', '.join(near[:5])}." if near else ""
        # What stands for a run cannot be left out.
        end = "" if key == "checkpoint" else f" Leave {key} out to take the newest one of the run directory."
        raise ConfigError(f"{key}={asked} does not exist.{hint}{end}")
    return path


def check_checkpoint(checkpoint: Path, *, max_epochs: int | None = None, to_train: bool = True) -> None:
    """Look into a checkpoint before it is taken; tensors are not read.

    Args:
        checkpoint: The file.
        max_epochs: How many epochs the training has that goes on from it; None or -1 for any number.
        to_train: Whether a training goes on from it. A test needs its weights alone.

    Raises:
        ConfigError: It is damaged, or does not hold what is needed.
    """
    import pickle
    import zipfile

    import torch

    is_whole = zipfile.is_zipfile(checkpoint)  # the list of what is in it stands at its end
    try:
        content = torch.load(checkpoint, map_location="meta", mmap=is_whole, weights_only=True)
    except Exception as error:  # what torch raises depends on where the file is broken
        if is_whole and isinstance(error, pickle.UnpicklingError):
            return  # it has objects of a user's own, of which whoever loads it has to say what to do
        raise _damaged(checkpoint, error) from error
    if not isinstance(content, Mapping) or not {"state_dict", "pytorch-lightning_version"} <= content.keys():
        raise ConfigError(
            f"{checkpoint} holds weights, but is no checkpoint of a run; pretrained.path={checkpoint} begins with them."
        )
    if not to_train:
        return
    if "optimizer_states" not in content:
        raise ConfigError(
            f"{checkpoint} was saved without the state of the optimizer, so that no training goes on from it; "
            f"pretrained.path={checkpoint} with another dir.exp begins with its weights."
        )
    if max_epochs is not None and 0 <= max_epochs < content["epoch"]:
        raise ConfigError(
            f"{checkpoint} is of epoch {content['epoch'] + 1}, beyond trainer.max_epochs={max_epochs}. Raise it, or "
            "write another dir.exp to start anew."
        )


def _damaged(checkpoint: Path, error: Exception) -> ConfigError:
    others = [path for path in checkpoints_of(checkpoint.parent) if path != checkpoint]
    way_on = f"Remove it to go on from {others[-1]}" if others else "Remove it to start anew"
    return ConfigError(
        f"{checkpoint} is damaged, or no checkpoint ({type(error).__name__}). {way_on}, or name another one: "
        "ckpt_path=FILE."
    )


@contextmanager
def explained_misfit(checkpoint: Path | None) -> Iterator[None]:
    """Turn torch's word on weights that do not fit the model into an error that says where they are from.

    Raises:
        ConfigError: The checkpoint is of another model.
    """
    try:
        yield
    except RuntimeError as error:
        first, *lines = str(error).splitlines()
        if checkpoint is None or not first.startswith("Error(s) in loading state_dict"):
            raise
        listed = " ".join(_shortened(line.strip()) for line in lines[:3]) + (" ..." if len(lines) > 3 else "")
        raise ConfigError(
            f"{checkpoint} is of another model than this one: {listed} Write the keys that it was trained with, or "
            "another dir.exp to start anew."
        ) from error


def _shortened(line: str) -> str:
    """Return a line of torch's, of a list of keys the first two.

    >>> _shortened('Missing key(s) in state_dict: "a", "b", "c", "d".')
    'Missing key(s) in state_dict: "a", "b" and 2 more.'
    >>> _shortened("size mismatch for a: torch.Size([1, 2, 3, 4]).")
    'size mismatch for a: torch.Size([1, 2, 3, 4]).'
    """
    first, *keys = line.removesuffix(".").split('", "')
    return line if len(keys) < 2 else f'{first}", "{keys[0]}" and {len(keys) - 1} more.'
