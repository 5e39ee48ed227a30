"""The command `eztorch compare` by name. Nothing here imports torch."""

from __future__ import annotations

from eztorch.engine.commands import Command

COMPARE = Command(
    "",
    "compare",
    "Put runs side by side: metrics, what differs in configuration and surroundings, speed, curves.",
    (
        "eztorch compare outputs/sce outputs/byol",
        "eztorch compare outputs/sweep --sort knn/acc_1 --output compare.html",
        "eztorch compare 'outputs/*' --metric 'val/*' --metric '*loss'",
        "eztorch compare outputs/sce outputs/byol --json",
    ),
)
