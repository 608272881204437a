"""The catalogue is complete, and its classes can be built anew from their configuration and from files."""

import inspect
from pathlib import Path

import catalogue
import keras
import pytest
from catalogue import ENTRIES, Entry, condition_of, example_model, randomise, values_of
from catalogue_examples import (
    assert_equal,
    each_kind_of_prior,
    each_layer,
    each_prior,
    each_with_config,
    example_of,
)


def public_classes() -> dict[str, type]:
    found = {}
    for package in catalogue.PACKAGES:
        for name in package.__all__:
            value = getattr(package, name)
            if inspect.isclass(value) and not issubclass(value, tuple):
                found[name] = value
    return found


def test_every_public_class_is_in_the_catalogue() -> None:
    listed = {entry.kind.__name__ for entry in ENTRIES}
    public = public_classes()
    assert set(public) - listed == catalogue.ABSTRACT
    assert listed <= set(public)


@pytest.mark.parametrize("name", sorted(catalogue.ABSTRACT))
def test_abstract_bases_cannot_be_built(name: str) -> None:
    assert inspect.isabstract(public_classes()[name])


@each_with_config
def test_config_holds_every_argument_of_the_constructor(entry: Entry) -> None:
    names = set(inspect.signature(entry.kind).parameters) - {"kwargs"}
    network = entry.build()
    assert names <= set(network.get_config())
    assert all(hasattr(network, name) for name in names)


@each_with_config
def test_config_round_trip_gives_the_same_outputs(entry: Entry) -> None:
    network, inputs = example_of(entry), entry.inputs()
    copy = entry.kind.from_config(network.get_config())
    assert copy.get_config() == network.get_config()
    copy(inputs)
    copy.set_weights(network.get_weights())
    assert_equal(copy(inputs), network(inputs))


@each_layer
def test_layer_in_a_model_survives_a_keras_file_in_safe_mode(entry: Entry, tmp_path: Path) -> None:
    model, inputs = example_model(entry)
    model.save(tmp_path / "model.keras")
    assert_equal(keras.saving.load_model(tmp_path / "model.keras")(inputs), model(inputs))


@each_kind_of_prior
def test_prior_survives_a_keras_file_in_safe_mode(entry: Entry, tmp_path: Path) -> None:
    prior = example_of(entry)
    values, condition = values_of(prior), condition_of(prior)
    prior.save(tmp_path / "prior.keras")
    loaded = keras.saving.load_model(tmp_path / "prior.keras")
    assert type(loaded) is entry.kind
    assert loaded.get_config() == prior.get_config()
    assert_equal(loaded.log_prob(values, condition), prior.log_prob(values, condition))


@each_kind_of_prior
def test_compiled_prior_survives_a_keras_file_with_its_optimizer(entry: Entry, tmp_path: Path) -> None:
    prior = randomise(entry.build())
    prior.compile(optimizer="adam", run_eagerly=True)
    prior.fit(entry.inputs(), verbose=0)
    prior.save(tmp_path / "prior.keras")
    loaded = keras.saving.load_model(tmp_path / "prior.keras")
    assert int(loaded.optimizer.iterations) == 1
    assert_equal(
        loaded.log_prob(values_of(prior), condition_of(prior)),
        prior.log_prob(values_of(prior), condition_of(prior)),
    )


@each_prior
def test_weights_of_a_prior_survive_a_weights_file(entry: Entry, tmp_path: Path) -> None:
    prior, other = example_of(entry), entry.build()
    prior.save_weights(tmp_path / "prior.weights.h5")
    other.load_weights(tmp_path / "prior.weights.h5")
    assert_equal(other.get_weights(), prior.get_weights())
