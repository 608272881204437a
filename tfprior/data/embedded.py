"""Data sets that come with scikit-learn: nothing is downloaded."""

import numpy as np

from .images import Images

PATCH = 32
STRIDE = 8


def digits() -> Images:
    """1797 handwritten digits (8, 8, 1) with 17 levels and labels; one fifth, stratified, is held out."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    source = load_digits()
    x_train, x_test, y_train, y_test = train_test_split(
        source.images.astype(np.uint8), source.target, test_size=0.2, stratify=source.target, random_state=0
    )
    names = tuple(str(digit) for digit in range(10))
    return Images("digits", x_train, y_train, x_test, y_test, 17, names)


def photos() -> Images:
    """Patches (32, 32, 3) of two photographs with 256 levels; the label tells which photograph.

    The right-hand quarter of each photograph gives the test patches, which do not overlap; the rest gives the
    train patches, one every 8 pixels. No pixel is in both.
    """
    from sklearn.datasets import load_sample_image

    names = ("china", "flower")
    train, test = [], []
    for name in names:
        photo = load_sample_image(f"{name}.jpg")  # (427, 640, 3)
        border = photo.shape[1] * 3 // 4
        train.append(_patches(photo[:, :border], STRIDE))
        test.append(_patches(photo[:, border:], PATCH))
    y_train, y_test = (np.repeat([0, 1], [len(patches) for patches in split]) for split in (train, test))
    return Images("photos", np.concatenate(train), y_train, np.concatenate(test), y_test, 256, names)


def _patches(photo: np.ndarray, stride: int) -> np.ndarray:
    """Every window of a photo (H, W, C) at multiples of the stride → (N, PATCH, PATCH, C)."""
    windows = np.lib.stride_tricks.sliding_window_view(photo, (PATCH, PATCH), axis=(0, 1))
    windows = windows[::stride, ::stride]  # (rows, columns, C, PATCH, PATCH)
    return np.moveaxis(windows, 2, -1).reshape(-1, PATCH, PATCH, photo.shape[-1])
