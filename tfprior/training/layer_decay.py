"""Smaller steps for the layers of an encoder that are nearer to the images.

Clark et al. 2020, "ELECTRA", arXiv:2003.10555; Bao et al. 2021, "BEiT", arXiv:2106.08254.
"""

from collections.abc import Sequence
from typing import Any

import keras

from tfprior.encoders import Encoder


def layer_depths(model: keras.Model) -> list[int]:
    """The depth of each trainable variable of a model around an encoder, in their order.

    0 for the embedding, 1, 2, … for the blocks, L for the encoder's norm and for all that is no encoder's.

    Raises:
        ValueError: for a model without an encoder, or with several.
    """
    encoders = [layer for layer in model._flatten_layers() if isinstance(layer, Encoder)]
    if len(encoders) != 1:
        raise ValueError(f"{model.name} has {len(encoders)} encoders; expected a model around one.")
    groups = encoders[0].layers_by_depth
    depth_of = {id(variable): 0 for variable in encoders[0].variables}
    for depth, layers in enumerate(groups, start=1):
        depth_of |= {id(variable): depth for layer in layers for variable in layer.variables}
    return [depth_of.get(id(variable), len(groups)) for variable in model.trainable_variables]


class LayerDecay:
    """Stands before one of Keras's optimizers, whose update of a variable of depth l is times decayᴸ⁻ˡ.

        class LayerDecayLion(LayerDecay, keras.optimizers.Lion): ...

    The learning rate of the variable is, so that momenta are those of the gradients, and weight decay shrinks
    alike. L is the largest depth.

    Args:
        depths: of the variables that the optimizer gets, in their order; see `layer_depths`.
        decay: of the update from each depth to the one before it.
        args, kwargs: of the optimizer.

    Raises:
        ValueError: for a decay that does not lie in (0, 1], and for as many depths as there are no variables.
    """

    def __init__(self, *args: Any, depths: Sequence[int], decay: float = 0.75, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not 0 < decay <= 1:
            raise ValueError(f"{type(self).__name__} got decay={decay!r}; expected a number in (0, 1].")
        self.depths = [int(depth) for depth in depths]
        self.decay = decay

    def build(self: Any, variables: list[Any]) -> None:
        if len(self.depths) != len(variables):
            raise ValueError(
                f"{type(self).__name__} got {len(self.depths)} depths for {len(variables)} variables; "
                "expected one each: call layer_depths once it is settled which layers are trainable."
            )
        super().build(variables)  # type: ignore[misc]

    def scale_of(self: Any, variable: Any) -> float:
        """decayᴸ⁻ˡ of a variable."""
        depth = self.depths[self._get_variable_index(variable)]
        return float(self.decay ** (max(self.depths) - depth))

    def update_step(self: Any, gradient: Any, variable: Any, learning_rate: Any) -> None:
        own = learning_rate * self.scale_of(variable)
        if self.weight_decay is not None and self._use_weight_decay(variable):
            self.assign_sub(variable, variable * keras.ops.cast(self.weight_decay * own, variable.dtype))
        super().update_step(gradient, variable, own)  # type: ignore[misc]

    def _apply_weight_decay(self, variables: list[Any]) -> None:
        """Keras's own, by one learning rate for all; `update_step` has it."""

    def get_config(self: Any) -> dict[str, Any]:
        config: dict[str, Any] = super().get_config()  # type: ignore[misc]
        return {**config, "depths": self.depths, "decay": self.decay}


@keras.saving.register_keras_serializable("tfprior")
class LayerDecayAdamW(LayerDecay, keras.optimizers.AdamW):
    """AdamW with `LayerDecay`, as ViT, MAE and Swin are fine-tuned:

    LayerDecayAdamW(1e-3, weight_decay=0.05, depths=layer_depths(classifier), decay=0.75)
    """
