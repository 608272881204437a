"""Models and ways to feed them on JAX, in a process of their own: a backend is chosen at import."""

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from backend_checks import compressed_images, interrupted_run
from selected import names_asked

MODELS = {
    "PixelCNN": ((3, 4, 1), "labels"),
    "GatedPixelCNN": ((2, 3, 3), "maps"),
    "PixelCNNPP": ((2, 4, 1), "maps"),
    "CausalTransformer": ((2, 3, 1), "maps"),
    "AnyOrderTransformer": ((2, 2, 2), "labels"),
}


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest) -> dict[str, str]:
    """What became of the checks in a process on JAX: the backend that it ran on, or what went wrong."""
    pytest.importorskip("jax", reason="JAX is not installed here: the base install runs on TensorFlow")
    root = str(Path(__file__).parent.parent)
    path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2",
        "PYTHONPATH": path,
    }
    command = [sys.executable, __file__, *names_asked(request, test_models_run_on_jax)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    outcomes: dict[str, str] = json.loads(run.stdout.splitlines()[-1])
    return outcomes


def generator() -> None:
    import catalogue
    import keras
    import numpy as np

    from tfprior.distributions import Categorical, DiscretizedLogistic
    from tfprior.generator import Generator
    from tfprior.pictures.sheets import save_grid
    from tfprior.priors import GatedPixelCNN
    from tfprior.quantizers import VectorQuantizer
    from tfprior.tokenizers import VQVAE
    from tfprior.training import ImagesPerSecond, PictureLogger

    keras.utils.set_random_seed(0)
    images = catalogue.integers(12, 4, 8, 1, top=16)
    tokenizer = VQVAE((4, 8, 1), VectorQuantizer(8, 4), DiscretizedLogistic(16), filters=8)
    tokenizer.compile(optimizer="adam")
    tokenizer.fit(images, batch_size=6, epochs=1, verbose=0)
    before = np.asarray(tokenizer.quantizer.codebook)
    history = tokenizer.fit(images, batch_size=6, epochs=2, verbose=0).history
    assert np.isfinite(history["bits_per_dim"]).all()
    assert (np.asarray(tokenizer.quantizer.codebook) != before).any()  # follows its vectors

    prior = GatedPixelCNN(tokenizer.code_shape, Categorical(8), filters=8, num_layers=1, first_kernel_size=3)
    prior.compile(optimizer=keras.optimizers.Adam(0.3))
    model, folder = Generator(tokenizer, prior), Path(tempfile.mkdtemp())
    callbacks = [
        ImagesPerSecond(),
        PictureLogger(folder, images, model=model),
        PictureLogger(folder, model=model, every=2, unit="step"),
    ]
    codes = tokenizer.encode(images)
    history = prior.fit(codes, validation_data=codes, batch_size=4, epochs=2, verbose=0, callbacks=callbacks)
    assert min(history.history["images_per_second"]) > 0
    steps = [f"samples-step-000000{step}.png" for step in (2, 4, 6)]
    assert {path.name for path in folder.glob("samples-step*")} == set(steps)
    drawn = model.sample(64, seed=0)
    save_grid(drawn, 16, folder / "expected.png")
    expected = (folder / "expected.png").read_bytes()
    assert (folder / "samples-epoch-0002.png").read_bytes() == expected == (folder / steps[-1]).read_bytes()
    assert (folder / steps[0]).read_bytes() != expected
    shutil.rmtree(folder)
    assert drawn.shape == (64, 4, 8, 1)
    assert np.isfinite(model.bits_per_dim(images, batch_size=5)).all()


def quantizer() -> None:
    """One in a functional model of a user's own, trained by plain `fit`."""
    import catalogue
    import keras
    import numpy as np
    import pytest

    from tfprior.quantizers import VectorQuantizer

    def model_around(layer: VectorQuantizer) -> keras.Model:
        inputs = keras.Input((3,))
        model = keras.Model(inputs, keras.layers.Dense(3)(layer(keras.layers.Dense(4)(inputs)).quantized))
        model.compile(optimizer=keras.optimizers.Adam(0.02), loss="mse")
        return model

    keras.utils.set_random_seed(0)
    x = catalogue.features(64, 3)
    layer = VectorQuantizer(8, 4)
    model = model_around(layer)
    history = model.fit(x, x, batch_size=16, epochs=10, verbose=0).history["loss"]
    assert history[-1] < 0.7 * history[0]
    assert not layer.needs_initialization
    before = layer.get_weights()
    layer.trainable = False
    model.compile(optimizer=keras.optimizers.Adam(0.02), loss="mse")
    model.fit(x, x, verbose=0)
    for kept, now in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, now)
    model = model_around(VectorQuantizer(8, 4, decay=None, restart_below=None))
    assert np.isfinite(model.fit(x, x, verbose=0).history["loss"]).all()
    with pytest.raises(ValueError, match="decay=None and restart_below on JAX, where training keeps no"):
        model_around(VectorQuantizer(8, 4, decay=None)).fit(x, x, verbose=0)


def two_devices() -> None:
    """What one device trains, and two that share its batches."""
    import catalogue
    import keras
    import numpy as np

    from tfprior.distributions import Categorical, DiscretizedLogistic
    from tfprior.priors import PixelCNN
    from tfprior.quantizers import VectorQuantizer
    from tfprior.tokenizers import VQVAE

    def prior() -> PixelCNN:
        return PixelCNN((4, 8, 1), Categorical(16), filters=6, num_layers=1, first_kernel_size=3)

    def tokenizer() -> VQVAE:
        small = {"filters": 6, "num_residual_blocks": 1}
        return VQVAE((4, 8, 1), VectorQuantizer(8, 4, decay=0.9), DiscretizedLogistic(16), **small)

    def trained(make: Any) -> tuple[list[float], list[np.ndarray]]:
        keras.utils.set_random_seed(0)
        model = make()
        model.compile(optimizer=keras.optimizers.AdamW(0.01, global_clipnorm=1.0))
        history = model.fit(images, batch_size=8, epochs=2, verbose=0).history
        return history["loss"], [np.asarray(weight, "float64") for weight in model.get_weights()]

    images = catalogue.integers(16, 4, 8, 1, top=16)
    alone = [trained(make) for make in (prior, tokenizer)]
    devices = keras.distribution.list_devices()
    assert len(devices) == 2
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
    for make, (losses, weights) in zip((prior, tokenizer), alone, strict=True):
        same, together = trained(make)
        np.testing.assert_allclose(same, losses, rtol=1e-6)
        for weight, other in zip(weights, together, strict=True):
            np.testing.assert_allclose(other, weight, atol=1e-5)


def stepping_and_sampling(name: str) -> None:
    import catalogue
    import jax
    import numpy as np

    from tfprior import priors
    from tfprior.sampling import sample

    kind = getattr(priors, name)
    prior = kind(**catalogue.arguments(kind, *MODELS[name]))
    values, given = catalogue.values_of(prior, 4), catalogue.condition_of(prior, 4)
    prior.compile(optimizer="adam")
    needed = prior.needs_initialization
    history = prior.fit(catalogue.batch_of(prior, 4), verbose=0).history
    assert (needed, prior.needs_initialization) == (name == "PixelCNNPP", False)
    assert np.isfinite(history["bits_per_dim"]).all()

    expected = np.asarray(prior({"values": values, "condition": given})).reshape(4, prior.num_steps, -1)
    flat = values.reshape(4, prior.num_steps, -1)
    step = jax.jit(prior.step)
    state, previous = prior.initial_state(4, given), flat[:, 0]
    for position in range(prior.num_steps):
        where = np.full(4, position, "int32")
        params, state = step(state, previous, where, flat[:, position])
        np.testing.assert_allclose(params, expected[:, position], rtol=0, atol=1e-5)
        previous = flat[:, position]

    cached = sample(prior, 4, given, seed=0)
    np.testing.assert_array_equal(cached, sample(prior, 4, given, seed=0, method="full"))
    bits = -prior.log_prob(values, given) / (values[0].size * np.log(2))
    np.testing.assert_allclose(prior.bits_per_dim(values, given), bits, rtol=1e-5)
    catalogue.randomise(prior, seed=5)
    changed = sample(prior, 4, given, seed=0)
    np.testing.assert_array_equal(changed, sample(prior, 4, given, seed=0, method="full"))


def sources() -> None:
    """The other backend's loops keep the weights to themselves."""
    import jax
    import numpy as np
    from keras_sources import (
        GOOD,
        LABELS,
        LABELS_OUT,
        RANGE,
        Indexed,
        changed,
        finite,
        in_batches,
        mixture,
        new,
    )

    from tfprior.sampling import sample

    for prior, batches, message in [
        (new(mixture(), jit_compile=True), in_batches(changed(GOOD, 4, 3)), RANGE),
        (new(jit_compile=True, num_classes=3), in_batches(GOOD, changed(LABELS, 3, 2)), LABELS_OUT),
    ]:
        with pytest.raises(ValueError, match=message):
            prior.fit(Indexed(batches), verbose=0)
        assert finite(prior)
    with pytest.raises(ValueError, match=message):
        prior.evaluate(Indexed(batches), verbose=0)
    assert finite(prior)
    condition = {"values": GOOD, "condition": LABELS}
    weights = np.linspace(0, 2, 12).astype("float32")
    bits = np.asarray(prior.bits_per_dim(GOOD, LABELS))
    scores = prior.evaluate(condition, sample_weight=list(weights), return_dict=True, verbose=0)
    np.testing.assert_allclose(scores["bits_per_dim"], np.average(bits, weights=weights), rtol=1e-5)
    expected = prior(condition)
    predicted = prior.predict(Indexed([(GOOD, LABELS)]), verbose=0)
    np.testing.assert_allclose(predicted, expected, rtol=0, atol=1e-5)
    history = prior.fit(
        GOOD, LABELS, sample_weight=weights, validation_split=0.5, batch_size=6, verbose=0
    ).history
    bits = np.asarray(prior.bits_per_dim(GOOD[6:], LABELS[6:]))
    np.testing.assert_allclose(
        history["val_bits_per_dim"], [np.average(bits, weights=weights[6:])], rtol=1e-5
    )
    with pytest.raises(ValueError, match="sample was called while a graph is traced"):
        jax.jit(lambda: sample(prior, 2, LABELS[:2]))()


def encoders() -> None:
    """A ViT and a Swin learn classes, with decay by layers, and their files open."""
    import keras
    import numpy as np
    from catalogue import features

    from tfprior.encoders import Classifier, Swin, ViT
    from tfprior.training import LayerDecayAdamW, layer_depths

    images, labels = features(4, 10, 12, 1), np.arange(4) % 2
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    sizes = {"num_heads": (2,), "hidden_dim": 4, "stochastic_depth": 0.5}
    for encoder in (
        ViT((10, 12, 1), 2, num_layers=1, num_heads=2, hidden_dim=4, dropout=0.1),
        Swin((10, 12, 1), 2, num_layers=(2,), window_size=3, **sizes),
    ):
        model = Classifier(encoder, 2)
        before = encoder.patches.get_weights()
        model.compile(LayerDecayAdamW(0.01, depths=layer_depths(model), decay=0.5), loss)
        assert np.isfinite(model.fit(images, labels, verbose=0).history["loss"]).all()
        moved = np.abs(encoder.patches.get_weights()[0] - before[0]).max()
        assert 0 < moved <= 0.01 * 0.5 ** (len(encoder.layers_by_depth)) * 1.1
        with tempfile.TemporaryDirectory() as folder:
            model.save(Path(folder, "model.keras"))
            loaded = keras.saving.load_model(Path(folder, "model.keras"))
        np.testing.assert_array_equal(loaded(images), model(images))


def pretraining(name: str) -> None:
    """MAE, SimMIM or GreenMIM learns; the last one by another mask in each step, planned outside of it."""
    import keras
    import numpy as np

    from tfprior.encoders import Swin, ViT
    from tfprior.masked_images import MaskedImages
    from tfprior.pretraining import MAE, GreenMIM, SimMIM

    images = np.random.default_rng(0).integers(0, 256, (4, 8, 12, 1)).astype("uint8")
    decoder = {"decoder_dim": 4, "decoder_layers": 1, "decoder_heads": 1}
    sizes = {"num_layers": (1, 1), "num_heads": (1, 1), "hidden_dim": 4, "window_size": 2}
    model = {
        "MAE": lambda: MAE(ViT((8, 12, 1), 4, num_layers=1, num_heads=1, hidden_dim=4), 0.5, **decoder),
        "SimMIM": lambda: SimMIM(ViT((8, 12, 1), 2, num_layers=1, num_heads=1, hidden_dim=4), unit_size=4),
        "GreenMIM": lambda: GreenMIM(Swin((8, 12, 1), 2, **sizes), 0.5, unit_size=4, **decoder),
    }[name]()
    traces: list[None] = []
    model.compile(keras.optimizers.Adam(0.01))
    step = model.train_step

    def seen(state: Any, data: Any) -> Any:
        outcome = step(state, data)
        traces.append(None)
        return outcome

    model.train_step = seen
    history = model.fit(images, batch_size=2, epochs=3, verbose=0, validation_data=images).history
    assert len(traces) == 1, "the step was compiled more than once"
    assert history["val_loss"][-1] < history["val_loss"][0]
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder, "model.keras"))
        loaded = keras.saving.load_model(Path(folder, "model.keras"))
    np.testing.assert_array_equal(loaded(images).patches, model(images).patches)
    if not model.shares_mask:
        return
    hidden = {np.asarray(model(images, training=True).hidden[0]).tobytes()}
    for _ in range(4):
        model.fit(images[:2], verbose=0)
        hidden.add(np.asarray(model(images, training=True).hidden[0]).tobytes())
    assert len(hidden) > 1
    levels = MaskedImages(model)
    levels.compile(keras.optimizers.Adam(0.01))
    history = levels.fit(images, batch_size=2, epochs=3, verbose=0, validation_data=images).history
    assert history["val_hidden_mse"][-1] < history["val_hidden_mse"][0]
    expected = levels.reconstruct(images).reconstruction
    np.testing.assert_allclose(levels.predict(images, verbose=0), expected, atol=1e-5)


CHECKS: dict[str, Callable[[], None]] = {
    **{name: functools.partial(stepping_and_sampling, name) for name in MODELS},
    "a compressed file": compressed_images,
    "VQVAE": generator,
    "VectorQuantizer": quantizer,
    "every source": sources,
    "encoders": encoders,
    **{name: functools.partial(pretraining, name) for name in ("MAE", "SimMIM", "GreenMIM")},
    "a run": interrupted_run,
    "DataParallel": two_devices,  # the last: what it sets holds for all
}


@pytest.mark.slow("PixelCNN", "CausalTransformer", "a run", "encoders", "SimMIM", "[MAE]")
@pytest.mark.parametrize("name", CHECKS)
def test_models_run_on_jax(name: str, outcomes: dict[str, str]) -> None:
    assert outcomes[name] == "jax", outcomes[name]


def main() -> None:
    import keras

    outcomes = {}
    for name in sys.argv[1:]:
        try:
            CHECKS[name]()
            outcomes[name] = keras.backend.backend()
        except (Exception, pytest.fail.Exception):
            outcomes[name] = traceback.format_exc()
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main()
