"""Reading checkpoints of the predecessor."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

_PREFIXES = {"momentum_trunk.": "target.trunk.", "momentum_projector.": "target.projector."}
_QUEUE, _POINTER = "queue", "queue_ptr"
_DROPPED = ("train_transform.", "val_transform.", "test_transform.")


def convert_legacy_state_dict(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the weights of a siamese method the names and shapes that they have here.

    | predecessor                    | here                            |
    | ------------------------------ | ------------------------------- |
    | `momentum_trunk.*`             | `target.trunk.*`                |
    | `momentum_projector.*`         | `target.projector.*`            |
    | `queue`, shape (D, K)          | `queue.features`, shape (K, D)  |
    | `queue_ptr`, shape (1,)        | `queue.pointer`, shape ()       |
    | `{train,val,test}_transform.*` | left out: constants, no weights |

    All other names, and those of a state dict that is already in today's form, stay.

    Args:
        state_dict: Weights by name; it is not changed.

    >>> list(convert_legacy_state_dict({"trunk.weight": None, "momentum_trunk.weight": None}))
    ['trunk.weight', 'target.trunk.weight']
    """
    converted = {}
    for name, value in state_dict.items():
        if name.startswith(_DROPPED):
            continue
        if name == _QUEUE:
            name, value = "queue.features", value.T.contiguous()
        elif name == _POINTER:
            name, value = "queue.pointer", value.reshape(())
        else:
            for old, new in _PREFIXES.items():
                if name.startswith(old):
                    name = new + name[len(old) :]
        converted[name] = value
    return converted
