"""Which output channel may see which input channel at the pixel itself."""

from typing import Literal

import numpy as np

from tfprior.inputs import is_integer

MaskType = Literal["A", "B"]


def check_mask_options(mask_type: str, filters: int, groups: int, layer: str) -> None:
    """Raises ValueError for an unknown mask type or for filters that do not split into the groups."""
    if mask_type not in ("A", "B"):
        raise ValueError(f"{layer} got mask_type={mask_type!r}; expected 'A' (blind to itself) or 'B'.")
    check_groups("filters", filters, groups, layer)


def check_groups(name: str, size: int, groups: int, layer: str) -> None:
    """Raises ValueError unless `size` channels split evenly into `groups`."""
    if not (is_integer(size) and is_integer(groups)) or groups < 1 or size < 1 or size % groups:
        known = max(groups, 1) if is_integer(groups) else 1
        multiple = known * max(1, -(-size // known)) if is_integer(size) else known
        raise ValueError(
            f"{layer} got {name}={size!r} for groups={groups!r}; expected a positive multiple of the number "
            f"of channel groups, for example {name}={multiple}."
        )


def channel_mask(mask_type: MaskType, inputs: int, outputs: int, groups: int) -> np.ndarray:
    """(inputs, outputs) mask of the RGB order: channels lie in `groups` consecutive groups.

    type A         type B
      R  G  B        R  G  B    output group
    R .  x  x      R x  x  x
    G .  .  x      G .  x  x
    B .  .  .      B .  .  x
    input group
    """
    source = np.arange(inputs)[:, None] * groups // inputs
    target = np.arange(outputs)[None, :] * groups // outputs
    return (source < target if mask_type == "A" else source <= target).astype("float32")
