"""One door to all data sets."""

import functools
import os
from collections.abc import Callable
from pathlib import Path

from .code_shards import DESCRIPTION
from .codes import ShardedCodes
from .downloaded import CLASS_NAMES, downloaded
from .embedded import digits, photos
from .folder import read_folder
from .holdout import hold_out
from .image_size import check_image_size
from .images import Images
from .levels import check_num_levels
from .numpy_files import images_of_npy, images_of_npz
from .parquet_slices import SUFFIX, images_of_parquet, parquet_files

NAMED: dict[str, Callable[[], Images]] = {
    "digits": digits,
    "photos": photos,
    **{name: functools.partial(downloaded, name) for name in CLASS_NAMES},
}
NUMPY_FILES = {".npy": images_of_npy, ".npz": images_of_npz}


def load(
    name_or_path: str | os.PathLike[str],
    *,
    image_size: int | tuple[int, int] | None = None,
    num_levels: int | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> Images:
    """A data set by name, or from an .npz, .npy or .parquet file, or a folder of images.

    Args:
        name_or_path: `digits`, `photos`, `mnist`, `fashion_mnist`, `cifar10`, a path that ends in `.npz`,
            `.npy` or `.parquet`, or a folder, of images, of Parquet files or of the codes that
            `encode_dataset` wrote. A folder named like a data set is reached as `./digits`.
        image_size: H = W, or (H, W), to which the pictures of a folder, or in Parquet, are cropped and
            resized.
        num_levels: fewer levels L than the S of the data quantize, v to floor(v · L / S); more leave the
            values as they are. An array that does not tell S has num_levels if all its values are below; if
            not, uint8 has S = 256 and any other array is refused.
        cache: where the images of a folder are kept once they are decoded, 16 GiB and more of them.

    Images of a GiB and more that lie uncompressed in an .npz or .npy file, and those in a cache, are read
    from there whenever they are asked for: they need not fit into memory.

    Raises:
        FileNotFoundError: if the file is missing or a download fails.
        ValueError: for an unknown name, an unreadable file, or data that are not integer images.
    """
    if num_levels is not None:
        num_levels = check_num_levels(num_levels, str(name_or_path))
    size = None if image_size is None else check_image_size(image_size)
    named = NAMED.get(name_or_path) if isinstance(name_or_path, str) else None
    path = Path(name_or_path).expanduser()
    if named is None:
        check_path(path, name_or_path)
    in_parquet = [] if named is not None else parquet_files(path)
    is_folder = named is None and path.is_dir() and not in_parquet
    if size is not None and not is_folder and not in_parquet:
        raise ValueError(
            f"image_size={image_size!r} was given for {name_or_path}; expected it for pictures, in a folder "
            "or in Parquet, only: leave it out."
        )
    holds_codes = is_folder and (path / DESCRIPTION).exists()
    if (cache is not None or size is not None) and holds_codes:
        raise ValueError(
            f"{path} holds codes; expected images, to be resized or cached: leave the option out."
        )
    if cache is not None and not is_folder:
        raise ValueError(
            f"cache={str(cache)!r} was given for {name_or_path}; expected it for a folder of images only: "
            "leave it out."
        )
    if holds_codes:
        images = codes_of_folder(path)
    elif is_folder:
        images = read_folder(path, size, None if cache is None else Path(cache).expanduser())
    elif in_parquet:
        images = images_of_parquet(path, in_parquet, size)
    else:
        images = NUMPY_FILES[path.suffix.lower()](path, num_levels) if named is None else named()
    return images if num_levels is None else images.with_levels(num_levels)


def codes_of_folder(folder: Path) -> Images:
    """All codes in shards, of which one tenth is held out.

    Raises:
        ValueError: for a damaged folder, and conditions that are no labels.
    """
    codes = ShardedCodes(folder)
    arrays = codes.read(0, len(codes))
    values, labels = arrays["values"], arrays.get("condition")
    if labels is not None and labels.dtype.kind not in "iu":
        raise ValueError(
            f"{folder} holds codes with {labels.dtype} conditions of shape {labels.shape}; expected labels, "
            "or none: train on them by `ShardedCodes(folder).resumable(batch_size)`."
        )
    kept, held_out = hold_out(len(values), str(folder))
    parts = (None, None) if labels is None else (labels[kept], labels[held_out])
    name = folder.resolve().name
    return Images(name, values[kept], parts[0], values[held_out], parts[1], codes.num_levels, are_codes=True)


def check_path(path: Path, name_or_path: str | os.PathLike[str]) -> None:
    """Raises an error for what is neither a file of images nor a folder."""
    expected = f"expected one of {', '.join(NAMED)}, an .npz, .npy or .parquet file or a folder of images"
    if name_or_path == "" or (path.name == name_or_path and not path.suffix and not path.exists()):
        raise ValueError(f"{name_or_path!r} is not a known data set; {expected}: check the name.")
    if not path.exists():
        raise FileNotFoundError(f"{name_or_path} does not exist; {expected}: check the path.")
    if not path.is_dir() and path.suffix.lower() not in (*NUMPY_FILES, SUFFIX):
        raise ValueError(
            f"{name_or_path} is not a file of images; {expected}: save the images as an .npz file."
        )
