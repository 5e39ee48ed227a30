from __future__ import annotations

import pytest
import torch

from eztorch.engine.checkpoint_io import WholeCheckpointIO
from eztorch.utils.errors import DataError


def test_whole_checkpoint_io__keeps_the_file_before_it_where_writing_fails(tmp_path, monkeypatch):
    file = tmp_path / "checkpoints" / "last.ckpt"
    WholeCheckpointIO().save_checkpoint({"epoch": 1}, file)

    def half(content, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(
        DataError, match=r"last\.ckpt could not be written, \d+ MB are free there; the one before it is kept"
    ):
        WholeCheckpointIO().save_checkpoint({"epoch": 2}, file)
    assert torch.load(file) == {"epoch": 1}
    assert [path.name for path in file.parent.iterdir()] == ["last.ckpt"]
