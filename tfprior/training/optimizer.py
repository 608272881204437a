"""The optimizer of training runs."""

from typing import Any

import keras
from keras import ops


class AveragedAdamW(keras.optimizers.AdamW):
    """AdamW whose averages of the weights soon forget how training began.

    With `use_ema` the momentum rises with the steps t as (1 + t) / (10 + t), up to `ema_momentum`. With 0.999
    from the first step on, a third of the average would still be untrained weights after a thousand.
    """

    @property
    def ema_momentum(self) -> Any:
        steps = ops.cast(self.iterations, "float32")
        return ops.minimum(self._highest_momentum, (1 + steps) / (10 + steps))

    @ema_momentum.setter
    def ema_momentum(self, highest: float) -> None:
        self._highest_momentum = highest

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "ema_momentum": self._highest_momentum}
