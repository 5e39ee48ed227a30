"""Linear evaluation in minutes: features extracted once, and a grid of linear classifiers on them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from eztorch.evaluation.features import FeatureRows, LabelledFeatures, extract_in_run, feature_loader
from eztorch.evaluation.linear import (
    LinearHeads,
    Standardization,
    fit_linear_heads,
    head_accuracies,
    head_losses,
    held_out_rows,
)
from eztorch.evaluation.predictions import Predictions
from eztorch.evaluation.sources import SourceFeatures, read_source
from eztorch.models.steps import apply_transform, build_transform, is_empty
from eztorch.schedulers import scale_lr
from eztorch.utils.distributed import all_gather_uneven, rank, world_size
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose

# Heads that learn in one product of matrices. Processes share the groups and not the heads: in another product a head
# has other rounding errors, which a large rate magnifies, and another number of processes would choose another head.
_SIDE_BY_SIDE = 8
_SHOWN = 5  # heads of the printed table


@dataclass(frozen=True, order=True)
class _Head:
    """A head of the grid, with what was measured of it; the order is that of the choice, best last."""

    choice: float  # the accuracy to choose by
    certainty: float  # the negative loss on the same samples: few samples leave many accuracies equal
    place: int = field(compare=True)  # earlier ones are better where both are the same, so it is negative
    source: str = field(compare=False)
    learning_rate: float = field(compare=False)
    weight_decay: float = field(compare=False)
    val: float = field(compare=False)


class LinearProbe(LightningModule):
    """Fits a grid of linear classifiers on the features of a frozen trunk, and measures the one that it chooses.

    `trainer.validate` runs it: the features of the training split are extracted before the validation, whose own pass
    gives those of the validation split. Both are read as in evaluation (`feature_dataloader`), several clips of a video
    averaged, a sample once at any number of processes. The processes share the heads of the grid.

    `selection: held_out` chooses on samples of the training split that no head of the grid has learned from, by their
    accuracy and, where that is the same, by their loss; the chosen pair of a rate and a decay, with its source, then
    learns from the whole training split and is measured on the validation split, once. `selection: val` chooses on the
    validation split, so that its accuracy is the best of the grid there, which is too good; it is for comparison with
    figures that were found like that.

    Logged are `linear/acc_1` and `linear/acc_5` (more than 5 classes) of the chosen head on the validation split, with
    `linear/n_evaluated` and `linear/n_expected`, and `linear/held_out_acc_1`. `linear_probe.csv` in the run directory
    has the whole grid, `linear_probe.safetensors` what the chosen head says of each validation sample
    (`eztorch.evaluation.Predictions`).

    Args:
        trunk: From an input, shape (B, C, ...), to features.
        transform: Callable or spec, run on the device on the input of a batch.
        sources: Where features are taken and how they are pooled, see `eztorch.evaluation.sources.read_source`.
        learning_rates: Rates of the grid, of a batch of 256; they follow `batch_size` (`scaler: linear`).
        weight_decays: Weight decays of the grid.
        epochs: Passes over the features of the training split.
        batch_size: Samples of a step.
        warmup_epochs: Length of the warm-up; a cosine follows.
        momentum: Of SGD.
        standardize: Give the features mean 0 and deviation 1 first, those of the training split.
        selection: `held_out` or `val`.
        held_out: Share of the training split that is held out.
        seed: Of the first weights, the order of the samples and what is held out.

    Raises:
        ConfigError: A value cannot be.
    """

    counts_evaluated = True  # logs n_evaluated itself

    def __init__(
        self,
        trunk: nn.Module,
        transform: Any = None,
        *,
        sources: Sequence[str] = ("output",),
        learning_rates: Sequence[float] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
        weight_decays: Sequence[float] = (0.0, 1e-6, 1e-5, 1e-4),
        epochs: int = 100,
        batch_size: int = 256,
        warmup_epochs: float = 0.0,
        momentum: float = 0.9,
        standardize: bool = False,
        selection: str = "held_out",
        held_out: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.selection = choose({"held_out": "held_out", "val": "val"}, selection, "probe.selection")
        if not learning_rates or not all(rate > 0 for rate in learning_rates):
            raise ConfigError(f"probe.learning_rates={list(learning_rates)}; expected positive numbers.")
        if not weight_decays or not all(decay >= 0 for decay in weight_decays):
            raise ConfigError(f"probe.weight_decays={list(weight_decays)}; expected numbers of at least 0.")
        if epochs < 1 or batch_size < 1 or not 0 < held_out < 1:
            raise ConfigError(
                f"probe.epochs={epochs} and probe.batch_size={batch_size} have to be at least 1, and "
                f"probe.held_out={held_out} between 0 and 1."
            )
        self.features = SourceFeatures(trunk, [read_source(text) for text in sources])
        self.transform = build_transform(transform)
        self.grid = list(product(learning_rates, weight_decays))
        self.recipe: dict[str, Any] = {
            "epochs": epochs,
            "batch_size": batch_size,
            "warmup_epochs": warmup_epochs,
            "momentum": momentum,
            "seed": seed,
        }
        self.standardize, self.held_out, self.seed = standardize, held_out, seed
        self._rows = FeatureRows()
        self._train: LabelledFeatures | None = None
        self._chosen: tuple[_Head, LinearHeads] | None = None

    @property
    def chosen_settings(self) -> dict[str, Any]:
        """What the head that was chosen learned with, once it has; for people."""
        if self._chosen is None:
            return {}
        head = self._chosen[0]
        chosen_on = "the validation split" if self.selection == "val" else f"{self.held_out:.0%} of the training split"
        return {
            "features": head.source,
            "learning rate": head.learning_rate,
            "weight decay": head.weight_decay,
            "epochs": self.recipe["epochs"],
            "chosen on": chosen_on,
        }

    def classifier(self) -> nn.Module | None:
        """Return the trunk with the head that was chosen, from inputs to logits; None for features of other layers."""
        if self._chosen is None or self._chosen[0].source != read_source("output").label or self.standardize:
            return None
        weight, bias = (part[0].detach().clone() for part in self._chosen[1])
        linear = nn.Linear(weight.shape[1], weight.shape[0], device=weight.device)
        linear.weight, linear.bias = nn.Parameter(weight), nn.Parameter(bias)
        return nn.Sequential(self.features.network, linear)

    def on_validation_start(self) -> None:
        """Extract the features of the training split."""
        loader: Any = feature_loader(self._datamodule(), "train")
        self.print(f"Features of {len(loader.dataset):,} training samples")
        self._rows = FeatureRows()
        self._train = extract_in_run(self.trainer, self, loader)

    def validation_step(self, batch: Mapping[str, Any], batch_idx: int) -> dict[str, Tensor] | None:
        """Return the features of a batch, those of all sources side by side; None for a batch of failures alone."""
        if is_empty(batch):
            return None
        return {"h": self.features(apply_transform(self.transform, batch["input"]))}

    def on_validation_batch_end(self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Keep the features of a batch of the validation split."""
        self._rows.add(outputs, batch)

    def on_validation_epoch_end(self) -> None:
        """Fit the grid, choose, and measure what was chosen."""
        val = self._rows.together(self.device)
        if self._train is None or val.labels.ndim == 2 or self._train.labels.ndim == 2:
            raise ConfigError("A linear probe learns one class a sample, and these samples have several labels each.")
        labelled = self._train.labels >= 0
        train = LabelledFeatures(
            self._train.features[labelled], self._train.labels[labelled], self._train.idx[labelled]
        )
        evaluated = int((val.labels >= 0).sum())
        if not len(train.labels) or not evaluated:
            raise ConfigError(
                "A linear probe needs labels: of the training split to learn, of the other to be measured."
            )
        num_classes = getattr(self._datamodule(), "num_classes", 0) or int(train.labels.max()) + 1
        heads = self._fit_grid(train, val, num_classes)
        best = max(heads)
        head = self._learned(best, train, num_classes)
        features = self._by_source(val.features, train.features)[best.source]
        acc_1, acc_5 = head_accuracies(head, features, val.labels, num_wrong=val.num_wrong)[0].tolist()
        self._chosen = best, head
        values = {
            "acc_1": acc_1,
            "n_evaluated": float(evaluated),
            "n_expected": float(self._datamodule().val_num_samples),
        }
        if num_classes > 5:
            values["acc_5"] = acc_5
        if self.selection == "held_out":
            values["held_out_acc_1"] = best.choice
        self.log_dict({f"linear/{name}": value for name, value in values.items()}, sync_dist=True)
        self.print(self._account(heads, best, acc_1, evaluated))
        if self.trainer.is_global_zero:
            folder = Path(self.trainer.default_root_dir)
            self._write(folder / "linear_probe.csv", heads, best)
            self._predictions(head.logits(features)[:, 0], val).save(folder / "linear_probe.safetensors")

    def _datamodule(self) -> Any:
        return self.trainer.datamodule  # type: ignore[attr-defined]  # a connector sets it

    def _by_source(self, features: Tensor, train: Tensor) -> dict[str, Tensor]:
        """Take the features of the sources apart; standardised, where asked for, by those of a training set."""
        if self.standardize:
            features = Standardization.of(train)(features)
        parts = features.split(self.features.widths, dim=1)
        return dict(zip((source.label for source in self.features.sources), parts, strict=True))

    def _fit_grid(self, train: LabelledFeatures, val: LabelledFeatures, num_classes: int) -> list[_Head]:
        """Return the heads of the grid, of all sources and processes, with their accuracies."""
        out = torch.zeros(len(train.labels), dtype=torch.bool)
        if self.selection == "held_out":
            out = held_out_rows(len(train.labels), self.held_out, self.seed)
        out = out.to(train.labels.device)
        own, others = (self._by_source(part, train.features[~out]) for part in (train.features, val.features))
        numbers = range(len(self.grid))
        groups = [numbers[begin : begin + _SIDE_BY_SIDE] for begin in numbers[::_SIDE_BY_SIDE]]
        found: list[_Head] = []
        for source, features in own.items():
            rows = [features.new_empty(0, 3)]  # a process may have no group
            for group in groups[rank() :: world_size()]:
                heads = self._fit(features[~out], train.labels[~out], [self.grid[i] for i in group], num_classes)
                measured = head_accuracies(heads, others[source], val.labels, num_wrong=val.num_wrong)[:, 0]
                chosen_by = [measured, -head_losses(heads, others[source], val.labels)]
                if out.any():
                    samples = features[out], train.labels[out]
                    chosen_by = [head_accuracies(heads, *samples)[:, 0], -head_losses(heads, *samples)]
                rows.append(torch.stack([*chosen_by, measured], dim=1).to(features))
            ranks = [i for r in range(world_size()) for group in groups[r :: world_size()] for i in group]
            values = dict(zip(ranks, all_gather_uneven(torch.cat(rows)).tolist(), strict=True))
            for i, (learning_rate, weight_decay) in enumerate(self.grid):
                accuracy, certainty, val_accuracy = values[i]
                found.append(_Head(accuracy, certainty, -len(found), source, learning_rate, weight_decay, val_accuracy))
        return found

    def _fit(
        self, features: Tensor, labels: Tensor, grid: Sequence[tuple[float, float]], num_classes: int
    ) -> LinearHeads:
        rates = [scale_lr(rate, "linear", self.recipe["batch_size"]) for rate, _ in grid]
        decays = [decay for _, decay in grid]
        return fit_linear_heads(
            features, labels, torch.tensor(rates), torch.tensor(decays), num_classes=num_classes, **self.recipe
        )

    def _learned(self, best: _Head, train: LabelledFeatures, num_classes: int) -> LinearHeads:
        """Return the head of the chosen rate and decay after learning from the whole split."""
        own = self._by_source(train.features, train.features)[best.source]
        return self._fit(own, train.labels, [(best.learning_rate, best.weight_decay)], num_classes)

    def _predictions(self, logits: Tensor, val: LabelledFeatures) -> Predictions:
        datamodule = self._datamodule()
        dataset: Any = datamodule.dataset("val") if hasattr(datamodule, "dataset") else ()
        names = tuple(str(dataset.name(idx)) for idx in val.idx.tolist()) if hasattr(dataset, "name") else ()
        protocol = {
            "split": "val",
            **self.chosen_settings,
            "n_evaluated": len(val.idx),
            "n_expected": datamodule.val_num_samples,
        }
        scores, classes = logits.softmax(dim=1).cpu(), tuple(getattr(dataset, "classes", ()) or ())
        return Predictions(
            val.idx.cpu(), val.labels.cpu(), scores, names, classes if len(classes) == scores.shape[1] else (), protocol
        )

    def _account(self, heads: Sequence[_Head], best: _Head, acc_1: float, evaluated: int) -> str:
        """Return what to tell of the grid, and what the accuracy means."""
        by_val = self.selection == "val"
        where = "the validation split itself" if by_val else f"{self.held_out:.0%} of the training split, held out"
        rows = [
            f"  {head.choice:7.2%}  {head.val:7.2%}  lr {head.learning_rate:g}, wd {head.weight_decay:g}, {head.source}"
            for head in sorted(heads, reverse=True)[:_SHOWN]
        ]
        ending = "chosen on these samples, so it is too good" if by_val else "after learning from all of it"
        return "\n".join(
            [
                f"Linear probe: {len(heads)} heads, chosen on {where}.",
                f"  {'choice':>7}  {'val':>7}  (the best {len(rows)}; all of them in linear_probe.csv)",
                *rows,
                f"Validation accuracy of lr {best.learning_rate:g}, wd {best.weight_decay:g}, {best.source}: "
                f"{acc_1:.2%} of {evaluated:,} samples, {ending}.",
            ]
        )

    def _write(self, path: Path, heads: Sequence[_Head], best: _Head) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["source", "learning_rate", "weight_decay", "choice_acc_1", "val_acc_1", "chosen"])
            for head in heads:
                numbers = (head.learning_rate, head.weight_decay, head.choice, head.val)
                writer.writerow([head.source, *numbers, int(head is best)])
