"""Fine-tuning: an encoder and a head that learn classes together.

Shapes: B batch · N images · H W C image · K classes.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfprior.compilation import xla_by_default
from tfprior.data import Images
from tfprior.encoders import Encoder
from tfprior.layers import ImageScaling
from tfprior.probing.options import FineTuningOptions
from tfprior.probing.scoring import Pooling, Probed, accuracy_of, classifier_of
from tfprior.training import LayerDecayAdamW, layer_depths
from tfprior.training.clock import Clock
from tfprior.training.schedule import Schedule


def fine_tune(
    encoder: Encoder,
    images: Images,
    options: FineTuningOptions | None = None,
    scaling: ImageScaling | None = None,
    pooling: Pooling = "mean",
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Probed:
    """Trains the encoder, in place, and a head on labelled images.

    By AdamW, whose steps are smaller the nearer a layer is to the images (`LayerDecayAdamW`), with a warm-up
    and a cosine. The test part is looked at once, in the end. Keras's global random seed is set.

    Args:
        encoder: of the images; frozen layers of it stay as they are.
        images: with labels in both parts.
        options: how to train.
        scaling: of the images, as the encoder was trained; without it the encoder takes levels over the
            highest one, in [0, 1].
        pooling: "class_token", or "mean" over the map.
        callbacks: of Keras's `fit`.

    Raises:
        ValueError: for images without labels of several classes in both parts, codes, and images of another
            shape than the encoder was built for.
        ArithmeticError: when training diverges.
    """
    options = options or FineTuningOptions()
    keras.utils.set_random_seed(options.seed)
    classifier = classifier_of(encoder, images, scaling or ImageScaling(), pooling)
    batch_size = min(options.batch_size, len(images.x_train))
    steps = len(images.x_train) // batch_size
    optimizer = LayerDecayAdamW(
        options.learning_rate,
        weight_decay=options.weight_decay,
        depths=layer_depths(classifier),
        decay=options.layer_decay,
    )
    classifier.compile(
        optimizer,
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=options.label_smoothing),
        metrics=["accuracy"],
        jit_compile=xla_by_default(),
    )
    total = options.epochs * steps
    schedule = Schedule(
        options.learning_rate,
        min(int(options.warmup_epochs * steps), total // 2),
        total,
        Clock(0.0, None),
    )
    history = classifier.fit(
        labelled_batches(images, batch_size, options),
        steps_per_epoch=steps,
        epochs=options.epochs,
        shuffle=False,  # they are already
        verbose=0,
        callbacks=[keras.callbacks.TerminateOnNaN(), schedule, *callbacks],
    )
    losses = history.history["loss"]
    if not math.isfinite(losses[-1]):
        raise ArithmeticError(
            f"Fine-tuning diverged in epoch {len(losses)}: its loss is {losses[-1]}; lower the learning rate."
        )
    accuracy, in_training = (
        accuracy_of(classifier, values, labels, images.num_levels, batch_size)
        for values, labels in ((images.x_test, images.y_test), (images.x_train, images.y_train))
    )
    return Probed(classifier, accuracy, in_training)


def labelled_batches(images: Images, batch_size: int, options: FineTuningOptions) -> Any:
    """Batches of pixels (B, H, W, C) and classes as one-hot vectors (B, K), of all epochs."""
    scale = options.smallest_crop
    data = images.resumable(
        batch_size,
        seed=options.seed,
        conditional=True,
        flip=options.flip,
        resized_crop=None if scale is None else (scale, 1.0),
        drop_remainder=True,
    )

    def pair(batch: dict[str, Any]) -> tuple[Any, Any]:
        pixels = batch["values"]
        if images.num_levels != 256:
            pixels = tf.cast(pixels, "float32") / (images.num_levels - 1)
        return pixels, tf.one_hot(batch["condition"], images.num_classes)

    return data.starting_at(0).map(pair, tf.data.AUTOTUNE)
