"""Writing files so that whoever looks finds them whole, or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from eztorch.utils.errors import DataError

_BLOCK = 2**20  # bytes that are read at a time


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


def write_tensors(path: str | Path, tensors: Mapping[str, Any], facts: Mapping[str, str] | None = None) -> None:
    """Write tensors to a safetensors file, whole or not at all, with the permissions that other files have.

    The library's own function leaves a file that nobody else may read.

    Args:
        path: The file.
        tensors: By name; none shares its memory with another.
        facts: What is written beside them.
    """
    from safetensors.torch import save

    content = save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata=dict(facts or {}) or None)
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def file_digest(path: str | Path) -> str:
    """Return the SHA-256 of what is in a file, which may be larger than the memory.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     file_digest(file.name)[:8]
    'e3b0c442'
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


class JsonLines:
    """A file of one JSON object a line that a command writes while it works and reads when it is started again.

    A line counts once it is written to its end: what a killed process left of its last line is taken away on opening.

    Args:
        path: The file, made with its folder where it is not there.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with JsonLines(folder + "/done.jsonl") as lines:
        ...         lines.append({"path": "a.mp4"})
        ...     print(read_json_lines(folder + "/done.jsonl"))
        [{'path': 'a.mp4'}]
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("a+b")
        self._file.seek(0)
        content = self._file.read()
        self._file.truncate(content.rfind(b"\n") + 1)

    def append(self, line: Mapping[str, Any]) -> None:
        """Write a line and hand it to the operating system, so that it stays when this process is killed."""
        self._file.write(json.dumps(line, ensure_ascii=False).encode("utf-8", "surrogateescape") + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_json_lines(path: str | Path) -> list[dict[str, Any]]:
    """Return the lines of a file; none where there is no file. A last line without an end does not count.

    Raises:
        DataError: A line is no JSON object; the message names it.
    """
    try:
        *lines, _ = Path(path).read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            content = json.loads(line.decode("utf-8", "surrogateescape"))
        except ValueError as error:
            raise DataError(f"{path}, line {number}: not JSON ({error}). Delete the file to start anew.") from error
        if not isinstance(content, dict):
            raise DataError(f"{path}, line {number}: not a JSON object. Delete the file to start anew.")
        found.append(content)
    return found
