"""Well-known data sets through keras.datasets, which downloads each of them once."""

from .images import Images

CLASS_NAMES: dict[str, tuple[str, ...]] = {
    "mnist": ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9"),
    "fashion_mnist": (
        "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
    ),
    "cifar10": (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    ),
}  # fmt: skip


def downloaded(name: str) -> Images:
    """`mnist`, `fashion_mnist` or `cifar10` with 256 levels and labels.

    Raises:
        FileNotFoundError: if the data are neither cached nor to be had from the network.
    """
    import keras

    try:
        (x_train, y_train), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    except Exception as error:  # keras raises a bare Exception where a download fails
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FileNotFoundError(
            f"{name} could not be downloaded ({reason}); expected a network or a cached copy: pass the path "
            "of an .npz file with x_train, y_train, x_test and y_test instead."
        ) from error
    return Images(name, x_train, y_train, x_test, y_test, 256, CLASS_NAMES[name])
