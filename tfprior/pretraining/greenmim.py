"""GreenMIM (Huang et al. 2022, arXiv:2205.13515, "Green Hierarchical Vision Transformer for Masked Image …").

Shapes: B batch · H W C image · U units · V of them visible · T visible tokens of the last stage · N places of
its map · D features.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from tfprior.encoders.swin import Swin
from tfprior.inputs import concrete
from tfprior.pretraining.base import Predicted
from tfprior.pretraining.decoded import DecodedImageModel
from tfprior.pretraining.grouping import TooManyGroups
from tfprior.pretraining.masked_swin import encode_masked, of_tokens
from tfprior.pretraining.masking import ranks_of, rows_at
from tfprior.pretraining.visible_swin import Plan, VisibleSwin


@keras.saving.register_keras_serializable("tfprior")
class GreenMIM(DecodedImageModel):
    """A Swin over the visible quarter of units, and a decoder of one block over all places of its last map.

        image ── visible units' patches ── Swin, windows in groups ── + mask tokens ── decoder ── pixels
        noise ── plan, in NumPy ────────────────────┘

    All images of a batch have the same mask: `fit` draws one for each step, and a loop of one's own calls
    `draw_mask` before. The loss is the mean square error of hidden pixels, `hidden_mse`.

    Args:
        encoder: a Swin.
        mask_ratio: share of units that is hidden.
        unit_size: side of a unit in pixels; a multiple, of those that divide the images, of what a place of
            the last map stands for.
        decoder_dim: features of the decoder, a multiple of 4.
        decoder_layers: its blocks.
        decoder_heads: heads of attention in each of them.
        norm_pix: whether pixels are predicted relative to the mean and deviation of their place.
        mean, std: of the images' channels, in [0, 1]; see `ImageScaling`.

    Raises:
        ValueError: for another encoder, a ratio that hides nothing or all, units that do not fit, and sizes
            out of range.
    """

    shares_mask = True

    def __init__(
        self,
        encoder: Swin,
        mask_ratio: float = 0.75,
        unit_size: int = 32,
        decoder_dim: int = 512,
        decoder_layers: int = 1,
        decoder_heads: int = 16,
        norm_pix: bool = True,
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
        **kwargs: Any,
    ) -> None:
        if not isinstance(encoder, Swin):
            raise ValueError(
                f"GreenMIM got a {type(encoder).__name__}; expected a Swin: MAE does this with a ViT."
            )
        sizes = (decoder_dim, decoder_layers, decoder_heads)
        super().__init__(encoder, unit_size, mask_ratio, *sizes, norm_pix, mean, std, **kwargs)
        if unit_size % self.stride:
            raise ValueError(
                f"GreenMIM got unit_size={unit_size}; expected a multiple of {self.stride} pixels, which a "
                "place of the encoder's last map stands for."
            )
        self.visible = VisibleSwin(encoder, unit_size, self.num_visible)
        noise = np.random.default_rng(0).random((1, self.num_units))
        self.evaluated = self.visible.plan(noise[0], padded=False)
        self.build()

    def build(self, input_shape: Any = None) -> None:
        if self.built:
            return
        super().build(input_shape)
        generator = np.random.default_rng(0)
        first = self._fitting(lambda: generator.random(self.num_units))
        self.planned = [
            self.add_weight(part.shape, dtype="int32", trainable=False, name=f"plan_{index}")
            for index, part in enumerate(tree.flatten(first))
        ]
        self._assign(first)

    # Masks

    def mask(self, noise: Any, count: Any, training: bool) -> Plan:
        if noise is not None:
            known = concrete(noise)
            if known is None:
                raise ValueError(
                    "GreenMIM got noise inside a graph; it plans masks in NumPy: call it outside, or "
                    "predict_by_noise."
                )
            return self.visible.plan(known[0], padded=False)
        return self.drawn if training else self.evaluated

    @property
    def drawn(self) -> Plan:
        """The plan that `draw_mask` has made, for the next step of training."""
        tensors = [ops.convert_to_tensor(variable) for variable in self.planned]
        plan: Plan = tree.pack_sequence_as(self.evaluated, tensors)
        return plan

    def draw_mask(self) -> None:
        """Plans another mask for training, of as many groups as any."""
        self._assign(self._fitting(self._noise))

    def _noise(self) -> np.ndarray:
        uniforms = keras.random.uniform((self.num_units,), seed=self.noise)
        return np.asarray(ops.convert_to_numpy(uniforms))

    def _fitting(self, draw: Callable[[], np.ndarray]) -> Plan:
        """A plan of noise that is drawn until one needs no more groups than there are."""
        while True:
            try:
                return self.visible.plan(draw())
            except TooManyGroups:  # one in dozens
                continue

    def _assign(self, plan: Plan) -> None:
        for variable, part in zip(self.planned, tree.flatten(plan), strict=True):
            variable.assign(part)

    def fit(self, x: Any = None, *args: Any, callbacks: Any = None, **kwargs: Any) -> Any:
        drawing = DrawMasks()
        if isinstance(callbacks, keras.callbacks.CallbackList):
            drawing.set_model(self)
            callbacks.callbacks.append(drawing)
        else:
            callbacks = [*tree.flatten(callbacks or []), drawing]
        return super().fit(x, *args, callbacks=callbacks, **kwargs)

    def train_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        self.draw_mask()
        return super().train_on_batch(*args, **kwargs)

    # One pass

    def predict_hidden(self, images: Any, mask: Plan) -> Predicted:
        features = self.visible.encode(images, mask)  # (B, T, D)
        count = ops.shape(images)[0]
        ranks, hidden = (ops.broadcast_to(x, (count, *x.shape)) for x in (mask.ranks, mask.hidden == 1))
        return Predicted(self.decoder(features, ranks), hidden)

    def predict_by_noise(self, images: Any, noise: Any) -> Predicted:
        """As `call`, each image by a mask of its own, at the cost of a Swin over all of it."""
        hidden = ranks_of(noise) >= self.num_visible  # (B, U)
        features = encode_masked(self.encoder, self.scaling(images), hidden, self.unit_map)  # (B, N, D)
        places = of_tokens(hidden, self.unit_map, self.encoder.feature_size[0])[..., 0]  # (B, N)
        order = ops.arange(places.shape[1], dtype="float32") + places * places.shape[1]  # visible ones first
        num_visible = places.shape[1] // self.num_units * self.num_visible
        visible = rows_at(features, ops.argsort(order, axis=-1)[:, :num_visible])  # (B, T, D)
        return Predicted(self.decoder(visible, ranks_of(order)), hidden)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "unit_size": self.unit_size}


class DrawMasks(keras.callbacks.Callback):
    """Plans a mask before each step of training, of a GreenMIM or of the `MaskedImages` around one."""

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        trained: Any = (
            self.model
        )  # on JAX its variables hold the state from here on, and the step reads them anew
        getattr(trained, "model", trained).draw_mask()
