"""Resize recipes of papers: how pictures of any size become squares of a data set's resolution.

Each gives other pixels, and so another FID: two recipes are two data sets. PIL's filters average over all pixels that
they cover (antialias) and round to uint8.
"""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image
from PIL.Image import Resampling

_CELEBA_SQUARE = (25, 57, 153, 185)  # left, top, right, bottom: 64 pixels around (89, 121)


def resize_adm(picture: Image.Image, side: int) -> Image.Image:
    """Return a picture as ADM's loader makes it: halved by boxes, bicubic to the short side, centre-cropped.

    Halved while the shorter side is twice the wanted one or more; sizes round a half to the even number, offsets down.
    Small pictures are enlarged. Dhariwal & Nichol 2021, arXiv:2105.05233; DiT and U-ViT do the same.
    """
    while min(picture.size) >= 2 * side:
        picture = picture.resize((picture.width // 2, picture.height // 2), Resampling.BOX)

    scale = side / min(picture.size)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Resampling.BICUBIC)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return picture.crop((left, top, left + side, top + side))


def resize_edm(picture: Image.Image, side: int) -> Image.Image:
    """Return a picture as EDM's data sets have it: the largest centred square, by Lanczos; small ones are enlarged.

    Karras et al. 2022, arXiv:2206.00364.
    """
    short = min(picture.size)
    left, top = (picture.width - short) // 2, (picture.height - short) // 2
    return picture.crop((left, top, left + short, top + short)).resize((side, side), Resampling.LANCZOS)


def resize_short_bilinear(picture: Image.Image, side: int) -> Image.Image:
    """Return a picture bilinear to the short side, centre-cropped: torchvision's Resize and CenterCrop.

    The longer side is cut to a whole number, and the offset of the crop rounds. Small pictures are enlarged. The LSUN
    of DDIM: Song, Meng & Ermon 2021, arXiv:2010.02502.
    """
    short = min(picture.size)
    width, height = (int(side * size / short) for size in picture.size)
    picture = picture.resize((width, height), Resampling.BILINEAR)
    left, top = round((width - side) / 2), round((height - side) / 2)
    return picture.crop((left, top, left + side, top + side))


def resize_celeba_128(picture: Image.Image, side: int) -> Image.Image:
    """Return an aligned picture of CelebA as DDIM and U-ViT have it: rows 57 to 184, columns 25 to 152, bilinear.

    Takes pictures of 178x218 pixels, see `FIXED_SIZES`.
    """
    return picture.crop(_CELEBA_SQUARE).resize((side, side), Resampling.BILINEAR)


PAPER_RECIPES: dict[str, Callable[[Image.Image, int], Image.Image]] = {
    "adm": resize_adm,
    "edm": resize_edm,
    "short-bilinear": resize_short_bilinear,
    "celeba-128": resize_celeba_128,
}
"""By the name that a card gives as `resize`. Pictures of the wanted size too go through them."""

FIXED_SIZES: dict[str, tuple[int, int]] = {"celeba-128": (178, 218)}
"""Width and height of the only pictures that a recipe takes, in pixels."""
