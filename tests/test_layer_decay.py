"""Layer-wise decay of the learning rate, beside Keras's optimizers with a learning rate for each layer."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from catalogue import features

from tfprior.encoders import Classifier, Encoder, Swin, ViT
from tfprior.training import LayerDecay, LayerDecayAdamW, layer_depths


class LayerDecaySGD(LayerDecay, keras.optimizers.SGD):
    pass


OPTIMIZERS: list[tuple[type, type, dict[str, Any]]] = [
    (LayerDecayAdamW, keras.optimizers.AdamW, {"weight_decay": 0.1, "epsilon": 1e-3}),
    (LayerDecaySGD, keras.optimizers.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
]


def vit() -> ViT:
    return ViT((4, 8, 3), 2, num_layers=2, num_heads=2, hidden_dim=8)


def test_depths_of_vit() -> None:
    encoder = vit()
    model = Classifier(encoder, 5)
    found: dict[int, set[str]] = {}
    for depth, variable in zip(layer_depths(model), model.trainable_variables, strict=True):
        inside = variable.path.removeprefix(f"{model.name}/").removeprefix(f"{encoder.name}/")
        found.setdefault(depth, set()).add(inside.split("/")[0])
    assert {depth: len(names) for depth, names in found.items()} == {0: 3, 1: 1, 2: 1, 3: 2}
    assert found[0] == {"patches", "class_token", "positions"}
    assert (found[1], found[2], found[3]) == ({"block_0"}, {"block_1"}, {"norm", "head"})


def test_depths_of_swin_in_another_model() -> None:
    """A stage's merging has the depth of its last block, and what is no encoder's the largest."""
    encoder = Swin((8, 16, 3), 2, (2, 1), (2, 2), 4, window_size=2)
    model = keras.Sequential([keras.Input((8, 16, 3)), encoder, keras.layers.Dense(2)])
    depth_of = dict(zip(map(id, model.trainable_variables), layer_depths(model), strict=True))
    first, second = encoder.stages
    layers = [
        encoder.embedding_norm,
        *first.blocks,
        first.merging,
        *second.blocks,
        encoder.norm,
        model.layers[-1],
    ]
    found = [{depth_of[id(variable)] for variable in layer.variables} for layer in layers]
    assert found == [{0}, {1}, {2}, {2}, {3}, {4}, {4}]


@pytest.mark.parametrize(("kind", "keras_kind", "options"), OPTIMIZERS)
def test_updates_are_those_of_a_learning_rate_for_each_layer(
    kind: type, keras_kind: type, options: dict[str, Any]
) -> None:
    """Three steps, the second and third of which have momenta."""
    depths, decay, rate = [0, 2, 1, 2], 0.5, 0.1
    begin = [features(3, 2, seed=seed) for seed in range(4)]
    together = [keras.Variable(value) for value in begin]
    alone = [keras.Variable(value) for value in begin]
    optimizer = kind(rate, depths=depths, decay=decay, **options)
    optimizers = [keras_kind(rate * decay ** (2 - depth), **options) for depth in depths]
    for each in [optimizer, *optimizers]:
        each.exclude_from_weight_decay([together[3], alone[3]])
    for step in range(3):
        gradients = [features(3, 2, seed=10 * step + index) for index in range(4)]
        optimizer.apply(gradients, together)
        for own, gradient, variable in zip(optimizers, gradients, alone, strict=True):
            own.apply([gradient], [variable])
    for variable, expected in zip(together, alone, strict=True):
        np.testing.assert_allclose(variable, expected, rtol=1e-6)


def test_a_step_of_sgd_by_hand() -> None:
    """w − r · dᴸ⁻ˡ · (g + λ w)."""
    begin, gradients = (
        [features(4, seed=seed) for seed in (0, 1)],
        [features(4, seed=seed) for seed in (2, 3)],
    )
    weights = [keras.Variable(value) for value in begin]
    LayerDecaySGD(0.1, depths=[0, 3], decay=0.5, weight_decay=0.2).apply(gradients, weights)
    for weight, w, g, scale in zip(weights, begin, gradients, (0.125, 1.0), strict=True):
        np.testing.assert_allclose(weight, w - 0.1 * scale * (g + 0.2 * w), rtol=1e-5, atol=1e-6)


def test_fit_goes_on_after_a_file(tmp_path: Path) -> None:
    """A classifier that was saved with its optimizer learns on as one that was not."""
    images, labels = features(4, 4, 8, 3), np.arange(4) % 2
    model = Classifier(ViT((4, 8, 3), 2, num_layers=1, num_heads=2, hidden_dim=8), 2, "class_token")
    optimizer = LayerDecayAdamW(1e-2, depths=layer_depths(model), decay=0.5, use_ema=True)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, run_eagerly=True)
    fit = {"batch_size": 4, "shuffle": False, "verbose": 0}
    model.fit(images, labels, **fit)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is LayerDecayAdamW
    assert isinstance(loaded.encoder, Encoder)
    np.testing.assert_array_equal(loaded(images), model(images))
    for each in (model, loaded):
        each.fit(images, labels, **fit)
    np.testing.assert_allclose(loaded(images), model(images), atol=1e-6)


def test_what_is_refused() -> None:
    model = Classifier(vit(), 2)
    optimizer = LayerDecayAdamW(depths=layer_depths(model))
    model.encoder.trainable = False
    with pytest.raises(
        ValueError, match="got 36 depths for 2 variables; expected one each: call layer_depths"
    ):
        optimizer.build(model.trainable_variables)
    with pytest.raises(ValueError, match=r"decay=1.5; expected a number in \(0, 1\]"):
        LayerDecayAdamW(depths=[0], decay=1.5)
    with pytest.raises(ValueError, match="has 0 encoders; expected a model around one"):
        layer_depths(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]))
