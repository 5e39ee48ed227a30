"""Files of commands that can be stopped and started again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from eztorch.utils.errors import DataError


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
