"""Loading weights into a network, whatever library they come from."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor, nn

from eztorch.models.weights.files import read_weights
from eztorch.models.weights.fit import fit
from eztorch.models.weights.names import KNOWN_FORMATS, common_names, origin
from eztorch.models.weights.report import WeightReport, some
from eztorch.utils.config import build
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import nearest

_log = logging.getLogger("eztorch")
_CLASSIFIER = "classifier."
# Copies of a network that follow it: they are taken only where they are asked for, or there is nothing else.
_COPIES = re.compile(r"(.*\.)?(target|teacher|ema|\w*momentum\w*|\w*_ema|\w*_k|key_encoder)\.")
_HEADS = re.compile(r"(.*\.)?(projector|predictor|projection_head|prediction_head|target|queue|prototypes)\b")
_POSITIONS = re.compile(r"(.*[._])?pos_embed(ding)?$")
_BLOCK = re.compile(r".*[._]\d+\w?(?=\.)")  # what the names of the weights of a block begin with


class _Match(NamedTuple):
    """Weights of a file and of a network that have the same common name.

    Attributes:
        pairs: Name in the file by name in the network.
        offered: All names in the file of the same network.
        prefix: What stands before these names in the file.
        place: What stands before those of the network in it.
    """

    pairs: dict[str, str]
    offered: list[str]
    prefix: str
    place: str

    def rank(self) -> tuple[int, bool, int, int]:
        """Order matches: most pairs, no copy, then the shortest detour."""
        is_copy = bool(_COPIES.match(self.prefix))
        return (-len(self.pairs), is_copy, len(self.place), len(self.prefix))


def pretrained_trunk(
    trunk: Any,
    path: str,
    pattern: str | None = None,
    strict: bool = True,
    inflation: str = "mean",
    *,
    key: str = "pretrained.path",
) -> nn.Module:
    """Build a network and load weights into it, for use as the `trunk` of any model.

    Args:
        trunk: Module, or spec of one.
        path: See `load_weights`.
        pattern: See `load_weights`.
        strict: See `load_weights`.
        inflation: See `load_weights`.
        key: See `load_weights`.

    Raises:
        ConfigError: See `load_weights`.
    """
    module: nn.Module = build(trunk)
    load_weights(module, path, pattern=pattern, strict=strict, inflation=inflation, key=key)
    return module


def load_weights(
    module: nn.Module,
    path: str | Path,
    *,
    pattern: str | None = None,
    strict: bool = True,
    inflation: str = "mean",
    key: str = "pretrained.path",
) -> WeightReport:
    r"""Load a file of weights into a network, and log a table of what became of every weight.

    Which part of the file it is, and in which library's names, is found out: the part that has the most weights of the
    network; of several with as many, the one that is no moving average.

    Args:
        module: The network; the weights are loaded in place.
        path: A checkpoint, a state dict, or a safetensors file.
        pattern: Regular expression of what the names of the network begin with in the file, for example `^(trunk\.)`;
            what it matches is taken away. None finds out.
        strict: Refuse a file that lacks weights of the network, or has others in the same blocks. A classifier may
            always be missing or have other classes, and counters of batches may be missing.
        inflation: How kernels for images get their length over time: `mean` or `centre`.
        key: Configuration key that the path came from, for messages.

    Raises:
        ConfigError: The file cannot be read, no weight fits, some are missing or too many and it is strict, or a weight
            has a shape that cannot be made to fit.
    """
    file = read_weights(path, key=key)
    under = f", {file.container}" if file.container else ""
    label = f"{file.path} ({origin(file.tensors)}{under})"
    report = load_tensors(module, file.tensors, label, pattern=pattern, strict=strict, inflation=inflation)
    rank_zero_only(_log.info)(str(report))
    if _counts_places(file.tensors) and any(getattr(part, "positions", None) == "fixed" for part in module.modules()):
        rank_zero_only(_log.warning)(
            f"{file.path} looks like VideoMAE's: its positions, which are not in the file, are of the places in the "
            "sequence, and those of the network of each side. Write trunk.positions=sequence to have what it had there."
        )
    return report


def load_tensors(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    source: str = "a state dict",
    *,
    pattern: str | None = None,
    strict: bool = True,
    inflation: str = "mean",
) -> WeightReport:
    """Load weights by name into a network; see `load_weights`.

    >>> old = nn.ModuleDict({"backbone": nn.Linear(2, 3), "projector": nn.Linear(3, 3)})
    >>> load_tensors(nn.Linear(2, 3), old.state_dict()).matched
    {'weight': 'backbone.weight', 'bias': 'backbone.bias'}
    """
    tensors = _with_joined_biases(tensors)
    network = module.state_dict()
    name = type(module).__name__
    match = _match(list(tensors), list(network), pattern)
    if not match.pairs:
        raise ConfigError(_nothing(source, name, tensors, network, pattern))
    offered, used = set(match.offered), set(match.pairs.values())
    report = WeightReport(source, name, other_parts=[one for one in tensors if one not in offered])
    report.left_over = {one: _why_left(one) for one in match.offered if one not in used}
    loaded: dict[str, Tensor] = {}
    misfits: list[str] = []
    grids = _position_grids(module)
    for own, theirs in match.pairs.items():
        value, wanted = tensors[theirs], network[own]
        shapes = f"{tuple(value.shape)} -> {tuple(wanted.shape)}"
        fitted = fit(own, value, wanted.shape, inflation=inflation, grid=grids.get(own))
        if fitted is not None:
            loaded[own] = fitted.value
            report.matched[own] = theirs
            if fitted.change:
                getattr(report, fitted.change)[own] = shapes
        elif _is_classifier(own, match.place, network):
            report.left_over[theirs] = f"a classifier of other classes, {shapes}"
        elif _follows_from_sizes(own, wanted):
            report.left_over[theirs] = f"depends on sizes, {shapes}"
        else:
            misfits.append(f"{own}: {shapes}")
    if misfits:
        raise ConfigError(
            f"{source} does not fit {name}: {len(misfits)} weights have a shape that cannot be made to fit "
            f"(file -> network): {some(misfits)}."
        )
    report.missing = [own for own in network if own not in loaded]
    if strict:
        _refuse_missing(report, match, network, source, name)
        _refuse_other_blocks(report, tensors)
    module.load_state_dict(loaded, strict=False)
    return report


def _position_grids(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the grids that the learned positions of a network are of, by their names, where it tells them."""
    found: dict[str, tuple[int, ...]] = {}
    for prefix, part in module.named_modules():
        # Ours, and those of timm.
        grid = getattr(part, "places", None) or getattr(getattr(part, "patch_embed", None), "grid_size", None)
        if grid is not None and isinstance(getattr(part, "pos_embed", None), Tensor):
            found[f"{prefix}.pos_embed".removeprefix(".")] = tuple(grid)
    return found


def _match(theirs: list[str], own: list[str], pattern: str | None) -> _Match:
    """Return the part of a file that has the most in common with a network, or one of its parts."""
    if pattern is not None:
        begins = _compiled(pattern)
        sources = [({name: name[found.end() :] for name in theirs if (found := begins.match(name))}, "")]
    else:
        sources = [(_under(theirs, prefix), prefix) for prefix in _prefixes(theirs)]
    places = [(_under(own, place), place) for place in _prefixes(own)]
    wanted = [(_by_common(names, own), place) for names, place in places]
    matches = []
    for names, prefix in sources:
        offered = _by_common(names, theirs)
        for needed, place in wanted:
            pairs = {needed[common]: offered[common] for common in needed if common in offered}
            if prefix and place and not any("." in common for common in needed if common in offered):
                pairs = {}  # `weight` and `bias` of a layer here and of one there tell nothing of either
            matches.append(_Match(pairs, list(offered.values()), prefix, place))
    return min(matches, key=_Match.rank)


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"pretrained.pattern={pattern!r} is no regular expression: {error}.") from error


def _prefixes(names: list[str]) -> list[str]:
    """Return what may stand before the names of a network: nothing, or up to four parts that are no numbers.

    >>> _prefixes(["trunk.model.weight", "trunk.head.weight"])
    ['', 'trunk.', 'trunk.model.', 'trunk.head.']
    """
    found = {"": None}
    for name in names:
        prefix = ""
        for part in name.split(".")[:-1][:4]:
            if part.isdigit():
                break
            prefix += f"{part}."
            found[prefix] = None
    return list(found)


def _under(names: list[str], prefix: str) -> dict[str, str]:
    return {name: name[len(prefix) :] for name in names if name.startswith(prefix)}


def _by_common(stripped: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Return the names of a part of a model by their common names, the classifier beside it included."""
    common = common_names(stripped.values())
    found: dict[str, str] = {}
    for name, short in stripped.items():
        found.setdefault(common[short], name)
    for name in names:
        if name not in stripped and not _HEADS.match(name):
            beside = common_names([name])[name]
            if beside.startswith(_CLASSIFIER):
                found.setdefault(beside, name)
    return found


def _with_joined_biases(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Join the biases of queries and values that VideoMAE and BEiT keep apart; keys have none there."""
    joined = dict(tensors)
    for name, query in tensors.items():
        stem = name.removesuffix("q_bias")
        value = tensors.get(f"{stem}v_bias")
        if stem != name and value is not None:
            del joined[name], joined[f"{stem}v_bias"]
            joined[f"{stem}qkv.bias"] = torch.cat([query, torch.zeros_like(query), value])
    return joined


def _counts_places(tensors: Mapping[str, Tensor]) -> bool:
    """Say whether a file is of VideoMAE's code, which makes its positions anew: biases kept apart, and no positions."""
    return any(name.endswith(".attn.q_bias") for name in tensors) and not any(map(_POSITIONS.match, tensors))


def _follows_from_sizes(name: str, value: Tensor) -> bool:
    """Say whether a value is an index, a counter, or a table of relative places, which the network knows by itself."""
    return not value.is_floating_point() or name.endswith(("relative_coords_table", "attn_mask"))


def _is_classifier(own: str, place: str, names: Iterable[str]) -> bool:
    common = common_names(_under(list(names), place).values())
    return common.get(own.removeprefix(place), common_names([own])[own]).startswith(_CLASSIFIER)


def _why_left(name: str) -> str:
    if _POSITIONS.match(name):
        return "positions: this network has fixed ones"
    if name.endswith(("cls_token", "class_token")):
        return "this network has no class token"
    return "classifier" if common_names([name])[name].startswith(_CLASSIFIER) else ""


def _refuse_missing(
    report: WeightReport, match: _Match, network: Mapping[str, Tensor], source: str, target: str
) -> None:
    parameters = [own for own in report.missing if not _follows_from_sizes(own, network[own])]
    needed = [own for own in parameters if not _is_classifier(own, match.place, network)]
    if not needed:
        return
    close = [f"{own} (nearest in the file: {near})" for own in needed[:3] if (near := nearest(own, report.left_over))]
    raise ConfigError(
        f"{source} lacks {len(needed)} of the {len(network)} weights of {target}: {'; '.join(close) or some(needed)}. "
        "Is it the same network, and is all of it in the file? With strict: false they keep their values.\n"
        f"{report}"
    )


def _refuse_other_blocks(report: WeightReport, tensors: Mapping[str, Tensor]) -> None:
    """Refuse weights that are left over in a block of which others were loaded: it computes something else there."""
    known = {found.group() for name in report.matched.values() if (found := _BLOCK.match(name))}
    others = [
        name
        for name, why in report.left_over.items()
        if not why and (found := _BLOCK.match(name)) and found.group() in known
        if not _follows_from_sizes(name, tensors[name])
    ]
    if others:
        raise ConfigError(
            f"{report.source} has {len(others)} weights in its blocks that {report.target} has no place for: "
            f"{some(others)}. So its blocks compute something else. With strict: false they are left out.\n{report}"
        )


def _nothing(
    source: str, target: str, tensors: Mapping[str, Tensor], network: Mapping[str, Tensor], pattern: str | None
) -> str:
    """Return the message of a file of which nothing fits."""
    begins = ", ".join(dict.fromkeys(f"{name.partition('.')[0]}." for name in tensors))
    if pattern is not None and not any(_compiled(pattern).match(name) for name in tensors):
        return f"pretrained.pattern={pattern!r} matches no name of {source}, whose names begin with {begins}"
    pairs = [f"{own} ~ {near}" for own in list(network)[:3] if (near := nearest(own, tensors))]
    nearest_names = f"Nearest names (network ~ file): {', '.join(pairs)}. " if pairs else ""
    return (
        f"no weight of {source} belongs to {target}. The file has {some(tensors)}; the network has {some(network)}. "
        f"{nearest_names}Names are known of {KNOWN_FORMATS}."
    )
