from __future__ import annotations

import os

from eztorch.utils.machine import usable_cores


def test_usable_cores__are_some():
    assert 1 <= usable_cores() <= os.cpu_count()
