"""A backend whose devices Keras does not list, in a process of its own: NumPy's stands for it."""

import os
import subprocess
import sys
from pathlib import Path

DRAW = """
import numpy as np
from tfprior.compilation import devices
from tfprior.distributions import Categorical
from tfprior.priors import PixelCNN

prior = PixelCNN((3, 4, 1), Categorical(4), filters=6, num_layers=1, first_kernel_size=3)
drawn = prior.sample(2, seed=0)
np.testing.assert_array_equal(drawn, prior.sample(2, seed=0, method="full"))
assert np.isfinite(prior.log_prob(drawn)).all()
print(devices())
"""


def test_a_prior_draws_on_a_backend_that_lists_no_devices() -> None:
    path = os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "KERAS_BACKEND": "numpy", "PYTHONPATH": path}
    run = subprocess.run([sys.executable, "-c", DRAW], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "['cpu']"
