"""Datasets, the loader samplers that address their samples, and what puts samples together."""

from eztorch.datasets.annotations import Annotation, LabeledVideo, LabeledVideoPaths, read_annotation
from eztorch.datasets.cifar import DictCIFAR10, DictCIFAR100
from eztorch.datasets.collate import collate, multiple_samples_collate
from eztorch.datasets.concat import Concat
from eztorch.datasets.failures import SampleFailure
from eztorch.datasets.image_dataset import DictDataset, ImageDataset, ImageFolder
from eztorch.datasets.labeled_video_dataset import LabeledVideoDataset
from eztorch.datasets.loader_samplers import EpochSampler, PassBatchSampler, SampleAddress, ShardSampler
from eztorch.datasets.random_dataset import RandomDataset
from eztorch.datasets.subsets import Subset, SubsetRule

__all__ = [
    "Annotation",
    "Concat",
    "DictCIFAR10",
    "DictCIFAR100",
    "DictDataset",
    "EpochSampler",
    "ImageDataset",
    "ImageFolder",
    "LabeledVideo",
    "LabeledVideoDataset",
    "LabeledVideoPaths",
    "PassBatchSampler",
    "RandomDataset",
    "SampleAddress",
    "SampleFailure",
    "ShardSampler",
    "Subset",
    "SubsetRule",
    "collate",
    "multiple_samples_collate",
    "read_annotation",
]
