"""Metrics and pictures of a run for TensorBoard, where the extra is installed."""

import importlib.util

import keras

from tfprior.runs.run_folder import TENSORBOARD, RunFolder


def is_installed() -> bool:
    return importlib.util.find_spec("tensorboard") is not None


def tensorboard_logs(run: RunFolder) -> list[keras.callbacks.Callback]:
    """Logs for TensorBoard where the extra is installed."""
    if not is_installed():
        return []
    return [keras.callbacks.TensorBoard(str(run.file(TENSORBOARD)), write_graph=False)]


def show_on_tensorboard(run: RunFolder, epoch: int) -> None:
    """Adds the run's pictures to its logs for TensorBoard, where the extra is installed."""
    if not is_installed():
        return
    import tensorflow as tf

    with tf.summary.create_file_writer(str(run.file(TENSORBOARD) / "pictures")).as_default():
        for name in run.pictures:
            picture = tf.io.decode_png(run.file(name).read_bytes(), channels=3)
            tf.summary.image(run.file(name).stem, picture[None], step=epoch)
