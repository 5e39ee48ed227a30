"""How the methods on tokens compare them, and what they check before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from typing_extensions import TypedDict

from eztorch.losses import sce_token_chance_level, sce_token_loss
from eztorch.losses.sce_token_loss import check_positives
from eztorch.models.siamese.checks import above_zero
from eztorch.models.siamese.features import Features
from eztorch.utils.errors import ConfigError


class TokenKeys(TypedDict, total=False):
    """Keys of the methods on tokens; `TokenComparison` says what they mean."""

    temp: float
    positive_radius: int
    keep_aligned_positive: bool
    normalize_positive_coeff: bool
    use_keys: bool
    use_all_keys: bool
    num_out_tokens: int | None


@dataclass(frozen=True)
class TokenComparison:
    """Which tokens are positives and which negatives; see `eztorch.losses.sce_token_loss`.

    Args:
        temp: Temperature of the online similarities.
        positive_radius: Steps in time up to which a token of the own key is a positive.
        keep_aligned_positive: The token at the same time is a positive; False needs a radius.
        normalize_positive_coeff: Give tokens with fewer positives, at the ends, a smaller share of them in the target.
        use_keys: The other tokens of the own key are negatives.
        use_all_keys: So are all tokens of the batch, of all processes; `use_keys` must then be false.
        num_out_tokens: Tokens that a sample has, checked; None for any number.
        queue_size: Number of earlier tokens, 0 for no queue.

    Raises:
        ConfigError: A value is out of its range, or a token has no positives or no negatives.
    """

    temp: float = 0.1
    positive_radius: int = 0
    keep_aligned_positive: bool = True
    normalize_positive_coeff: bool = False
    use_keys: bool = True
    use_all_keys: bool = False
    num_out_tokens: int | None = None
    queue_size: int = 0

    def __post_init__(self) -> None:
        above_zero("temp", self.temp)
        if self.use_keys and self.use_all_keys:
            raise ConfigError(
                "use_keys=true and use_all_keys=true: all tokens of the batch include those of the own sample; "
                "write model.use_keys=false."
            )
        if self.num_out_tokens is not None and self.num_out_tokens < 1:
            raise ConfigError(f"num_out_tokens={self.num_out_tokens}; expected a positive number, or null for any.")
        many = 2 * abs(self.positive_radius) + 2  # where their number is not known yet, there may be enough
        check_positives(
            self.num_out_tokens or many,
            positive_radius=self.positive_radius,
            keep_aligned_positive=self.keep_aligned_positive,
            within=self.within,
            further=self.queue_size + self.use_all_keys,
        )

    @property
    def within(self) -> bool:
        """Whether tokens of the own key are negatives."""
        return self.use_keys or self.use_all_keys

    def check(self, queries: Mapping[int, Features], keys: Mapping[int, Tensor]) -> None:
        """Refuse queries and keys that cannot be compared token by token.

        Args:
            queries: Features of the query views, q of shape (M, B, T, D).
            keys: What they are compared with, each of shape (B, T, D).

        Raises:
            ConfigError: They are no tokens, or others than those that are expected.
        """
        shapes = [tuple(features.q.shape[1:]) for features in queries.values()] + [
            tuple(x.shape) for x in keys.values()
        ]
        for shape in shapes:
            if len(shape) != 3:
                raise ConfigError(
                    f"Tokens are compared, shape (B, T, D), and there are features of shape {shape}; take a trunk that "
                    "gives tokens, such as eztorch.models.trunks.create_vitransformer_token_handler_model with all its "
                    "keys false."
                )
        numbers, lengths = {shape[1] for shape in shapes}, {shape[2] for shape in shapes}
        if len(numbers) > 1 or len(lengths) > 1:
            query, key = shapes[0][1:], shapes[-1][1:]
            raise ConfigError(
                f"Queries are {query[0]} tokens of length {query[1]} a sample, and what they are compared with "
                f"{key[0]} of length {key[1]}; the trunks and model.projector.output_dim have to give the same."
            )
        if self.num_out_tokens not in (None, *numbers):
            raise ConfigError(
                f"num_out_tokens={self.num_out_tokens}, but a sample has {numbers.pop()} tokens; "
                "write their number, or null for any."
            )

    def loss(self, query: Tensor, key: Tensor, *, temp_m: float, coeff: float, negatives: Mapping[str, Any]) -> Tensor:
        """Return the loss of the tokens of a view, shape ().

        Args:
            query: Shape (B, T, D).
            key: Shape (B, T, D).
            temp_m: Temperature of the relations.
            coeff: Share of the positives.
            negatives: `queue`, `keys` and `keys_offset` of the loss, as far as there are any.
        """
        return sce_token_loss(
            query,
            key,
            temp=self.temp,
            temp_m=temp_m,
            coeff=coeff,
            positive_radius=self.positive_radius,
            keep_aligned_positive=self.keep_aligned_positive,
            normalize_positive_coeff=self.normalize_positive_coeff,
            use_keys=self.use_keys,
            **negatives,
        )

    def chance_level(self, num_tokens: int, num_samples: int) -> float:
        """Return the loss of features that tell nothing.

        Args:
            num_tokens: Tokens of a sample.
            num_samples: Samples of the batch, of all processes; of no matter without `use_all_keys`.
        """
        return sce_token_chance_level(
            num_tokens,
            self.queue_size + (num_tokens * (num_samples - 1) if self.use_all_keys else 0),
            positive_radius=self.positive_radius,
            keep_aligned_positive=self.keep_aligned_positive,
            within=self.within,
        )
