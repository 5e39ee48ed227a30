"""iBOT, https://arxiv.org/abs/2111.07832, and what DINOv2 keeps of it, https://arxiv.org/abs/2304.07193."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor
from typing_extensions import Unpack

from eztorch.losses import centred, ibot_loss, sinkhorn, swav_loss
from eztorch.models.heads import IBOTHead
from eztorch.models.siamese.base import Scalars, SiameseKeys, SiameseModel
from eztorch.models.siamese.checks import not_negative, share
from eztorch.models.siamese.features import Features
from eztorch.models.siamese.key_groups import taken, without
from eztorch.models.siamese.patch_tokens import as_mask, at_places, by_view
from eztorch.models.siamese.self_distillation import (
    SelfDistillation,
    SelfDistillationKeys,
    TeacherOutputs,
    keep_branches,
)
from eztorch.models.siamese.target_branch import TargetBranch
from eztorch.models.steps import pass_at
from eztorch.models.trunks.vit import VisionTransformer
from eztorch.modules import batch_norms, draw_hidden, sum_over_processes
from eztorch.utils.distributed import rank, world_size
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose
from eztorch.utils.randomness import address_seed, run_seed

# Stream of random numbers of the masks; at one address the step has the address itself.
_MASKS = 3


class IBOTKeys(SiameseKeys, SelfDistillationKeys, total=False):
    """Keys of the networks and of what is learned of the teacher."""


@final
class IBOTModel(SiameseModel):
    """Self-distillation of class tokens, as in DINO, and of the patches that the student does not see.

    Patches of the student's global crops are hidden in blocks. It learns the teacher's distribution of the class token
    of another crop, and that of each hidden patch of the same crop, which the teacher sees whole. The trunk is a
    `VisionTransformer` with a class token and a mask token, the projector gives the scores of both kinds of tokens
    (`IBOTHead`). The masks of a sample depend on its place in the batch of all processes.

    Args:
        mask_ratio: Smallest and largest share of the patches that is hidden, drawn for each view.
        mask_prob: Probability that anything of a view is hidden.
        class_coeff: Weight of the loss of the class tokens.
        patch_coeff: Weight of the loss of the hidden patches.
        centring: What keeps the teacher from always giving the same: `centre`, its mean over time taken away, one for
            each kind of token; or `sinkhorn`, prototypes used alike in each batch.
        initial_momentum: Momentum of the moving average at the first step, from 0 to 1.
        scheduler_momentum: `constant`, or `cosine` (a step) or `cosine_epoch` (an epoch) towards 1 at the last update.
        **keys: Keys of every siamese method, see `SiameseModel`, and those of `SelfDistillation`; `normalize_outputs`
            must stay false.

    Attributes:
        centre: What the teacher gives on average for class tokens, shape (K,).
        patch_centre: The same for hidden patches, shape (K,).

    Raises:
        ConfigError: A value is out of its range, or the networks do not give what is learned.
    """

    branch: TargetBranch
    trunk: VisionTransformer
    projector: IBOTHead
    centre: Tensor
    patch_centre: Tensor

    def __init__(
        self,
        *,
        mask_ratio: Sequence[float] = (0.1, 0.5),
        mask_prob: float = 0.5,
        class_coeff: float = 1.0,
        patch_coeff: float = 1.0,
        centring: str = "centre",
        initial_momentum: float = 0.996,
        scheduler_momentum: str = "cosine",
        **keys: Unpack[IBOTKeys],
    ) -> None:
        keys.setdefault("sym", True)
        keys.setdefault("normalize_outputs", False)
        super().__init__(**without(keys, SelfDistillationKeys))
        self._check_networks()
        self.require_all_views()
        if len(mask_ratio) != 2 or not 0 < mask_ratio[0] <= mask_ratio[1] < 1:
            raise ConfigError(f"mask_ratio={list(mask_ratio)}; expected two rising shares between 0 and 1.")
        self.mask_ratio, self.mask_prob = (mask_ratio[0], mask_ratio[1]), share("mask_prob", mask_prob)
        self.class_coeff = not_negative("class_coeff", class_coeff)
        self.patch_coeff = not_negative("patch_coeff", patch_coeff)
        self.distillation = SelfDistillation(**taken(keys, SelfDistillationKeys))
        self.uses_sinkhorn = choose({"centre": False, "sinkhorn": True}, centring, "centring")
        self._outputs = {name: TeacherOutputs() for name in ("centre", "patch_centre")}
        for name in self._outputs:
            self.register_buffer(name, torch.zeros(self.projector.output_dim))
        self._places: list[Tensor] = []  # hidden patches of the global crops of the step
        self.use_target(
            TargetBranch(
                self.trunk,
                self.projector,
                initial_momentum=initial_momentum,
                scheduler_momentum=scheduler_momentum,
            )
        )
        keep_branches(self.target)

    def on_train_start(self) -> None:
        """Begin without outputs of an earlier fit."""
        super().on_train_start()
        for outputs in self._outputs.values():
            outputs.clear()

    def beside_views(self, views: Sequence[Tensor], batch_idx: int) -> list[Tensor]:
        """Draw which patches of the global crops are hidden.

        Args:
            views: All views of the batch, each of shape (B, 3, H, W).
            batch_idx: Number of the batch in the epoch.

        Returns:
            For each global crop the indices of its hidden patches, then -1, shape (B, M).
        """
        step = (run_seed(), *pass_at(self, batch_idx))
        # Sample i of rank r is number i * world + r of the batch that one process would have.
        rows = range(rank(), len(views[0]) * world_size(), world_size())
        self._places = []
        for view in self.plan.key_views:
            first, grid = address_seed(*step, view, _MASKS), self.trunk.grid(views[view])
            drawn = draw_hidden(grid, [first + row for row in rows], prob=self.mask_prob, ratio=self.mask_ratio)
            if not drawn.shape[1]:
                raise ConfigError(f"mask_ratio={list(self.mask_ratio)} hides none of {grid} patches; write more.")
            self._places.append(drawn.to(views[view].device, non_blocking=True))
        return self._places

    def encode_keys(self, views: Sequence[Tensor]) -> dict[int, Tensor]:
        """Encode the global crops with the teacher, which sees them whole.

        Args:
            views: All views of the batch, then their hidden patches, see `beside_views`.

        Returns:
            Scores of the class token by index of the view, shape (B, K), and of its hidden patches by the index of
            these in `views`, shape (B, M, K).
        """
        keys: dict[int, Tensor] = {}
        trunk, projector = self.target.trunk, self.target.projector
        assert isinstance(trunk, VisionTransformer)
        assert isinstance(projector, IBOTHead)
        with torch.no_grad():
            for view, patches in self._patches_of.items():
                tokens = trunk.tokens(views[view])
                keys[view], keys[patches] = projector(tokens[:, 0]), projector(at_places(tokens, views[patches]))
        return keys

    def encode_queries(self, views: Sequence[Tensor]) -> dict[int, Features]:
        """Encode all crops with the student, which sees the mask token in the place of hidden patches.

        Args:
            views: All views of the batch, then their hidden patches, see `beside_views`.

        Returns:
            Features of the class token by index of the view, shapes (1, B, C) and (1, B, K), and of the hidden patches
            of global crops by the index of these in `views`, shapes (1, B, M, C) and (1, B, M, K).
        """
        queries: dict[int, Features] = {}
        for group in self.plan.passes(views, self.plan.key_views):
            indices = [self._patches_of[view] for view in group]
            x, places = (torch.cat([views[index] for index in some]) for some in (group, indices))
            tokens = self.trunk.tokens(x, hidden=as_mask(places, self.trunk.grid(x)))
            patches = at_places(tokens, places)
            queries |= by_view(group, tokens[:, 0], self.projector(tokens[:, 0]))
            queries |= by_view(indices, patches, self.projector(patches))
        for group in self.plan.passes(views, range(self.plan.num_global_crops, self.plan.num_views)):
            h = self.trunk(torch.cat([views[view] for view in group]))
            queries |= by_view(group, h, self.projector(h))
        return queries

    def compute_loss(
        self, queries: Mapping[int, Features], keys: Mapping[int, Tensor], batch: Mapping[str, Any]
    ) -> tuple[Tensor, Scalars]:
        """Add the cross-entropy of the class tokens over the pairs of views, and of the hidden patches of each view."""
        temp, temp_m = self.distillation.temp, self.temp_m_at(self.global_step)
        classes, patches = list(self._patches_of), list(self._patches_of.values())
        valid = torch.cat(self._places) >= 0
        targets = self._targets("centre", torch.cat([keys[view] for view in classes]), temp_m)
        by_class = dict(zip(classes, targets.chunk(len(classes)), strict=True))
        of_classes = self.mean_over_pairs(queries, lambda q, view: swav_loss(q, by_class[view], temp=temp))
        hidden = self._targets("patch_centre", torch.cat([keys[index] for index in patches]), temp_m, valid)
        of_patches = ibot_loss(torch.cat([queries[index].q[0] for index in patches]), hidden, valid, temp=temp)
        loss = self.class_coeff * of_classes + self.patch_coeff * of_patches
        parts = {"class_loss": of_classes.detach(), "patch_loss": of_patches.detach()}
        return loss, {**parts, "temp": temp, "temp_m": temp_m}

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Leave the prototypes as they are in the first epochs."""
        self.distillation.keep_prototypes(self.projector, self.current_epoch)

    def after_optimizer_step(self, step: int) -> None:
        """Move the teacher and its centres."""
        super().after_optimizer_step(step)
        if not self.uses_sinkhorn:
            for name, outputs in self._outputs.items():
                outputs.move(getattr(self, name), self.distillation.centre_momentum)

    def temp_m_at(self, step: int) -> float:
        """Return the temperature of the teacher at an optimizer step."""
        return self.distillation.temp_m_at(step, steps_per_epoch=self.steps_per_epoch, total_steps=self.total_steps)

    @property
    def _patches_of(self) -> dict[int, int]:
        """Index of the hidden patches of each global crop, which stand behind the views."""
        return {view: self.plan.num_views + view for view in self.plan.key_views}

    def _targets(self, centre: str, scores: Tensor, temp_m: float, valid: Tensor | None = None) -> Tensor:
        """Return the distributions that the student learns, of the scores of all global crops, shape (..., K)."""
        rows = scores.flatten(0, -2)
        kept = None if valid is None else valid.flatten()
        if self.uses_sinkhorn:
            rows = rows if kept is None else rows.masked_fill(~kept[:, None], -torch.inf)
            return sinkhorn(rows, eps=temp_m, everywhere=sum_over_processes).view_as(scores)
        self._outputs[centre].add(rows, kept)
        return centred(scores, temp_m=temp_m, centre=getattr(self, centre))

    def _check_networks(self) -> None:
        trunk = self.trunk
        if not isinstance(trunk, VisionTransformer) or trunk.cls_token is None or trunk.mask_token is None:
            raise ConfigError(
                "iBOT needs a vision transformer with a class token and a mask token: write model/trunk=vit_base (or "
                "vit_tiny_small), model.trunk.pool=token and model.trunk.mask_token=true."
            )
        if not isinstance(self.projector, IBOTHead) or self.predictor is not None or self.normalize_outputs:
            raise ConfigError(
                "The projector of iBOT gives the scores of class and patch tokens: write model.projector._target_="
                "eztorch.models.heads.IBOTHead, model.predictor=null and model.normalize_outputs=false."
            )
        if batch_norms(self.projector):
            raise ConfigError(
                "The head of iBOT gets as many rows of each view as can be hidden, and where fewer are, its batch "
                "statistics would be of rows that stand for nothing: write model.projector.norm_layer=null."
            )
