"""Jobs in this process: what shards hold, going on after an interruption, and folders that do not fit."""

import csv
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_jobs import COUNT, SHARDS, SIZE, check_folder, codes_in, samples_in, save_images

from tfprior.bulk import Job, encode_job, read_index, run, sample_job, score_job, shards
from tfprior.data import encode_dataset
from tfprior.export.client import open_bundle
from tfprior.measuring import outlier_scores
from tfprior.runs.lock import locked


def test_a_job_is_json(bulk_jobs: dict[str, Job], tmp_path: Path) -> None:
    for job in bulk_jobs.values():
        again = Job.from_json(json.loads(json.dumps(job.to_json())))
        assert again == job
        assert hash(again.model) == hash(job.model)
        assert not job.differences(again)
        assert [job.bounds(index) for index in (0, SHARDS - 1)] == [(0, 4), (20, 21)]


def test_codes_are_those_of_the_bundle(
    bulk_jobs: dict[str, Job], generator_bundle: Path, bulk_images: Path, tmp_path: Path
) -> None:
    index = run(bulk_jobs["encode"], tmp_path / "codes", progress=False)
    check_folder(tmp_path / "codes", index)
    assert index == read_index(tmp_path / "codes")
    codes = open_bundle(generator_bundle).encode(np.load(bulk_images))
    np.testing.assert_array_equal(codes_in(tmp_path / "codes"), codes)


def test_scores_are_those_of_the_bundle(
    bulk_jobs: dict[str, Job], generator_bundle: Path, bulk_images: Path, tmp_path: Path
) -> None:
    index = run(bulk_jobs["score"], tmp_path / "scores", progress=False)
    check_folder(tmp_path / "scores", index)
    rows = []
    for shard in index.shards:
        with (tmp_path / "scores" / shard.file).open(newline="") as stream:
            rows += list(csv.DictReader(stream))
    assert [int(row["index"]) for row in rows] == list(range(COUNT))
    expected: Any = outlier_scores(open_bundle(generator_bundle), np.load(bulk_images)).per_dim(32)
    for name, numbers in zip(("bits_per_dim", "complexity", "score"), expected, strict=True):
        np.testing.assert_allclose([float(row[name]) for row in rows], numbers, rtol=1e-5)


def test_samples_follow_from_the_seed_and_their_number(
    bulk_jobs: dict[str, Job], prior_bundle: Path, tmp_path: Path
) -> None:
    index = run(bulk_jobs["sample"], tmp_path / "samples", progress=False)
    check_folder(tmp_path / "samples", index)
    found, sampler = samples_in(tmp_path / "samples"), open_bundle(prior_bundle)
    np.testing.assert_array_equal(found["labels"], [0] * 11 + [1] * 10)
    np.testing.assert_array_equal(found["values"], sampler.sample(COUNT, found["labels"], seed=5))
    other = sample_job(prior_bundle, COUNT, seed=5, shard_size=10, batch_size=2)
    run(other, tmp_path / "other", progress=False)
    np.testing.assert_array_equal(samples_in(tmp_path / "other")["values"], found["values"])
    chosen = sample_job(prior_bundle, 5, classes=[1, 0], seed=6, shard_size=SIZE)
    run(chosen, tmp_path / "chosen", progress=False)
    np.testing.assert_array_equal(samples_in(tmp_path / "chosen")["labels"], [1, 1, 1, 0, 0])


def test_samples_of_a_generator_have_their_codes(
    bulk_jobs: dict[str, Job], generator_bundle: Path, tmp_path: Path
) -> None:
    run(bulk_jobs["images"], tmp_path / "images", progress=False)
    found, bundle = samples_in(tmp_path / "images"), open_bundle(generator_bundle)
    expected = np.rint(bundle.decode(found["codes"].astype("int32")))
    assert (found["values"].dtype, found["codes"].dtype) == (np.uint8, np.int32)
    np.testing.assert_array_equal(found["values"], expected)
    assert "labels" not in found


class Killed(BaseException):
    """As a signal does, nothing in between hears it."""


@pytest.mark.parametrize("name", ["encode", "sample"])
def test_a_killed_job_goes_on(
    name: str, bulk_jobs: dict[str, Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, whole, folder = bulk_jobs[name], tmp_path / "whole", tmp_path / "killed"
    expected = run(job, whole, progress=False)
    task = shards.TASKS[job.task]

    def killed_in_the_fourth(job: Job, index: int) -> bytes:
        if index == 3:
            (folder / ".writing-1-half.npz").write_bytes(b"half")
            raise Killed
        return task.content(job, index)

    with monkeypatch.context() as patched:
        patched.setitem(shards.TASKS, job.task, task._replace(content=killed_in_the_fourth))
        with pytest.raises(Killed):
            run(job, folder, progress=False)
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.npz") if path.name[0] != "."}
    assert len(before) == 3
    with pytest.raises(FileNotFoundError, match=r"holds no index\.json; expected the folder of a job"):
        read_index(folder)
    made = []

    def told(job: Job, index: int) -> bytes:
        made.append(index)
        return task.content(job, index)

    with monkeypatch.context() as patched:
        patched.setitem(shards.TASKS, job.task, task._replace(content=told))
        index = run(job, folder, progress=False)
    assert made == [3, 4, 5]
    assert index == expected
    check_folder(folder, index)
    assert all((folder / name).stat().st_mtime_ns == time for name, time in before.items())


def test_killed_between_a_shard_and_its_record(bulk_jobs: dict[str, Job], tmp_path: Path) -> None:
    job = bulk_jobs["encode"]
    expected = run(job, tmp_path, progress=False)
    (tmp_path / "index.json").unlink()
    assert run(job, tmp_path, progress=False) == expected


def test_a_finished_job_is_compared_with_its_index(bulk_jobs: dict[str, Job], tmp_path: Path) -> None:
    job = bulk_jobs["sample"]
    index = run(job, tmp_path, progress=False)
    assert run(job, tmp_path, progress=False) == index
    shard = tmp_path / index.shards[2].file
    shard.unlink()
    assert run(job, tmp_path, progress=False) == index
    content = bytearray(shard.read_bytes())
    content[40] ^= 1
    shard.write_bytes(content)
    with pytest.raises(ValueError, match=r"samples-00002\.npz is damaged: it is not what was written"):
        run(job, tmp_path, progress=False)
    shard.write_bytes(content[:40])
    with pytest.raises(ValueError, match=r"samples-00002\.npz is damaged"):
        run(job, tmp_path, progress=False)


def test_damaged_shards_of_an_unfinished_job(
    bulk_jobs: dict[str, Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, task = bulk_jobs["sample"], shards.TASKS["sample"]

    def failing(job: Job, index: int) -> bytes:
        if index == 2:
            raise ArithmeticError("NaN")
        return task.content(job, index)

    with monkeypatch.context() as patched:
        patched.setitem(shards.TASKS, "sample", task._replace(content=failing))
        with pytest.raises(ArithmeticError, match="NaN"):
            run(job, tmp_path, progress=False)
    file = tmp_path / "samples-00001.npz"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"samples-00001\.npz is damaged"):
        run(job, tmp_path, progress=False)
    file.unlink()
    check_folder(tmp_path, run(job, tmp_path, progress=False))


def test_a_folder_of_another_job(bulk_jobs: dict[str, Job], prior_bundle: Path, tmp_path: Path) -> None:
    run(bulk_jobs["sample"], tmp_path / "out", progress=False)
    with pytest.raises(ValueError, match=r"of another job, with another task; choose another folder"):
        run(bulk_jobs["encode"], tmp_path / "out", progress=False)
    other = sample_job(prior_bundle, COUNT, seed=6, shard_size=5, batch_size=2)
    with pytest.raises(ValueError, match=r"with another shard_size, seed; choose"):
        run(other, tmp_path / "out", progress=False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "text.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds files and no bulk job"):
        run(other, tmp_path / "mine", progress=False)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["text.txt"]
    with pytest.raises(FileExistsError, match=r"is a file; expected a folder"):
        run(other, tmp_path / "mine" / "text.txt", progress=False)
    with (
        locked(tmp_path / "out", "written"),
        pytest.raises(BlockingIOError, match=rf"being written into by another process \({os.getpid()}\)"),
    ):
        run(bulk_jobs["sample"], tmp_path / "out", progress=False)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("job.json", "{", r"job\.json is damaged .*; delete the folder"),
        ("job.json", '{"format": "tfprior.bulk", "schema": 2}', r"schema 2; this tfprior reads .* schema 1"),
        ("job.json", '{"format": "other", "schema": 1}', r"has format 'other'"),
        ("index.json", "[]", r"index\.json is damaged .*; delete it, and the same job makes again"),
        ("index.json", None, r"index\.json is damaged \(it has changed\)"),
    ],
)
def test_damaged_files_are_told(
    name: str, content: str | None, message: str, bulk_jobs: dict[str, Job], tmp_path: Path
) -> None:
    index = run(bulk_jobs["sample"], tmp_path, progress=False)
    file = tmp_path / name
    file.write_text(content or file.read_text().replace('"examples": 4', '"examples": 3'))
    with pytest.raises(ValueError, match=message):
        run(bulk_jobs["sample"], tmp_path, progress=False)
    if name == "index.json":
        file.unlink()
        assert run(bulk_jobs["sample"], tmp_path, progress=False) == index


def test_a_model_that_changed(prior_bundle: Path, generator_bundle: Path, tmp_path: Path) -> None:
    model, out = tmp_path / "model", tmp_path / "out"
    shutil.copytree(prior_bundle, model)
    job = sample_job(model, 4, shard_size=2)
    run(job, out, progress=False)
    shutil.rmtree(model)
    shutil.copytree(generator_bundle, model)
    with pytest.raises(ValueError, match=r"of another job, with another model, classes; choose"):
        run(sample_job(model, 4, shard_size=2), out, progress=False)
    with pytest.raises(ValueError, match=r"model is not the model that the job began with"):
        run(job, tmp_path / "other", progress=False)
    moved = tmp_path / "moved"
    shutil.copytree(prior_bundle, moved)
    assert run(sample_job(moved, 4, shard_size=2), out, progress=False).shards == read_index(out).shards


def test_data_that_changed(generator_bundle: Path, tmp_path: Path) -> None:
    images, out = save_images(tmp_path / "images.npy"), tmp_path / "out"
    job = encode_job(generator_bundle, images, shard_size=SIZE)
    run(job, out, progress=False)
    save_images(images, count=COUNT - 1)
    with pytest.raises(ValueError, match=r"of another job, with another data, num; choose"):
        run(encode_job(generator_bundle, images, shard_size=SIZE), out, progress=False)
    # A process that has not yet opened the data.
    from tfprior.bulk.reading import _opened

    _opened.cache_clear()
    with pytest.raises(ValueError, match=r"images\.npy has changed since the job began"):
        run(job, tmp_path / "other", progress=False)


def test_codes_go_on_by_encode_dataset(bulk_jobs: dict[str, Job], bulk_images: Path, tmp_path: Path) -> None:
    from tfprior.bulk.models import model_of

    run(bulk_jobs["encode"], tmp_path, progress=False)
    before = codes_in(tmp_path)
    codes = encode_dataset(
        model_of(bulk_jobs["encode"]), np.load(bulk_images), tmp_path, SIZE, progress=False
    )
    np.testing.assert_array_equal(codes.arrays(), before)


def test_what_does_not_fit_is_told_before_a_folder_is_made(
    prior_bundle: Path, generator_bundle: Path, bulk_images: Path, tmp_path: Path
) -> None:
    floats = tmp_path / "floats.npy"
    np.save(floats, np.zeros((3, 8, 4, 1)))
    for message, make in (
        (r"holds a prior and no tokenizer", lambda: encode_job(prior_bundle, bulk_images)),
        (
            r"has grids \(8, 4, 1\) of 4 levels; expected \(3, 4, 1\)",
            lambda: score_job(prior_bundle, bulk_images),
        ),
        (
            r"of 9 levels; expected \(8, 4, 1\) of",
            lambda: encode_job(generator_bundle, bulk_images, num_levels=9),
        ),
        (
            r"has no parts; expected them of part='test'",
            lambda: score_job(prior_bundle, bulk_images, part="test"),
        ),
        (r"dtype float64; expected integers", lambda: encode_job(generator_bundle, floats)),
        (r"^num=0; expected a positive", lambda: sample_job(prior_bundle, 0)),
        (r"^shard_size=0; expected a positive", lambda: sample_job(prior_bundle, 1, shard_size=0)),
        (r"^batch_size=0; expected a positive", lambda: sample_job(prior_bundle, 1, batch_size=0)),
        (r"^top_k=2; a bundle draws by", lambda: sample_job(prior_bundle, 1, top_k=2)),
        (r"^temperature=0; expected", lambda: sample_job(prior_bundle, 1, temperature=0)),
        (r"^Labels lie in \[0, 2\]", lambda: sample_job(prior_bundle, 1, classes=[0, 2])),
        (r"is unconditional and got classes", lambda: sample_job(generator_bundle, 1, classes=[0])),
        (r"has its tokenizer and all of its priors", lambda: sample_job(prior_bundle, 1, tokenizer="t")),
    ):
        with pytest.raises(ValueError, match=message):
            make()
