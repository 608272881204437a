"""Changes of images while they are trained on, as functions of a seed; of a batch its own.

Shapes: B batch · H W C image · h w what is taken of it.
"""

import math
from typing import Any, NamedTuple

import tensorflow as tf

from tfprior.inputs import is_number

ASPECT = (3 / 4, 4 / 3)
ATTEMPTS = 10
ROWS, COLUMNS, AREA, SHAPE, ROW, COLUMN = range(1, 7)  # each draws by a seed of its own


class Augmentation(NamedTuple):
    """What happens to a batch of images, one after the other.

    Attributes:
        size: (h, w) of what is taken of each image; None for all of it.
        scale: shares of an image's area that are taken and resized to `size`, from the least to the most;
            None to take a part of that size as it is.
        flip: mirrors half of the images left to right.
        anywhere: whether parts that keep their size lie anywhere, or about the centre.
        num_levels: of the values.
    """

    size: tuple[int, int] | None
    scale: tuple[float, float] | None
    flip: bool
    anywhere: bool
    num_levels: int

    def __call__(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        if self.scale is not None:
            height, width = self.size or images.shape[1:3]
            images = resized_crops(images, (height, width), self.scale, self.num_levels, seed)
        elif self.size is not None:
            images = cropped(images, self.size, seed if self.anywhere else None)
        return mirrored_at_random(images, seed) if self.flip else images


def mirrored_at_random(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """About half of the images (B, H, W, C) mirrored left to right."""
    coins = tf.random.stateless_uniform((tf.shape(images)[0], 1, 1, 1), seed)
    return tf.where(coins < 0.5, images, tf.reverse(images, axis=[2]))


def cropped(images: tf.Tensor, size: tuple[int, int], seed: tf.Tensor | None = None) -> tf.Tensor:
    """A part (B, *size, C) of each image (B, H, W, C): about its centre, or with a seed anywhere."""
    count = tf.shape(images)[0]
    starts = []
    for axis, side in zip((ROWS, COLUMNS), size, strict=True):
        room = images.shape[axis] - side
        if seed is None:
            starts.append(tf.fill((count,), room // 2))
        else:
            folded = tf.random.experimental.stateless_fold_in(seed, axis)
            starts.append(tf.random.stateless_uniform((count,), folded, 0, room + 1, tf.int32))

    def part(example: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        image, row, column = example
        return tf.slice(image, [row, column, 0], [*size, -1])

    return tf.map_fn(part, (images, *starts), fn_output_signature=as_images(images, size))


def resized_crops(
    images: tf.Tensor, size: tuple[int, int], scale: tuple[float, float], num_levels: int, seed: tf.Tensor
) -> tf.Tensor:
    """A box of each image (B, H, W, C), of a share of its area and an aspect of its own, resized to `size`.

    Resized as Pillow does by its bicubic filter, which is wider where images become smaller, and rounded to
    levels. A box that is the whole image, of its size already, is the image.
    """
    boxes = random_boxes(tf.shape(images)[0], tuple(images.shape[1:3]), scale, seed)
    target = tf.constant(size, "float32")

    def resize(example: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        image, box = example
        part = tf.slice(image, [box[0], box[1], 0], [box[2], box[3], -1])  # nothing outside bleeds in
        scaled = tf.raw_ops.ScaleAndTranslate(
            images=part[None],
            size=size,
            scale=target / tf.cast(box[2:], "float32"),
            translation=tf.zeros(2),
            kernel_type="keyscubic",
        )[0]
        return tf.cast(tf.clip_by_value(tf.round(scaled), 0, num_levels - 1), images.dtype)

    return tf.map_fn(resize, (images, boxes), fn_output_signature=as_images(images, size))


def as_images(images: tf.Tensor, size: tuple[int, int]) -> tf.TensorSpec:
    """What one of the images is in that size."""
    return tf.TensorSpec((*size, images.shape[3]), images.dtype)


def random_boxes(
    count: tf.Tensor, image_size: tuple[int, int], scale: tuple[float, float], seed: tf.Tensor
) -> tf.Tensor:
    """Boxes (B, 4) as row, column, height, width, in pixels.

    The area is a share of the image's, uniform in `scale`, the logarithm of the aspect uniform between 3/4
    and 4/3. Of ten such boxes the first that fits into the image is taken, and put anywhere; where none fits,
    the largest about the centre that has such an aspect (Szegedy et al. 2014, "Going Deeper with
    Convolutions", arXiv:1409.4842, in the form that torchvision gave it).
    """
    height, width = image_size

    def uniforms(number: int, low: float, high: float, *shape: int) -> tf.Tensor:
        folded = tf.random.experimental.stateless_fold_in(seed, number)
        return tf.random.stateless_uniform((count, *shape), folded, low, high)

    area = height * width * uniforms(AREA, *scale, ATTEMPTS)
    aspect = tf.exp(uniforms(SHAPE, math.log(ASPECT[0]), math.log(ASPECT[1]), ATTEMPTS))
    sides = tf.stack([tf.sqrt(area / aspect), tf.sqrt(area * aspect)], axis=-1)  # (B, 10, 2)
    sides = tf.cast(tf.round(sides), "int32")
    fits = tf.reduce_all((sides > 0) & (sides <= image_size), axis=-1)
    first = tf.argmax(tf.cast(fits, "int32"), axis=-1)
    fallback = largest_of_aspect(image_size)
    found = tf.where(tf.reduce_any(fits, axis=-1)[:, None], tf.gather(sides, first, batch_dims=1), fallback)
    room = tf.cast(tf.constant(image_size) - found, "float32")
    place = tf.stack([uniforms(ROW, 0, 1), uniforms(COLUMN, 0, 1)], axis=-1) * (room + 1)
    centred = tf.cast(tf.constant(image_size) - fallback, "float32") / 2
    place = tf.where(tf.reduce_any(fits, axis=-1)[:, None], tf.minimum(tf.floor(place), room), centred)
    return tf.concat([tf.cast(place, "int32"), found], axis=-1)


def largest_of_aspect(image_size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the largest part of an image whose aspect lies between 3/4 and 4/3."""
    height, width = image_size
    least, most = ASPECT
    if width < least * height:
        return round(width / least), width
    return height, round(height * most) if width > most * height else width


def check_scale(scale: Any) -> tuple[float, float]:
    """The shares of the area as two floats, or ValueError."""
    pair = tuple(scale) if isinstance(scale, tuple | list) else ()
    if len(pair) != 2 or not all(map(is_number, pair)) or not 0 < pair[0] <= pair[1] <= 1:
        raise ValueError(
            f"resized_crop={scale!r} is no range of shares of an image's area; expected two numbers "
            "0 < least ≤ most ≤ 1: pass (0.2, 1.0), say."
        )
    return float(pair[0]), float(pair[1])
