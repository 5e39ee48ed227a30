import pytest

from eztorch.engine.worker_errors import worker_errors_told
from eztorch.utils.errors import DataError


def test_worker_errors_told__of_a_process_that_lost_another_is_a_line():
    with pytest.raises(DataError, match=r"another process of this run has ended"), worker_errors_told():
        raise RuntimeError("[gloo/transport/tcp/pair.cc:561] Connection closed by peer [127.0.0.1]:17820.")


def test_worker_errors_told__leaves_other_errors_as_they_are():
    with pytest.raises(RuntimeError, match="shape"), worker_errors_told():
        raise RuntimeError("shape mismatch")
