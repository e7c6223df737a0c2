"""Real data: sources by name or path, and their representation as image sets."""

from ncfm.data.arrays import images_of
from ncfm.data.class_batches import draw_class_batches
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.data.normalization import normalize
from ncfm.data.sources import known_names, load_images
from ncfm.data.splitting import carve_validation

__all__ = [
    "ImageSet",
    "ImageSplit",
    "carve_validation",
    "draw_class_batches",
    "images_of",
    "known_names",
    "load_images",
    "normalize",
]
