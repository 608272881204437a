"""What every encoder is: a network from images to features of their parts.

Shapes: B batch · H W C image · p side of a patch · h w map of features · N = h · w · P class tokens, 0 or 1 ·
D features.
"""

import abc
from typing import Any, ClassVar, Self

import keras
from keras import ops

from tfprior.inputs import check_sizes, is_integer, name_of, shape_of
from tfprior.layers.patches import PatchEmbedding, map_size

ImageShape = tuple[int, int, int]


class Encoder(keras.Model, abc.ABC):
    """Images (B, H, W, C) of floats → features (B, P + N, D), normalized.

        images ── embed ── tokens of patches ── encode ── features

    The first P features are those of class tokens, the others those of a map (h, w) in raster order, which
    `map_of` gives. Images are of the size and channels that the encoder was built for, scaled as its weights
    have seen them.

    Args:
        image_shape: (H, W, C) of the images.
        patch_size: p; patches fill the images.

    Attributes:
        num_class_tokens: P.
        feature_size: (h, w).
        num_features: D.
        patches: the layer that cuts images into patches and projects these.
        norm: of the features, the last layer.

    Raises:
        ValueError: for sizes that are not positive, and images that do not divide into patches.
    """

    PRESETS: ClassVar[dict[str, dict[str, Any]]]
    num_class_tokens: int = 0
    feature_size: tuple[int, int]
    num_features: int
    built: bool
    norm: keras.layers.Layer

    def __init__(self, image_shape: ImageShape, patch_size: int, hidden_dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.image_shape = check_image_shape(image_shape)
        check_sizes(type(self).__name__, patch_size=patch_size, hidden_dim=hidden_dim)
        self.patch_size = patch_size
        self.hidden_dim = hidden_dim
        self.patch_map = map_size(self.image_shape[:2], patch_size)
        self.patches = PatchEmbedding(patch_size, hidden_dim, name="patches", dtype=self.dtype_policy)

    @classmethod
    def from_preset(cls, name: str, **options: Any) -> Self:
        """An encoder of the sizes that papers name, with weights that are random.

        Args:
            name: of the sizes.
            options: of the constructor, beside these sizes or in their place.

        Raises:
            ValueError: for an unknown name.
        """
        if name not in cls.PRESETS:
            raise ValueError(
                f"{cls.__name__} has no sizes {name!r}; expected one of {', '.join(cls.PRESETS)}."
            )
        return cls(**{**cls.PRESETS[name], **options})

    def call(self, images: Any, training: bool | None = None, normalized: bool = True) -> Any:
        """Images → features; those before the last norm where they are not to be `normalized`."""
        self.check_images(images)
        x = self.transform(self.embed(images))
        return self.norm(x) if normalized else x

    def embed(self, images: Any) -> Any:
        """Images (B, H, W, C) → tokens of their patches (B, N, D), as the first block takes them."""
        return self.placed(self.tokens_of(images))

    @abc.abstractmethod
    def tokens_of(self, images: Any) -> Any:
        """Images (B, H, W, C) → tokens of their patches (B, N, D), which a mask token may stand for."""

    @abc.abstractmethod
    def placed(self, tokens: Any) -> Any:
        """Tokens of all patches (B, N, D), that tell where they stand."""

    def encode(self, tokens: Any) -> Any:
        """Tokens of patches that tell where they stand → features (B, P + T, D); a ViT takes any of them."""
        return self.norm(self.transform(tokens))

    @abc.abstractmethod
    def transform(self, tokens: Any) -> Any:
        """Tokens of patches → features before the last norm."""

    @property
    @abc.abstractmethod
    def layers_by_depth(self) -> list[list[keras.layers.Layer]]:
        """The layers behind the embedding, those that stand side by side together, the norm last."""

    def map_of(self, features: Any) -> Any:
        """Features (B, P + N, D) without those of class tokens, as a map (B, h, w, D)."""
        places = features[:, self.num_class_tokens :]
        return ops.reshape(places, (-1, *self.feature_size, self.num_features))

    def check_images(self, images: Any) -> None:
        """Raises ValueError unless they are floats (B, H, W, C) of the shape that it was built for."""
        kind = name_of(images.dtype)
        if "float" not in kind:
            raise ValueError(
                f"{type(self).__name__} got images of {kind}; expected floats, scaled as its weights have "
                "seen them: images.astype('float32') / 255 and the like."
            )
        self.check_shape(shape_of(images, "Images"))

    def check_shape(self, shape: tuple[Any, ...]) -> None:
        """Raises ValueError unless it is (B, H, W, C)."""
        if shape[1:] == self.image_shape:
            return
        expected = f"(batch, {', '.join(map(str, self.image_shape))})"
        remedy = "resize them, or build it with another image_shape"
        if None in shape[1:]:
            remedy = f"in a dataset, set it by tf.ensure_shape(images, {(None, *self.image_shape)})"
        raise ValueError(f"{type(self).__name__} got images of shape {shape}; expected {expected}: {remedy}.")

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        self.check_shape(tuple(input_shape))
        height, width = self.feature_size
        return input_shape[0], self.num_class_tokens + height * width, self.num_features

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "image_shape": self.image_shape,
            "patch_size": self.patch_size,
            "hidden_dim": self.hidden_dim,
        }


def check_image_shape(image_shape: Any) -> ImageShape:
    """The shape as three ints, or ValueError."""
    shape = tuple(image_shape) if isinstance(image_shape, tuple | list) else ()
    if len(shape) != 3 or not all(is_integer(size) and size > 0 for size in shape):
        raise ValueError(
            f"image_shape={image_shape!r}; expected three positive integers (height, width, channels), for "
            "example (224, 224, 3)."
        )
    return int(shape[0]), int(shape[1]), int(shape[2])


def rates_by_depth(rate: float, count: int) -> list[float]:
    """Rates of stochastic depth: from 0 at the first of `count` blocks evenly up to `rate` at the last."""
    return [rate * index / max(count - 1, 1) for index in range(count)]
