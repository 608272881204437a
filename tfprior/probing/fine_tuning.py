"""Fine-tuning: an encoder and a head that learn classes together.

Shapes: N images · H W C image.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras

from tfprior.compilation import xla_by_default
from tfprior.data import Images, hold_out_validation
from tfprior.encoders import Encoder
from tfprior.labelled_images import LabelledImages
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
    and a cosine. A part of the training images is held out: the weights are those of the epoch that was best
    on it. The test part is looked at once, in the end. Keras's global random seed is set.

    Args:
        encoder: of the images; frozen layers of it stay as they are.
        images: with labels in both parts.
        options: how to train.
        scaling: of the images, as the encoder was trained; without it the encoder takes levels over the
            highest one, in [0, 1].
        pooling: "class_token", or "mean" over the map.
        callbacks: of `fit`, as `ExactResume`.

    Raises:
        ValueError: for images without labels of several classes in both parts, codes, and images of another
            shape than the encoder was built for.
        ArithmeticError: when training diverges.
    """
    options = options or FineTuningOptions()
    keras.utils.set_random_seed(options.seed)
    model = learning(encoder, images, options, scaling, pooling)
    seen, held_out = parted(images, options)
    batch_size = min(options.batch_size, len(seen.x_train))
    steps = len(seen.x_train) // batch_size
    training = options.of_training(steps)
    compile_for(options, model)
    total = options.epochs * steps
    history = model.fit(
        seen.resumable(
            batch_size,
            seed=options.seed,
            conditional=True,
            flip=options.flip,
            resized_crop=training.resized_crop,
            drop_remainder=True,
        ),
        validation_data={"values": held_out.x_train, "condition": held_out.y_train},
        validation_batch_size=batch_size,
        epochs=options.epochs,
        verbose=0,
        callbacks=[
            keras.callbacks.TerminateOnNaN(),
            Schedule(options.learning_rate, min(training.warmup_steps, total // 2), total, Clock(0.0, None)),
            keras.callbacks.EarlyStopping("val_accuracy", patience=options.epochs, restore_best_weights=True),
            *callbacks,
        ],
    )
    losses = history.history["loss"]
    if not math.isfinite(losses[-1]):
        raise ArithmeticError(
            f"Fine-tuning diverged in epoch {len(losses)}: its loss is {losses[-1]}; lower the learning rate."
        )
    classifier = model.classifier
    accuracy, in_training = (
        accuracy_of(classifier, values, labels, images.num_levels, batch_size)
        for values, labels in ((images.x_test, images.y_test), (images.x_train, images.y_train))
    )
    return Probed(classifier, accuracy, in_training)


def learning(
    encoder: Encoder,
    images: Images,
    options: FineTuningOptions,
    scaling: ImageScaling | None,
    pooling: Pooling,
) -> LabelledImages:
    """An untrained classifier of these images, as one that learns them; ValueError as `fine_tune`."""
    classifier = classifier_of(encoder, images, scaling or ImageScaling(), pooling)
    return LabelledImages(classifier, images.num_levels, options.label_smoothing)


def parted(images: Images, options: FineTuningOptions) -> tuple[Images, Images]:
    """What is trained on, and what is held out as the training part of other images."""
    return hold_out_validation(
        images, options.validation_fraction, options.validation_limit, options.batch_size, options.seed
    )


def compile_for(options: FineTuningOptions, model: Any) -> None:
    """Compiles with smaller steps the nearer a layer is to the images."""
    optimizer = LayerDecayAdamW(
        options.learning_rate,
        weight_decay=options.weight_decay,
        depths=layer_depths(model),
        decay=options.layer_decay,
    )
    model.compile(optimizer, jit_compile=xla_by_default())
