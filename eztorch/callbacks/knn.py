"""How well the nearest neighbours in feature space share a class, while the model trains."""

from __future__ import annotations

from typing import Any

import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer

from eztorch.callbacks.publishing import publish, say
from eztorch.evaluation.features import LabelledFeatures, extract_in_run, feature_loader
from eztorch.evaluation.knn import count_correct, knn_predict
from eztorch.utils.distributed import rank, world_size
from eztorch.utils.errors import ConfigError


class KNNEvaluator(Callback):
    """Measures the accuracy of a weighted kNN classifier on frozen features (arXiv 1805.01978).

    Features come from the module's own validation step, so with its validation transform, its precision and every clip
    of a video averaged. Each sample counts once at any number of processes. Samples without a label are left out, and
    those that cannot be read too, unless their split has `on_error: count_as_wrong`.

    Written are `knn/acc_1` (0 to 1) with `knn/n_evaluated` and `knn/n_expected`, and once `knn/acc_1_untrained`, that
    of the weights before the first step.

    Args:
        k: Number of neighbours.
        temperature: Of the neighbours' votes.
        every_n_epochs: Epochs between two evaluations; the last epoch is always evaluated.
        before_training: Evaluate before the first step of a run.
        input_name: Which features of the validation step to take.
        bank_split: Split of the neighbours.
        query_split: Split that is classified; `bank_split` itself is allowed, a sample is not its own neighbour then.
    """

    goes_over_all_data = True
    """What a rehearsal of a training leaves out."""

    def __init__(
        self,
        k: int = 20,
        temperature: float = 0.07,
        *,
        every_n_epochs: int = 1,
        before_training: bool = True,
        input_name: str = "h",
        bank_split: str = "train",
        query_split: str = "val",
    ) -> None:
        if k < 1 or every_n_epochs < 1:
            raise ConfigError(f"KNNEvaluator: k={k} and every_n_epochs={every_n_epochs} must be positive.")
        if not temperature > 0:
            raise ConfigError(f"KNNEvaluator: temperature={temperature} must be positive.")
        self._k = k
        self._temperature = temperature
        self._every_n_epochs = every_n_epochs
        self._before_training = before_training
        self._input_name = input_name
        self._bank_split, self._query_split = bank_split, query_split
        self._untrained: float | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate the untrained weights; a run that continues knows them from its checkpoint."""
        if self._before_training and trainer.global_step == 0:
            self._untrained = self._evaluate(trainer, pl_module)
            publish(trainer, {"knn/acc_1": self._untrained, "knn/acc_1_untrained": self._untrained})
        elif self._untrained is not None:
            publish(trainer, {"knn/acc_1_untrained": self._untrained}, to_loggers=False)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate, when it is the epoch for it."""
        epoch = trainer.current_epoch + 1
        if epoch % self._every_n_epochs == 0 or epoch == trainer.max_epochs:
            publish(trainer, {"knn/acc_1": self._evaluate(trainer, pl_module)})

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: the accuracy before training."""
        return {"untrained": self._untrained}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what a checkpoint kept."""
        self._untrained = state_dict["untrained"]

    def _evaluate(self, trainer: Trainer, pl_module: LightningModule) -> float:
        query, expected = self._extract(trainer, pl_module, self._query_split)
        itself = self._bank_split == self._query_split
        bank = query if itself else self._extract(trainer, pl_module, self._bank_split)[0]
        mine = slice(None) if itself else slice(rank(), None, world_size())
        predictions = knn_predict(
            bank.features,
            bank.labels,
            query.features[mine],
            k=self._k,
            temperature=self._temperature,
            exclude_self=itself,
        )
        counts = count_correct(predictions, query.labels[mine])
        if world_size() > 1 and not itself:
            dist.all_reduce(counts)
        correct, evaluated = counts.tolist()
        answers = evaluated + query.num_wrong
        if not evaluated:
            raise ConfigError(f"KNNEvaluator: no sample of the {self._query_split} split has a label.")
        say(
            trainer,
            f"kNN (k={min(self._k, len(bank.features))}) at step {trainer.global_step}: {correct / answers:.1%}, "
            f"{evaluated} of {expected} {self._query_split} samples evaluated.",
        )
        publish(trainer, {"knn/n_evaluated": evaluated, "knn/n_expected": expected})
        return float(correct / answers)

    def _extract(self, trainer: Trainer, pl_module: LightningModule, split: str) -> tuple[LabelledFeatures, int]:
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]  # a connector sets it
        loader: Any = feature_loader(datamodule, split)
        features = extract_in_run(trainer, pl_module, loader, input_name=self._input_name)
        if features.labels.ndim == 2:
            raise ConfigError(
                "KNNEvaluator: neighbours vote for one class, and these samples have several labels each."
            )
        return features, len(loader.dataset)
