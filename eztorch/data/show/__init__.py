"""`eztorch data show`: a picture of what the datamodule of an experiment gives out."""

from __future__ import annotations

import argparse
from pathlib import Path

from eztorch.data.arguments import add_experiment_arguments, experiment_of, whole_number
from eztorch.utils.errors import ConfigError

_SUFFIXES = (".png", ".jpg", ".gif")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description = (
        f"{parser.description}\n\n"
        "With -cn the samples are those that the run itself reads, with its seed: of training the first of an epoch,\n"
        "of evaluation some that are spread over the split; their views, labels and clip times stand beside them.\n"
        "Without it, videos (from the first to the last frame) and pictures of a folder."
    )
    parser.add_argument(
        "sources", nargs="*", metavar="PATH", help="folders or files; with -cn, overrides of the configuration"
    )
    add_experiment_arguments(parser, "show samples of this experiment")
    parser.add_argument(
        "--samples", type=whole_number(1, 200), default=8, metavar="N", help="samples to show (default: %(default)s)"
    )
    parser.add_argument(
        "--indices", type=whole_number(0), nargs="+", metavar="I", help="show these samples of the split"
    )
    parser.add_argument(
        "--epoch", type=whole_number(0), default=0, metavar="E", help="epoch of training (default: %(default)s)"
    )
    parser.add_argument("--device-transform", action="store_true", help="after the batch transform of the model, too")
    parser.add_argument(
        "--views", type=whole_number(1), default=8, metavar="N", help="views of a sample at most (default: %(default)s)"
    )
    parser.add_argument(
        "--frames", type=whole_number(1), metavar="N", help="frames of a clip at most (default: 8, in a GIF 32)"
    )
    parser.add_argument(
        "--height",
        type=whole_number(16, 2000),
        metavar="PX",
        help="height of the largest view (default: 112, in a GIF 160)",
    )
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        default=Path("eztorch_show.png"),
        metavar="FILE",
        help=".png, .jpg or .gif (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from eztorch.data.show.samples import file_cards, load_samples
    from eztorch.data.show.sheet import animate, draw_sheet, save_sheet
    from eztorch.data.text import amount

    is_gif = arguments.out.suffix.lower() == ".gif"
    if arguments.out.suffix.lower() not in _SUFFIXES:
        raise ConfigError(f"--out {arguments.out}: the name must end in {', '.join(_SUFFIXES)}.")
    frames, height = arguments.frames or (32 if is_gif else 8), arguments.height or (160 if is_gif else 112)
    if arguments.config_name is None:
        if not arguments.sources:
            raise ConfigError("what is to be shown? Give a folder, or -cn EXPERIMENT dir.data=...")
        if arguments.device_transform or arguments.indices:
            raise ConfigError("--device-transform and --indices are about an experiment: give -cn EXPERIMENT.")
        cards = file_cards(arguments.sources, arguments.samples, frames)
    else:
        samples = load_samples(experiment_of(arguments, arguments.sources), arguments.split)
        addresses = samples.addresses(arguments.samples, arguments.epoch, arguments.indices)
        cards = samples.cards(addresses, on_device=arguments.device_transform, num_views=arguments.views)
    draw = animate if is_gif else draw_sheet
    drawn = draw(cards, height=height, num_frames=frames)
    pictures = drawn if isinstance(drawn, list) else [drawn]
    save_sheet(pictures, arguments.out, seconds=0.1 * len(pictures))
    print(f"{arguments.out}: {amount(len(cards), 'sample')}, {pictures[0].width} x {pictures[0].height}")
    return 0
