"""What each of two processes does for test_two_processes.py: short fits with the callbacks; results on disk."""

import sys
import warnings
from pathlib import Path

import torch
from test_failures import Failing
from test_online_evaluator import momentum_sgd
from tiny_run import TinyData, TinyModule, fit
from torch import nn

from eztorch.callbacks import FailureMonitor, KNNEvaluator, MetricsCSV, OnlineEvaluator, ScalarLogger, ThroughputMonitor
from eztorch.utils.distributed import rank
from eztorch.utils.errors import DataError

warnings.simplefilter("ignore")
torch.set_num_threads(1)


class NoBatchStatistics(TinyModule):
    """Two processes with half a batch each then learn what one learns from the whole."""

    def __init__(self):
        super().__init__()
        self.trunk = nn.Linear(8, 6)


def train(folder, **options):
    """Fit with every callback whose numbers are of all ranks."""
    evaluator = OnlineEvaluator(momentum_sgd, nn.Linear(6, 2, bias=False))
    nn.init.constant_(evaluator.classifier.weight, 0.1)
    callbacks = [ThroughputMonitor(), KNNEvaluator(k=3), evaluator, ScalarLogger()]
    data = TinyData(train=16, val=7, unlabelled=True)
    torch.manual_seed(0)
    run = fit(folder, callbacks, module=NoBatchStatistics(), data=data, logger=MetricsCSV(folder / "m.csv"), **options)
    metrics = {name: float(value) for name, value in run.trainer.callback_metrics.items()}
    return {"metrics": metrics, "probe": evaluator.state_dict()["classifier"], "model": run.module.state_dict()}


def fail(folder, **options):
    """Fit with failures that are all of rank 1, once within the limit and once beyond it; return the messages."""
    messages = []
    for failing in ((1,), (1, 3, 5)):
        monitor = FailureMonitor(folder / "failed_samples.csv", max_failure_share=0.1)
        try:
            fit(folder, [monitor], data=Failing(train=failing), module=NoBatchStatistics(), max_epochs=1, **options)
            messages.append("")
        except DataError as error:
            messages.append(str(error))
    return messages


if __name__ == "__main__":
    path = Path(sys.argv[1])
    several = {"devices": 2, "strategy": "ddp"}
    results = {"train": train(path, **several), "failures": fail(path, **several)}
    torch.save(results, path / f"{rank()}.pt")
    torch.distributed.destroy_process_group()
