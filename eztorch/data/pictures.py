"""Pictures anew: smaller."""

from __future__ import annotations

import shutil
from pathlib import Path

from PIL import Image

from eztorch.data.listing import IMAGE_SUFFIXES, list_files, suffix
from eztorch.data.prepare.presets import Recipe
from eztorch.data.prepare.recode import Made, small_size
from eztorch.datasets.decoders.pictures import as_rgb

# Modes that are resized as they are; palettes and the like become RGB.
_MODES = ("F", "I", "I;16", "L", "LA", "RGB", "RGBA")


def shrink_picture(path: str | Path, target: Path, recipe: Recipe) -> Made:
    """Write a picture with the short side of the recipe, in the format that it has; copy it where it is small enough.

    Tags stay, that of the orientation among them, so that whoever reads the picture turns it or not as before.

    Raises:
        OSError, SyntaxError: The picture cannot be read.
    """
    with Image.open(path) as image:
        size = small_size(image.width, image.height, recipe.short_side, even=False)
        if size != image.size and getattr(image, "n_frames", 1) == 1:
            form, options = image.format, {"quality": recipe.quality} if image.format in ("JPEG", "WEBP") else {}
            if "exif" in image.info:
                options["exif"] = image.info["exif"]
            image.draft("RGB", size)  # a JPEG is decoded to a half or a quarter where that is large enough
            picture = image if image.mode in _MODES else as_rgb(image)
            picture.resize(size, Image.Resampling.BICUBIC).save(target, form, **options)
            return Made(1)
        image.load()  # a picture that is damaged is not handed on
    shutil.copyfile(path, target)
    return Made(1)


def shrink_folder(path: str | Path, target: Path, recipe: Recipe) -> Made:
    """Do the same to the pictures in a folder, the frames of a video."""
    names = list_files(path, lambda name: suffix(name) in IMAGE_SUFFIXES)
    for name in names:
        shrink_picture(Path(path, name), target / name, recipe)
    return Made(len(names))
