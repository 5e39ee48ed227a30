"""Writing files so that whoever looks finds them whole, or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Give a path beside `path` to write to, and move what is there to `path` at the end.

    The folder is made where it is not there. When the block raises, nothing is left. What a process that was killed
    has left of the same file is removed.

    Args:
        path: The file, which is replaced where it exists. The temporary one is hidden and has its suffix.
    """
    with _temporary(Path(path)) as temporary:
        yield temporary
        os.replace(temporary, path)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Give an empty folder beside `path` to fill, and move it to `path` at the end; see `atomic_file`.

    Args:
        path: The folder, which is replaced where it exists.
    """
    with _temporary(Path(path)) as temporary:
        temporary.mkdir()
        yield temporary
        if os.path.lexists(path):
            with _temporary(Path(path), keep="-new") as old:
                os.replace(path, old)
                os.replace(temporary, path)
        else:
            os.replace(temporary, path)


@contextmanager
def _temporary(path: Path, *, keep: str | None = None) -> Iterator[Path]:
    # Names may be as long as the file system takes, so the temporary one holds a digest of them.
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".eztorch-{hashlib.blake2b(os.fsencode(path.name), digest_size=6).hexdigest()}-"
    if keep is None:
        for left in path.parent.glob(f"{prefix}*"):
            _remove(left)
    temporary = path.parent / f"{prefix}{os.getpid()}{'' if keep is None else '-old'}{path.suffix}"
    try:
        yield temporary
    finally:
        _remove(temporary)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(FileNotFoundError):
            path.unlink()
