"""Pictures drawn while models train: of the right weights, and without a trace in what is trained."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from catalogue import features, integers, prior
from small_runs import opened

from tfprior.distributions import Categorical, DiscretizedLogistic
from tfprior.generator import Generator
from tfprior.pictures.sheets import save_completions, save_grid, save_reconstructions
from tfprior.priors import GatedPixelCNN, PixelCNN, PixelCNNPP
from tfprior.quantizers import VectorQuantizer
from tfprior.sampling.masks import hidden_part
from tfprior.tokenizers import VQVAE
from tfprior.training import PictureLogger

SHAPE = (4, 6, 1)
IMAGES, HELD_OUT = integers(24, *SHAPE), integers(10, *SHAPE, seed=1)
LABELS = np.arange(24) % 3


def trained(model: Any, callbacks: list[Any], data: Any = IMAGES, epochs: int = 2, **options: Any) -> Any:
    averaging = {"use_ema": True, "ema_momentum": 0.9} if options.pop("averaged", False) else {}
    model.compile(optimizer=keras.optimizers.Adam(0.01, **averaging))
    model.fit(data, epochs=epochs, batch_size=6, shuffle=False, verbose=0, callbacks=callbacks, **options)
    return model


def tokenizer(**options: Any) -> VQVAE:
    keras.utils.set_random_seed(1)
    small = {"filters": 4, "num_residual_blocks": 1, "residual_filters": 4, **options}
    return VQVAE(SHAPE, VectorQuantizer(6, 4), DiscretizedLogistic(4), downsampling=2, **small)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def same(path: Path, draw: Callable[[Path], None]) -> bool:
    """Whether a picture is the one that `draw` draws."""
    draw(path.with_name("expected.png"))
    found, expected = opened(path), opened(path.with_name("expected.png"))
    path.with_name("expected.png").unlink()
    return np.array_equal(found, expected)


def test_samples_of_each_class_and_completions(tmp_path: Path) -> None:
    labels = LABELS[:10]
    logger = PictureLogger(tmp_path, HELD_OUT, labels, every=2, mask="right", columns=4, seed=5)
    model = trained(prior(PixelCNN, SHAPE, "labels"), [logger], {"values": IMAGES, "condition": LABELS}, 3)
    assert names(tmp_path) == ["completions-epoch-0002.png", "samples-epoch-0002.png"]
    logger = PictureLogger(tmp_path, HELD_OUT, labels, mask="right", columns=4, seed=5)
    trained(model, [logger], {"values": IMAGES, "condition": LABELS}, 1)
    drawn = model.sample(12, np.arange(3).repeat(4), seed=5)
    assert same(tmp_path / "samples-epoch-0001.png", lambda path: save_grid(drawn, 4, path, columns=4))
    mask = hidden_part("right", SHAPE)
    filled = model.complete(HELD_OUT[:8].repeat(4, axis=0), mask, labels[:8].repeat(4), seed=5)
    assert same(
        tmp_path / "completions-epoch-0001.png",
        lambda path: save_completions(HELD_OUT[:8], mask, filled.reshape(8, 4, *SHAPE), 4, path),
    )


def test_a_sample_for_each_vector(tmp_path: Path) -> None:
    vectors = features(24, 4)
    logger = PictureLogger(tmp_path, condition=vectors, columns=3)
    model = trained(
        prior(GatedPixelCNN, SHAPE, "vectors"), [logger], {"values": IMAGES, "condition": vectors}, 1
    )
    drawn = model.sample(9, vectors[:9], seed=0)
    assert same(tmp_path / "samples-epoch-0001.png", lambda path: save_grid(drawn, 4, path, columns=3))


def test_reconstructions(tmp_path: Path) -> None:
    model = trained(tokenizer(), [PictureLogger(tmp_path, HELD_OUT)])
    assert names(tmp_path) == ["reconstructions-epoch-0001.png", "reconstructions-epoch-0002.png"]
    again = model.reconstruct(HELD_OUT)
    assert same(
        tmp_path / "reconstructions-epoch-0002.png",
        lambda path: save_reconstructions(HELD_OUT, again, 4, path),
    )


def test_images_of_the_codes_that_a_prior_learns(tmp_path: Path) -> None:
    known = tokenizer()
    model = GatedPixelCNN(known.code_shape, Categorical(6), filters=4, num_layers=1, first_kernel_size=3)
    generator = Generator(known, model)
    logger = PictureLogger(tmp_path, HELD_OUT, model=generator)
    trained(model, [logger], known.encode(IMAGES), 1)
    assert names(tmp_path) == ["completions-epoch-0001.png", "samples-epoch-0001.png"]
    drawn = generator.sample(64, seed=0)
    assert same(tmp_path / "samples-epoch-0001.png", lambda path: save_grid(drawn, 4, path))


def test_the_averages_that_validation_measures_are_drawn(tmp_path: Path) -> None:
    callbacks = [PictureLogger(tmp_path / "averaged"), keras.callbacks.SwapEMAWeights()]
    model = trained(prior(PixelCNN, SHAPE), callbacks, validation_data=HELD_OUT, averaged=True)
    drawn = model.sample(64, seed=0)  # of the averages, which `fit` leaves in the model
    path = tmp_path / "averaged" / "samples-epoch-0002.png"
    assert same(path, lambda path: save_grid(drawn, 4, path))
    model = trained(prior(PixelCNN, SHAPE), [PictureLogger(tmp_path / "last")], averaged=True)
    np.testing.assert_array_equal(model.sample(64, seed=0), drawn)
    assert (opened(path) != opened(tmp_path / "last" / "samples-epoch-0002.png")).any()


@pytest.mark.slow("4-steps1")
@pytest.mark.parametrize(("every", "steps"), [(3, [3, 6]), (4, [4, 8])])
def test_pictures_by_steps(every: int, steps: list[int], tmp_path: Path) -> None:
    logger = PictureLogger(tmp_path, every=every, unit="step", columns=1)
    model = trained(prior(PixelCNN, SHAPE), [logger], IMAGES)
    assert names(tmp_path) == [f"samples-step-{step:07}.png" for step in steps]
    drawn = model.sample(1, seed=0)
    last = same(tmp_path / f"samples-step-{steps[-1]:07}.png", lambda path: save_grid(drawn, 4, path))
    assert last == (steps[-1] == 8)


def test_training_goes_on_as_if_nothing_had_been_drawn(tmp_path: Path) -> None:
    def weights(callbacks: list[Any]) -> tuple[list[np.ndarray], Any, float]:
        keras.utils.set_random_seed(2)
        model = PixelCNN(SHAPE, Categorical(4), filters=4, num_layers=1, dropout=0.5)
        model.compile(optimizer=keras.optimizers.Adam(0.01))
        history = model.fit(IMAGES, batch_size=6, epochs=2, verbose=0, callbacks=callbacks).history
        noise = random.random(), np.random.random()  # noqa: NPY002
        return [np.asarray(variable) for variable in model.variables], history, noise

    plain, history, noise = weights([])
    drawn = weights([PictureLogger(tmp_path, HELD_OUT, every=2, unit="step")])
    assert len(names(tmp_path)) == 8
    assert (history, noise) == drawn[1:]
    for one, other in zip(plain, drawn[0], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_only_the_first_pictures_are_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    traced: list[int] = []
    sample = Categorical.sample

    def counted(self: Categorical, *given: Any, **named: Any) -> Any:
        traced.append(1)
        return sample(self, *given, **named)

    monkeypatch.setattr(Categorical, "sample", counted)
    counts: list[int] = []
    after = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: counts.append(len(traced)))
    # Samples of this one are drawn by a copy with plain kernels.
    trained(prior(PixelCNNPP, SHAPE), [PictureLogger(tmp_path, columns=2), after])
    assert counts[0] > 0
    assert counts == [counts[0]] * 2


def test_pictures_on_tensorboard(tmp_path: Path) -> None:
    import tensorflow as tf
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = PictureLogger(tmp_path / "png", HELD_OUT, columns=2, log_dir=tmp_path / "logs")
    trained(prior(PixelCNN, SHAPE), [logger])
    events = EventAccumulator(str(tmp_path / "logs" / "pictures"), {"tensors": 0})
    events.Reload()
    assert sorted(events.Tags()["tensors"]) == ["completions", "samples"]
    for name in ("completions", "samples"):
        shown = events.Tensors(name)
        assert [event.step for event in shown] == [1, 2]
        for event in shown:
            picture = tf.io.decode_png(event.tensor_proto.string_val[2], channels=3)
            np.testing.assert_array_equal(
                picture, opened(tmp_path / "png" / f"{name}-epoch-000{event.step}.png")
            )


def test_a_model_that_diverged_is_not_drawn(tmp_path: Path) -> None:
    model = prior(PixelCNN, SHAPE)
    model.compile(optimizer=keras.optimizers.SGD(np.inf))
    callbacks = [PictureLogger(tmp_path), keras.callbacks.TerminateOnNaN()]
    with pytest.warns(UserWarning, match="epoch 1 has no pictures: the model's weights are NaN or infinite"):
        model.fit(IMAGES, batch_size=6, epochs=3, verbose=0, callbacks=callbacks)
    assert not names(tmp_path)


@pytest.mark.parametrize(
    ("model", "arguments", "words"),
    [
        (tokenizer, {}, "got no images to reconstruct; pass some"),
        (tokenizer, {"images": HELD_OUT + 4}, r"images lie in \[4, 7\]"),
        (lambda: prior(PixelCNN, SHAPE), {"images": HELD_OUT[:, :3]}, "expected"),
        (lambda: prior(PixelCNN, SHAPE), {"images": HELD_OUT, "mask": "middle"}, "expected one of left"),
        (lambda: prior(PixelCNN, SHAPE), {"images": HELD_OUT, "mask": np.ones((4, 5), bool)}, r"\(4, 5\)"),
        (lambda: prior(PixelCNN, SHAPE), {"condition": LABELS}, "unconditional and got a condition"),
        (lambda: prior(PixelCNN, SHAPE, "labels"), {"images": HELD_OUT}, "got condition=None"),
        (lambda: prior(PixelCNN, SHAPE, "vectors"), {}, "got condition=None; expected floats"),
        (lambda: prior(PixelCNN, SHAPE), {"model": keras.Sequential()}, "got a Sequential to draw from"),
    ],
)
def test_what_does_not_fit_is_said_before_training(
    model: Callable[[], Any], arguments: dict[str, Any], words: str, tmp_path: Path
) -> None:
    made = model()
    data = IMAGES
    if made.is_conditional:
        given = LABELS if made.num_classes else features(24, *made.condition_shape)
        data = {"values": IMAGES, "condition": given}
    with pytest.raises(ValueError, match=words):
        trained(made, [PictureLogger(tmp_path / "new", **arguments)], data)
    assert int(made.optimizer.iterations) == 0
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"unit": "minutes"}, "unit='minutes'; expected 'epoch' or 'step'"),
        ({"every": 0}, "every=0; expected at least 1"),
        ({"columns": 0}, "columns=0; expected at least 1"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        PictureLogger(tmp_path, **arguments)


def test_tensorboard_is_asked_for_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfprior.training.picture_logger.is_installed", lambda: False)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'tfprior\[tensorboard\]'"):
        PictureLogger(tmp_path, log_dir=tmp_path)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="on jax leave it out: the PNG files are the same"):
        PictureLogger(tmp_path, log_dir=tmp_path)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError, match="is a file; expected a folder"):
        trained(prior(PixelCNN, SHAPE), [PictureLogger(tmp_path / "file")])
