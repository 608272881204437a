"""Images to bytes, and the same images from the bytes and the same model.

Shapes: N images · H W C.
"""

from typing import Any, Literal

import numpy as np
from keras import ops

from tfprior.compression import digests
from tfprior.compression.batches import Contents, code_batches
from tfprior.compression.coder import Decoder, Encoder, UndecodableError
from tfprior.compression.container import MOST_IMAGES, MOST_IN_A_BATCH, Header, file_of, read
from tfprior.compression.environment import Environment
from tfprior.compression.matching import check_codable, check_condition_of, check_counts, check_model, differs
from tfprior.compression.ordering import number_of, order_for
from tfprior.float32_copies import in_float32
from tfprior.image_model import ImageModel
from tfprior.inputs import as_array, check_condition, check_values
from tfprior.sharding import rounded


def compress(
    model: ImageModel,
    images: Any,
    condition: Any = None,
    batch_size: int = 128,
    progress: bool = False,
    order: Literal["raster", "halton"] | int = "raster",
) -> bytes:
    """Images (N, H, W, C) in as many bits as −log2 of their likelihood, and about 60 bytes more.

    Only the same weights give the images back, and only where probabilities are computed to the same last
    digit: with the same versions of tfprior, Keras and the backend, on the same kind of processor (on an
    accelerator, whose kernels may be chosen anew in each process, that is not certain). `decompress` notices
    where they are not: keep the images until it has given them back in a process of its own.

    Args:
        model: a prior, or a generator, whose bits are those of its bound.
        images: integers as the model models them.
        condition: one row for each image, for a conditional model. Labels go into the file too, in log2 of
            `num_classes` bits each; anything else does not.
        batch_size: images that go through the network at once, here and in `decompress`.
        progress: whether a bar is shown, where there is a terminal.
        order: in which an any-order prior takes the pixels: "raster", "halton", or the number k < 256 of one
            of `tfprior.orders.declared_orders`, which has these two first. It goes into the file.

    Raises:
        ValueError: for images or a condition of the wrong shape, type or range, a batch size out of range,
            a model of more than 65 536 levels, a masked prior, and one that gives NaN; for orders that the
            model does not know.
        ModuleNotFoundError: without the package constriction.
    """
    model, images, condition = in_float32(model), _array(images), _array(condition)
    check_codable(model)
    number = number_of(order)
    along = order_for(model, number)
    check_values(images, model.grid_shape, model.num_levels, "images")
    check_condition(condition, model.condition_kind, len(images))
    if not 1 <= len(images) <= MOST_IMAGES:
        raise ValueError(f"Got {len(images)} images; expected one at least, {MOST_IMAGES:,} at most.")
    if not isinstance(batch_size, int) or not 1 <= batch_size <= MOST_IN_A_BATCH:
        raise ValueError(f"batch_size={batch_size!r}; expected an integer in [1, {MOST_IN_A_BATCH}].")
    labels, vectors = (condition, None) if model.num_classes is not None else (None, condition)
    num_batches = -(-len(images) // batch_size)
    even = min(rounded(-(-len(images) // num_batches)), MOST_IN_A_BATCH)  # little is filled up
    encoder, contents = Encoder(), Contents(images, labels)
    shown = "compressing" if progress else None
    code_batches(model, encoder, contents, _numbers(vectors), len(images), even, shown, along)
    header = Header(
        len(images),
        even,
        digests.of_architecture(model),
        digests.of_weights(model),
        digests.of_condition(vectors),
        digests.of_images(images, labels),
        number,
        Environment.here(),
    )
    return file_of(header, encoder.data())


def decompress(model: ImageModel, data: bytes, condition: Any = None, progress: bool = False) -> Contents:
    """The images that `compress` made the bytes of, and their labels; never any others.

    Args:
        model: of the same weights.
        data: what `compress` gave.
        condition: vectors or maps, as in `compress`; labels come from the file.
        progress: whether a bar is shown, where there is a terminal.

    Raises:
        ValueError: for data that are damaged or no such file, another model or condition than the images were
            compressed with, and where probabilities come out otherwise than there.
        ModuleNotFoundError: without the package constriction.
    """
    header, words = read(data)
    model, condition = in_float32(model), _array(condition)
    check_codable(model)
    check_model(model, header)
    check_condition_of(model, condition, header)
    check_counts(model, header, len(words))
    decoder = Decoder(words)
    shown = "decompressing" if progress else None
    try:
        along = order_for(model, header.order)
        vectors = _numbers(condition)
        found = code_batches(
            model, decoder, None, vectors, header.num_images, header.batch_size, shown, along
        )
    except UndecodableError as error:
        raise ValueError(differs(header)) from error
    if not decoder.is_exhausted() or digests.of_images(*found) != header.images:
        raise ValueError(differs(header))
    return found


def _array(values: Any) -> Any:
    return None if values is None else ops.convert_to_numpy(as_array(values))


def _numbers(condition: np.ndarray | None) -> np.ndarray | None:
    """As the network takes them: tokens of sources int32, vectors and maps float32."""
    if condition is None:
        return None
    return condition.astype("int32" if condition.dtype.kind in "iu" else "float32")
