"""Jobs by models in .keras files: what shards hold, and that a worker makes the same."""

from pathlib import Path

import keras
import numpy as np
import pytest
from small_jobs import check_folder, codes_in, samples_in
from test_generator import tokenizer, two_grids

from tfprior.bulk import Job, compress_job, connected, encode_job, run, sample_job, score_job
from tfprior.compression import decompress
from tfprior.distributions import Categorical
from tfprior.priors import GatedPixelCNN
from tfprior.runs import load_prior, load_tokenizer, save_model
from tfprior.tokenizers import VQVAE2

pytestmark = pytest.mark.xla  # as in the worker
SMALL = {"filters": 4, "num_layers": 1, "first_kernel_size": 3}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """prior.keras and maps.keras of images (3, 4, 1) of 4 levels, their images.npz, tokenizer.keras."""
    folder, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    save_model(GatedPixelCNN((3, 4, 1), Categorical(4), num_classes=2, **SMALL), folder / "prior.keras")
    maps = GatedPixelCNN((3, 4, 1), Categorical(4), condition_shape=(3, 4, 2), **SMALL)
    save_model(maps, folder / "maps.keras")
    save_model(tokenizer(), folder / "tokenizer.keras")
    values = rng.integers(4, size=(11, 3, 4, 1), dtype="uint8")
    np.savez(folder / "images.npz", x_train=values, y_train=np.arange(11) % 2, num_levels=4)
    np.save(folder / "pictures.npy", rng.integers(16, size=(11, 8, 4, 1), dtype="uint8"))
    return folder


@pytest.mark.xla
def test_a_worker_makes_what_this_process_does(files: Path, tmp_path: Path) -> None:
    prior = files / "prior.keras"
    jobs: dict[str, Job] = {
        "encode": encode_job(files / "tokenizer.keras", files / "pictures.npy", shard_size=4),
        "sample": sample_job(prior, 11, seed=2, shard_size=4, batch_size=2, top_k=3),
        "score": score_job(prior, files / "images.npz", shard_size=4),
        "compress": compress_job(prior, files / "images.npz", shard_size=4),
    }
    here = {name: run(job, tmp_path / name, progress=False) for name, job in jobs.items()}
    for name, index in here.items():
        check_folder(tmp_path / name, index)
    with connected(workers=1) as client:
        for name, job in jobs.items():
            assert run(job, tmp_path / f"{name}_there", client, progress=False) == here[name]
    codes = load_tokenizer(files / "tokenizer.keras").encode(np.load(files / "pictures.npy"))
    np.testing.assert_array_equal(codes_in(tmp_path / "encode"), codes)
    model, drawn = load_prior(prior), samples_in(tmp_path / "sample")
    again = model.sample(len(drawn["labels"]), drawn["labels"], seed=2, top_k=3)
    np.testing.assert_array_equal(drawn["values"], again)
    found = decompress(model, (tmp_path / "compress" / "images-00002.tfp").read_bytes())
    with np.load(files / "images.npz") as given:
        np.testing.assert_array_equal(found.images, given["x_train"][8:])
        np.testing.assert_array_equal(found.labels, given["y_train"][8:])


def test_models_that_do_not_fit_are_told(files: Path, tmp_path: Path) -> None:
    values = files / "values.npy"
    np.save(values, np.zeros((3, 3, 4, 1), "uint8"))
    two: VQVAE2 = two_grids((8, 4, 1))
    save_model(two, tmp_path / "two.keras")
    for message, make in (
        (
            r"is conditioned on floats of shape \(batch, 3, 4, 2\)",
            lambda: sample_job(files / "maps.keras", 1),
        ),
        (r"is a prior; expected a tokenizer", lambda: encode_job(files / "prior.keras", values)),
        (r"is a tokenizer; train a prior", lambda: score_job(files / "tokenizer.keras", values)),
        (
            r"is conditioned on classes and .* has no labels",
            lambda: compress_job(files / "prior.keras", values),
        ),
        (
            r"VQVAE2 of several grids of codes; expected one",
            lambda: encode_job(tmp_path / "two.keras", values),
        ),
        (r"^top_k=5; expected an integer in \[1, 4\]", lambda: sample_job(files / "prior.keras", 1, top_k=5)),
    ):
        with pytest.raises(ValueError, match=message):
            make()


def test_a_model_that_was_trained_further(files: Path, tmp_path: Path) -> None:
    file = tmp_path / "prior.keras"
    file.write_bytes((files / "prior.keras").read_bytes())
    before = sample_job(file, 2)
    model = load_prior(file)
    model.set_weights([weight + 0.1 for weight in model.get_weights()])
    save_model(model, file)
    after = sample_job(file, 2)
    assert before.differences(after) == ["model"]
    with pytest.raises(ValueError, match=r"is not the model that the job began with"):
        run(before, tmp_path / "out", progress=False)
    assert sample_job(files / "prior.keras", 2).model.digest == before.model.digest
