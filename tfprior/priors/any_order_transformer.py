"""Any-order Transformer (ARPG: Li et al. 2025, arXiv:2503.10568).

Shapes: B batch · H W C grid · P positions · N tokens of a grid · T of them · G tokens of a position ·
D features.
"""

from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from tfprior.distributions.base import OutputDistribution, Tensor
from tfprior.layers.attention import MultiHeadAttention
from tfprior.layers.key_value_cache import Memory, OverSequence, until
from tfprior.layers.streaming import Apply, State, StateSpec, select
from tfprior.layers.token_embedding import TokenEmbedding
from tfprior.layers.value_encoding import OUTSIDE
from tfprior.orders import known_first, order_of
from tfprior.priors.conditioned_transformer import ConditionedTransformer
from tfprior.priors.order_likelihoods import OrderLikelihoods
from tfprior.priors.transformer import TransformerPrior, kept, later


@keras.saving.register_keras_serializable("tfprior")
class AnyOrderTransformer(ConditionedTransformer, TransformerPrior, OrderLikelihoods):
    """A Transformer that draws the positions of a grid in any order, each given those before it.

        values placed        ·    v_σ₀  v_σ₁ …       each with the position that it stands at
                             │     │     │
                        content blocks                causal self-attention
                             │     │     │  keys and values, made once
                        query blocks ┘    ┘           see what was placed before, and not each other
                             │     │     │
        positions asked     σ₀    σ₁    σ₂ …          which know their position alone
                             │     │     │
        parameters         p_σ₀  p_σ₁  p_σ₂

    Trained on orders drawn anew for each example, it has an exact likelihood along every order; say which,
    for it is another number along another one. What is known can come first: so a part of an image is
    completed given all the rest, wherever that lies.

    Args:
        grid_shape: (H, W, C) of the values.
        distribution: the output distribution.
        num_layers: blocks, 2 or more; the first half are content blocks.
        num_heads: heads of attention in each of them.
        hidden_dim: features of a token, D, a multiple of the heads.
        mlp_dim: features inside the feed-forward parts; 4 D when left out.
        activation: of the feed-forward parts.
        norm: "layer", or "rms" by the root mean square alone.
        pre_norm: whether norms come before attention and feed-forward parts; after them in the original.
        positions: "learned", "sinusoidal", or "rotary" by rows and columns.
        dropout: rate of dropout.
        num_classes: for class labels (B,) as the condition.
        condition_shape: (D,) for vectors, (H, W, D) for spatial maps as the condition.
        value_embedding_dim: size of a learned embedding of each value, for codes; None reads values as
            scaled numbers.
        class_embedding_dim: size of the class embedding.
        condition_dropout: share of training examples that lose their condition, for `guidance` in sampling.
        trained_orders: "random", or "raster", which alone such a prior knows.

    Raises:
        ValueError: for options out of range.
    """

    def __init__(
        self,
        grid_shape: tuple[int, int, int],
        distribution: OutputDistribution,
        num_layers: int = 12,
        num_heads: int = 8,
        hidden_dim: int = 512,
        mlp_dim: int | None = None,
        activation: Literal["gelu_tanh", "gelu", "relu", "swiglu"] = "gelu_tanh",
        norm: Literal["layer", "rms"] = "layer",
        pre_norm: bool = True,
        positions: Literal["learned", "sinusoidal", "rotary"] = "learned",
        dropout: float = 0.0,
        num_classes: int | None = None,
        condition_shape: tuple[int, ...] | None = None,
        value_embedding_dim: int | None = None,
        class_embedding_dim: int = 64,
        condition_dropout: float = 0.0,
        trained_orders: Literal["random", "raster"] = "random",
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
            num_classes,
            condition_shape,
            value_embedding_dim,
            class_embedding_dim,
            condition_dropout=condition_dropout,
            **kwargs,
        )
        if num_layers < 2:
            raise ValueError(f"AnyOrderTransformer got num_layers={num_layers}; expected 2 or more.")
        if trained_orders not in ("random", "raster"):
            raise ValueError(f"trained_orders={trained_orders!r}; expected 'random' or 'raster'.")
        self.trained_orders = trained_orders
        options = (hidden_dim, self.num_tokens, positions, self.channel_groups)
        self.ask = TokenEmbedding(*options, name="ask", dtype=self.dtype_policy)
        half = num_layers // 2
        self.content_blocks = [self.block(f"content_{index}") for index in range(half)]
        self.query_blocks = [
            self.block(f"query_{index}", takes_memory=True, self_attention=False)
            for index in range(num_layers - half)
        ]
        self.noise = keras.random.SeedGenerator()
        self.build()

    def build_network(self, tokens: tuple[Any, ...], condition: tuple[Any, ...] | None) -> None:
        # What training moves from 0 to 1 to anneal random orders to raster order.
        self.raster_share = self.add_weight((), "zeros", trainable=False, name="raster_share")
        self.ask.build((None, self.num_tokens, 1), condition)
        for block in self.content_blocks:
            block.build(tokens)
        for block in self.query_blocks:
            block.build([tokens, tokens])

    # The two passes

    def content(self, tokens: Tensor, places: Tensor, condition: Tensor | None, apply: Apply) -> Tensor:
        """Encoded tokens (B, T, F) that stand at `places` (B, T) → the memory of them (B, T, D)."""
        x = self.embed(tokens, places, condition)
        for block in self.content_blocks:
            x = block.run(x, apply)
        return x

    def answers(self, size: Any, places: Tensor, condition: Tensor | None, memory: Memory) -> Tensor:
        """Parameters (B, T, P / G) of the tokens at `places` (T,) or (B, T), from what was placed before."""
        alike = ops.ones((size, places.shape[-1], 1), self.compute_dtype)  # but for their places
        x = self.ask(alike, places, condition)
        for block in self.query_blocks:
            x = block.run(x, memory, memory)
        return self.params_of_tokens(x)

    def call(self, inputs: Any, training: bool = False) -> Tensor:
        values, condition = self.unpack(inputs)
        order = None
        if training and self.trained_orders == "random":
            order = self.order_to_learn(ops.shape(values)[0])
        return self.params(values, self.encode_condition(condition), order)

    def order_to_learn(self, count: Any) -> Tensor:
        """A random order for each of so many examples, or raster order for a share of them: (B, P)."""
        noise = keras.random.uniform((count, self.num_steps + 1), seed=self.noise)
        order = ops.cast(ops.argsort(noise[:, 1:], axis=-1), "int32")
        return ops.where(noise[:, :1] < ops.cast(self.raster_share, noise.dtype), self.raster, order)

    def params(self, values: Tensor, features: Tensor | None, order: Tensor | None = None) -> Tensor:
        """Parameters (B, H, W, P) of grids (B, H, W, C), each position's given those before it in the order.

        The order is (B, P), or raster order where there is none; `features` are those of the condition.
        """
        tokens, places = self.tokens(values), self.places
        if order is not None:
            places = self.token_places(order)  # (B, N)
            tokens = select(tokens, places)
        before, at = later(tokens), later(places)
        memory = self.content(before, at, features, OverSequence(self.rotation(at)))
        keys = {layer.name: layer.keys_and_values(memory, self.rotation(at)) for layer in self.recalls}
        recall = Memory(keys, until(self.places, self.num_tokens), self.rotation(places))
        params = self.answers(ops.shape(values)[0], places, features, recall)
        if order is not None:
            params = select(params, ops.cast(ops.argsort(places, axis=-1), "int32"))
        return self.params_of_grid(params)

    @property
    def recalls(self) -> list[MultiHeadAttention]:
        """The attention of each query block."""
        return [block.memory_attention for block in self.query_blocks]

    @property
    def raster(self) -> np.ndarray:
        """The order of rows from the top, each from left to right: (P,)."""
        return np.arange(self.num_steps, dtype="int32")

    # One position at a time

    @property
    def caching(self) -> list[MultiHeadAttention]:
        return [*(block.attention for block in self.content_blocks), *self.recalls]

    def state_spec(self) -> State:
        order = StateSpec((self.num_steps,), "int32", tuple(range(self.num_steps)))
        return {"order": {"positions": order, "ranks": order}, "cache": self.cache_of(self.num_tokens)}

    def initial_state(
        self, batch_size: Any, condition: Tensor | None = None, order: Tensor | None = None
    ) -> State:
        """The state before the first step, for steps in an order (B, P); in raster order without one.

        Raises:
            ValueError: for a condition that is missing, or of the wrong shape, type or range.
        """
        state = super().initial_state(batch_size, condition)
        if order is None:
            return state
        ranks = ops.cast(ops.argsort(order, axis=-1), "int32")
        return {**state, "order": {"positions": ops.convert_to_tensor(order), "ranks": ranks}}

    def placed(self, state: State, tokens: Tensor, places: Tensor, ranks: Tensor) -> State:
        apply = self.next_to(state, ranks, places)
        memory = self.content(tokens, places, state.get("condition"), apply)
        after = dict(apply.after)
        for layer in self.recalls:
            recalled = layer.keys_and_values(memory, apply.rotation)
            after[layer.name] = apply.slots.added(apply.before[layer.name], *recalled)
        return {**state, kept(state): after}

    def prefill(self, values: Tensor, condition: Tensor | None, order: Tensor) -> State:
        """The state after the first positions of an order (B, P), of which `values` (B, H, W, C) are known.

        What stands at the others does no harm: steps write over it before they look at it.
        """
        state = self.initial_state(ops.shape(values)[0], condition, order)
        places = self.token_places(order)
        tokens = select(self.tokens(values), places)
        return self.placed(state, later(tokens), later(places), self.places)

    def advance(self, state: State, previous: Tensor, position: Tensor) -> State:
        """Takes in the value at the position before `position` in the order; nothing before the first one."""
        rank = select(state["order"]["ranks"], ops.cast(position, "int32"))  # (B,)
        before = select(state["order"]["positions"], ops.maximum(rank - 1, 0))
        return self.place(state, previous, before, rank)

    def place(self, state: State, previous: Tensor, before: Tensor | None, rank: Tensor) -> State:
        if before is None:
            before = ops.maximum(rank - 1, 0)  # in raster order
        is_first = (rank == 0)[:, None]
        tokens = self.tokens(ops.where(is_first, OUTSIDE, previous))
        places = ops.where(is_first, 0, self.token_places(before[:, None]))
        ranks = rank[:, None] * self.channel_groups + np.arange(1 - self.channel_groups, 1, dtype="int32")
        return self.placed(state, tokens, places, ops.maximum(ranks, 0))

    def params_at(
        self, state: State, position: Tensor, current: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Parameters (B, P) at `position`, given the channels known in `current` (B, C)."""
        position = ops.cast(position, "int32")
        rank = select(state["order"]["ranks"], position)
        return self.params_next(state, position, rank, current), state

    def params_next(
        self, state: State, position: Tensor, rank: Tensor, current: Tensor | None = None
    ) -> Tensor:
        groups = self.channel_groups
        places = self.token_places(position[:, None])  # (B, G)
        ranks = rank[:, None] * groups + np.arange(groups, dtype="int32")
        if groups > 1:
            known = self.known_channels(current, ops.shape(position)[0])
            state = self.placed(state, known, places[:, :-1], ranks[:, 1:])
        return ops.reshape(self.params_of_places(state, places, ranks), (-1, self.num_params))

    def params_of_places(self, state: State, places: Tensor, ranks: Tensor) -> Tensor:
        """Parameters (B, T, P / G) of the tokens at `places` (B, T) that come at `ranks`, after `placed`."""
        caches = {layer.name: state[kept(state)][layer.name] for layer in self.recalls}
        keys = {name: (cache["keys"], cache["values"]) for name, cache in caches.items()}
        bias = self.slots(state, ranks).bias(caches[self.recalls[0].name]["keys"])
        recall = Memory(keys, bias, self.rotation(places))
        return self.answers(ops.shape(places)[0], places, state.get("condition"), recall)

    def params_ahead(
        self, state: State, values: Tensor, order: Tensor, first: Tensor, count: int
    ) -> tuple[Tensor, State]:
        places, ranks = self.token_places(order), self.ranks_ahead(first, count)
        at, before = (ops.take(each, ranks, axis=1) for each in (places, later(places)))
        state = self.placed(state, self.tokens_ahead(values, first, count), before, ranks)
        params = self.params_of_places(state, at, ranks)
        return ops.reshape(params, (-1, count, self.num_params)), state

    # Drawing

    def drawing_order(self, order: Any, count: int, hidden: np.ndarray | None) -> np.ndarray:
        found = self.order_of("raster" if order is None else order, count)
        order = np.broadcast_to(found, (count, self.num_steps))
        if hidden is None or self.trained_orders == "raster":
            return order
        return known_first(order, hidden.reshape(count, -1))

    def params_along(self, values: Tensor, condition: Tensor | None, order: Tensor) -> Tensor:
        return self.params(values, self.encode_condition(condition), order)

    def order_of(self, order: Any, count: int | None = None) -> np.ndarray:
        found = order_of(order, self.grid_shape, count)
        if self.trained_orders == "raster" and (found != self.raster).any():
            raise ValueError(
                "The prior was trained in raster order alone and asked for another one, of which it knows "
                'nothing; train it with trained_orders="random".'
            )
        return found

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "trained_orders": self.trained_orders}
