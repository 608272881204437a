"""The examples at tiny size; the demo is in test_readme.py."""

from pathlib import Path

import keras
import numpy as np
from catalogue import integers

from examples import train_pixelcnn_pp


def test_the_papers_recipe_trains_on_an_npz_file(tmp_path: Path) -> None:
    images = 8 * integers(40, 4, 8, 3, top=32).astype("uint8")
    np.savez(tmp_path / "mine.npz", x_train=images[:32], x_test=images[32:])
    scores = train_pixelcnn_pp.main(
        str(tmp_path / "mine.npz"), str(tmp_path / "run"), epochs=2, batch_size=8, filters=4, samples=4
    )
    assert scores["PixelCNN++"] < 10
    assert np.isfinite(list(scores.values())).all()
    prior = keras.saving.load_model(tmp_path / "run" / "best.keras")
    assert not prior.needs_initialization
    assert (tmp_path / "run" / "samples.png").stat().st_size > 100
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 3
