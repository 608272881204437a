"""Metrics and pictures for TensorBoard, where the extra is installed."""

import importlib.util
import os
from pathlib import Path
from typing import Any

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
    writer = picture_writer(run.file(TENSORBOARD))
    write_pictures(writer, {run.file(name).stem: run.file(name) for name in run.pictures}, epoch)
    writer.close()


def picture_writer(log_dir: str | os.PathLike[str]) -> Any:
    """What writes pictures beside the metrics that Keras's TensorBoard callback writes into `log_dir`."""
    import tensorflow as tf

    return tf.summary.create_file_writer(str(Path(log_dir) / "pictures"))


def write_pictures(writer: Any, files: dict[str, Path], step: int) -> None:
    """Adds PNG files under their names."""
    import tensorflow as tf

    with writer.as_default():
        for name, file in files.items():
            picture = tf.io.decode_png(file.read_bytes(), channels=3)
            tf.summary.image(name, picture[None], step=step)
    writer.flush()
