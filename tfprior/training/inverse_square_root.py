"""The learning rate of the original Transformer (Vaswani et al. 2017, arXiv:1706.03762, section 5.3)."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("tfprior")
class InverseSquareRoot(keras.optimizers.schedules.LearningRateSchedule):
    """Rises evenly, and falls by the square root of the step: D^−½ · min(s^−½, s · warmup_steps^−1.5).

    The paper has it with `keras.optimizers.Adam(InverseSquareRoot(512), beta_2=0.98, epsilon=1e-9)`.

    Args:
        hidden_dim: D, the features of a token.
        warmup_steps: over which it rises.
        scale: a factor of the whole.

    Raises:
        ValueError: for numbers that are not positive.
    """

    def __init__(self, hidden_dim: int, warmup_steps: int = 4000, scale: float = 1.0) -> None:
        super().__init__()
        for name, value in (("hidden_dim", hidden_dim), ("warmup_steps", warmup_steps), ("scale", scale)):
            if not value > 0:
                raise ValueError(f"InverseSquareRoot got {name}={value!r}; expected a positive number.")
        self.hidden_dim = hidden_dim
        self.warmup_steps = warmup_steps
        self.scale = scale

    def __call__(self, step: Any) -> Any:
        """The rate of a step, of which Keras's first one is 0."""
        step = ops.cast(step, "float32") + 1
        return self.scale * self.hidden_dim**-0.5 * ops.minimum(step**-0.5, step * self.warmup_steps**-1.5)

    def get_config(self) -> dict[str, Any]:
        return {"hidden_dim": self.hidden_dim, "warmup_steps": self.warmup_steps, "scale": self.scale}
