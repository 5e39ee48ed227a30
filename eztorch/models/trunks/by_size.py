"""Builders of one network each, under the names that configurations of the predecessor have.

Each is a builder of ours with its `name` given: what it takes is there. An argument that ours has no place for is an
error that names it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from eztorch.models.trunks.library_network import LibraryNetwork
from eztorch.models.trunks.swin import create_swin
from eztorch.models.trunks.video_networks import create_video_network
from eztorch.models.trunks.vit import create_vit
from eztorch.models.trunks.vivit import create_vivit

create_vit_tiny, create_vit_small, create_vit_base = (partial(create_vit, name) for name in ("tiny", "small", "base"))
create_vivit_tiny, create_vivit_small, create_vivit_base = (
    partial(create_vivit, name) for name in ("tiny", "small", "base")
)
create_swin_tiny, create_swin_small, create_swin_base = (
    partial(create_swin, name) for name in ("swin_t", "swin_s", "swin_b")
)
create_r2plus1d_18 = partial(create_video_network, "r2plus1d_18")
create_r2plus1d = partial(create_video_network, "r2plus1d_r50")
create_x3d = partial(create_video_network, "x3d_s")


def create_s3d(num_classes: int = 101, gating: bool = False, **options: Any) -> LibraryNetwork:
    """Build an S3D, with feature gates or without.

    Args:
        num_classes: Length of the output; 0 gives the features.
        gating: Whether to put gates into it.
        **options: Further arguments of `create_video_network`.

    >>> create_s3d(num_classes=0, gating=True).num_features
    1024
    """
    return create_video_network("s3d_g" if gating else "s3d", num_classes=num_classes, **options)
