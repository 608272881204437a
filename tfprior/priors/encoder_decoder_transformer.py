"""The Transformer (Vaswani et al. 2017, "Attention Is All You Need", arXiv:1706.03762).

Shapes: B batch · H W C grid · S tokens of a source · N tokens of a grid · T of them · F features of a value ·
D of a token · P parameters of a position.
"""

from typing import Any, Literal

import keras
from keras import ops

from tfprior.condition_kind import ConditionKind
from tfprior.distributions.base import OutputDistribution, Tensor
from tfprior.distributions.categorical import Categorical
from tfprior.inputs import check_sizes, is_integer
from tfprior.layers.key_value_cache import HIDDEN, Memory, OverSequence
from tfprior.layers.scaled_embedding import ScaledEmbedding
from tfprior.layers.streaming import Apply, State, StateSpec
from tfprior.layers.transformer_block import normalization
from tfprior.layers.value_encoding import ValueEncoding
from tfprior.priors.causal_decoder import CausalDecoder


@keras.saving.register_keras_serializable("tfprior")
class EncoderDecoderTransformer(CausalDecoder):
    """p(target | source): a sequence or grid of values, given tokens of another vocabulary and length.

                                                  parameters  p₀  p₁  p₂ … p₋₁
                                                               │   │   │     │
        encoder blocks × num_layers ──── memory ────▶ decoder blocks × num_layers
          │   │   │     │   self-attention                     │   │   │     │   causal self-attention,
         embeddings · √D + positions                          embeddings · √D + positions     to memory
          │   │   │     │                                      │   │   │     │
          s₀  s₁  s₂ … s₋₁   source                    target  ·   v₀  v₁ … v₋₂   the value before

    It learns by `fit({"values": targets, "condition": sources})`, sources (B, S) int32 of at most
    `source_length` tokens. The memory and its keys and values in every block are made once for all steps.
    What is reported, `bits_per_dim` and every likelihood, has no label smoothing.

    Args:
        grid_shape: (H, W, C) of the target; (1, N, 1) of sequences.
        distribution: the output distribution.
        source_levels: size of the source's vocabulary; tokens are integers in [0, source_levels).
        source_length: the most tokens of a source.
        num_layers: blocks of the encoder, and of the decoder.
        num_heads: heads of attention in each of them.
        hidden_dim: features of a token, D, a multiple of the heads.
        mlp_dim: features inside the feed-forward parts; 4 D when left out.
        activation: of the feed-forward parts.
        norm: "layer", or "rms" by the root mean square alone.
        pre_norm: whether norms come before attention and feed-forward parts; after them in the paper.
        positions: "sinusoidal", or "learned".
        dropout: rate of dropout.
        label_smoothing: share of the loss that asks for all levels alike, in training alone (Szegedy et al.
            2016, arXiv:1512.00567).
        source_padding: the token that fills sources up, which nothing attends to.
        end_value: of sequences, which hold nothing else after it.

    Raises:
        ValueError: for options out of range, features that do not split into the heads, an end of what is no
            sequence, and label smoothing of what is not categorical.
    """

    def __init__(
        self,
        grid_shape: tuple[int, int, int],
        distribution: OutputDistribution,
        source_levels: int,
        source_length: int,
        num_layers: int = 6,
        num_heads: int = 8,
        hidden_dim: int = 512,
        mlp_dim: int | None = None,
        activation: Literal["gelu_tanh", "gelu", "relu", "swiglu"] = "relu",
        norm: Literal["layer", "rms"] = "layer",
        pre_norm: bool = False,
        positions: Literal["sinusoidal", "learned"] = "sinusoidal",
        dropout: float = 0.1,
        label_smoothing: float = 0.1,
        source_padding: int = 0,
        end_value: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            grid_shape,
            distribution,
            num_layers,
            num_heads,
            hidden_dim,
            mlp_dim,
            activation,
            norm,
            pre_norm,
            positions,
            dropout,
            end_value=end_value,
            **kwargs,
        )
        name = type(self).__name__
        check_sizes(name, 2, source_levels=source_levels)
        check_sizes(name, source_length=source_length)
        if not is_integer(source_padding) or not 0 <= source_padding < source_levels:
            raise ValueError(
                f"source_padding={source_padding!r}; expected a token of the source, in "
                f"[0, {source_levels - 1}]."
            )
        if not isinstance(label_smoothing, int | float) or not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing={label_smoothing!r}; expected a share in [0, 1).")
        if label_smoothing and not isinstance(distribution, Categorical):
            raise ValueError(
                f"Got label_smoothing={label_smoothing} and {distribution!r}; expected a Categorical, or "
                "label_smoothing=0."
            )
        together = self.grid_shape[-1] // self.channel_groups
        if hidden_dim % together:
            raise ValueError(
                f"hidden_dim={hidden_dim}; expected a multiple of the {together} channels of a position, "
                "which share its features."
            )
        self.source_levels = source_levels
        self.source_length = source_length
        self.label_smoothing = label_smoothing
        self.source_padding = source_padding
        self.condition_kind = ConditionKind((source_length,), source_levels, source_padding)
        dtype = self.dtype_policy
        options: dict[str, Any] = {"positions": positions, "dropout": dropout, "dtype": dtype}
        self.read_source = ValueEncoding(source_levels, hidden_dim, dtype=dtype)
        self.embed_source = ScaledEmbedding(source_length, **options)
        self.encoder_blocks = [self.block(f"encoder_{index}", causal=False) for index in range(num_layers)]
        self.memory_norm = normalization(norm, dtype=dtype) if pre_norm else None
        self.encode = ValueEncoding(self.num_levels, hidden_dim // together, dtype=dtype)
        self.embed = ScaledEmbedding(self.num_tokens, **options)
        self.blocks = [self.block(f"decoder_{index}", takes_memory=True) for index in range(num_layers)]
        self.build()

    def build_layers(self, tokens: tuple[Any, ...]) -> None:
        source = (None, self.source_length, self.hidden_dim)
        self.read_source.build((None, self.source_length, 1))
        self.embed_source.build(source)
        self.embed.build(tokens)
        for block in self.encoder_blocks:
            block.build(source)
        if self.memory_norm is not None:
            self.memory_norm.build(source)
        for block in self.blocks:
            block.build([tokens, source])

    def call(self, inputs: Any, training: bool = False) -> Tensor:
        values, source = self.unpack(inputs)
        memory = self.encode_condition(source)
        h = self.decode(self.before(values), self.places, memory, OverSequence())
        return self.predicted(h, values)

    def encode_condition(self, condition: Tensor | None) -> State:
        """Sources (B, S) → the keys and values of the memory in every block, and what is hidden of them.

        Raises:
            ValueError: for a source that is missing, too long, or of the wrong type or range.
        """
        source = self.filled_up(super().encode_condition(condition))
        hidden = ops.where(ops.equal(source, self.source_padding), HIDDEN, 0.0)[:, None, None]
        x = self.embed_source(self.read_source(source[..., None]), ops.arange(self.source_length))
        for block in self.encoder_blocks:
            x = block.run(x, OverSequence(bias=hidden))
        memory = x if self.memory_norm is None else self.memory_norm(x)
        made = {"memory.hidden": hidden}
        for index, block in enumerate(self.blocks):
            keys, values = block.memory_attention.keys_and_values(memory)
            made |= {f"memory.{index}.key": keys, f"memory.{index}.value": values}
        return made

    def memory_spec(self) -> dict[str, StateSpec]:
        length, dtype = self.source_length, self.compute_dtype
        each = StateSpec((self.num_heads, length, self.hidden_dim // self.num_heads), dtype)
        names = [f"memory.{index}.{part}" for index in range(self.num_layers) for part in ("key", "value")]
        return {"memory.hidden": StateSpec((1, 1, length), "float32"), **dict.fromkeys(names, each)}

    def filled_up(self, source: Tensor) -> Tensor:
        """Sources (B, S or fewer) → (B, S) int32, with padding behind them."""
        filling = ops.full((ops.shape(source)[0], self.source_length), self.source_padding, "int32")
        filled = ops.concatenate([ops.cast(source, "int32"), filling], axis=1)[:, : self.source_length]
        return ops.reshape(filled, (-1, self.source_length))  # whose size is known, whatever the batch's

    def decode(self, tokens: Tensor, places: Tensor, condition: State, apply: Apply) -> Tensor:
        x = self.embed(tokens, places)
        # One bias for each head: of one for all, TensorFlow's oneDNN kernels give nothing inside a loop.
        hidden = condition["memory.hidden"] + ops.zeros((self.num_heads, 1, 1))
        for index, block in enumerate(self.blocks):
            memory = condition[f"memory.{index}.key"], condition[f"memory.{index}.value"]
            x = block.run(x, apply, Memory({block.memory_attention.name: memory}, hidden))
        return x

    # Training

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """The loss of every prior, in training with smoothed labels."""
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        if not training or not self.label_smoothing:
            return loss
        uniform = self.distribution.uniform_cross_entropy(y_pred)  # (B, H, W)
        if self.end is not None:  # what is certain is not smoothed
            uniform = ops.where(self.end.before(self.unpack(x)[0]), 0.0, uniform)
        uniform = ops.sum(uniform, axis=(1, 2)) / self.num_dims
        return loss + self.label_smoothing * self.mean_of(
            uniform - self._nats_per_dim(x, y_pred), sample_weight
        )

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for name in ("num_classes", "condition_shape", "condition_dropout"):  # the source is its condition
            del config[name]
        return {
            **config,
            "source_levels": self.source_levels,
            "source_length": self.source_length,
            "label_smoothing": self.label_smoothing,
            "source_padding": self.source_padding,
        }
