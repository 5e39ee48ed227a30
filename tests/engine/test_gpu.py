"""Paths that need a GPU: `pytest -m gpu`. Set FAIL_WITHOUT_CUDA where they must not be skipped."""

from __future__ import annotations

import json
import os

import pytest
import torch

from eztorch.engine.launch import main
from eztorch.losses import sce_loss
from eztorch.modules import FeatureQueue

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available() and os.environ.get("FAIL_WITHOUT_CUDA") is None, reason="torch finds no GPU"
    ),
    pytest.mark.filterwarnings("ignore:.*has no use for"),
]


@pytest.mark.parametrize("precision", ["16", "bf16", "32"])
def test_pretrain__runs_on_a_gpu_in_each_precision(tiny_pretraining, tmp_path, precision):
    words = [word for word in tiny_pretraining if not word.startswith(("trainer.accelerator", "trainer.precision"))]
    place = [f"dir.root={tmp_path}", "dir.exp=gpu"]
    assert main("pretrain", [*words, *place, "trainer.accelerator=gpu", f"trainer.precision={precision}"]) == 0
    assert 0 < json.loads((tmp_path / "gpu/metrics.json").read_text())["pretrain/loss"] < 20


def test_loss_and_queue__never_wait_for_the_device():
    queue = FeatureQueue(64, feature_dim=8).cuda()
    query = torch.nn.functional.normalize(torch.randn(16, 8, device="cuda"), dim=1).requires_grad_()
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss = sce_loss(query, query.detach(), temp=0.1, temp_m=0.05, coeff=0.5, queue=queue.features)
        loss.backward()
        queue.enqueue(query.detach())
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert query.grad is not None
