"""The split of data that come in one piece."""

import numpy as np


def hold_out(num_images: int, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Indices of nine tenths for training and one tenth, at least one image, for testing; always the same.

    Raises:
        ValueError: for fewer than two images.
    """
    if num_images < 2:
        raise ValueError(
            f"{source} has {num_images} image to train and to test on; expected at least two: add images."
        )
    # RandomState's stream is frozen for good, unlike a Generator's.
    order = np.random.RandomState(0).permutation(num_images)
    num_test = max(1, round(num_images / 10))
    return np.sort(order[num_test:]), np.sort(order[:num_test])
