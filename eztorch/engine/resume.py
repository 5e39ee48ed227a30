"""Which checkpoint a job starts from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eztorch.utils.errors import ConfigError


def checkpoints_of(folder: Path) -> list[Path]:
    """Return the checkpoints anywhere below a folder, oldest first."""
    return sorted(folder.rglob("*.ckpt"), key=lambda path: (path.stat().st_mtime_ns, path.name))


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
        found = checkpoints_of(run_dir) if run_dir.is_dir() else []
        return found[-1] if found else None
    path = Path(asked).expanduser()
    if path.is_dir():
        found = checkpoints_of(path)
        if not found:
            raise ConfigError(f"{key}={asked} is a folder without a checkpoint (*.ckpt).")
        return found[-1]
    if not path.is_file():
        near = [str(p) for p in checkpoints_of(path.parent)] if path.parent.is_dir() else []
        hint = f" In that folder are: {', '.join(near[:5])}." if near else ""
        # What stands for a run cannot be left out.
        end = "" if key == "checkpoint" else f" Leave {key} out to take the newest one of the run directory."
        raise ConfigError(f"{key}={asked} does not exist.{hint}{end}")
    return path


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
