"""What happens beside the training itself: writing numbers, showing progress, evaluating, and noticing trouble."""

from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, TQDMProgressBar

from eztorch.callbacks.batch_statistics import BatchStatistics
from eztorch.callbacks.collapse import CollapseMonitor
from eztorch.callbacks.csv_logger import MetricsCSV
from eztorch.callbacks.failures import FailureMonitor
from eztorch.callbacks.knn import KNNEvaluator
from eztorch.callbacks.last_checkpoint import LastCheckpoint
from eztorch.callbacks.network_summary import NetworkSummary
from eztorch.callbacks.online_evaluator import OnlineEvaluator
from eztorch.callbacks.predictions import PredictionWriter
from eztorch.callbacks.progress import ProgressBar
from eztorch.callbacks.publishing import publish
from eztorch.callbacks.rehearsal import Rehearsal
from eztorch.callbacks.requeue import Requeue
from eztorch.callbacks.scalars import ScalarLogger, ScalarSource
from eztorch.callbacks.throughput import ThroughputMonitor
from eztorch.callbacks.view_recorder import ViewRecorder
from eztorch.callbacks.weight_decay import WeightDecaySchedule

__all__ = [
    "BatchStatistics",
    "CollapseMonitor",
    "FailureMonitor",
    "KNNEvaluator",
    "LastCheckpoint",
    "LearningRateMonitor",
    "MetricsCSV",
    "ModelCheckpoint",
    "NetworkSummary",
    "OnlineEvaluator",
    "PredictionWriter",
    "ProgressBar",
    "Rehearsal",
    "Requeue",
    "ScalarLogger",
    "ScalarSource",
    "TQDMProgressBar",
    "ThroughputMonitor",
    "ViewRecorder",
    "WeightDecaySchedule",
    "publish",
]
