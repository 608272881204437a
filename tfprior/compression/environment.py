"""Where probabilities were computed: another backend or device rounds them differently."""

import sys
from typing import NamedTuple

import keras

BACKENDS = ("another backend", "tensorflow", "jax", "torch", "numpy", "openvino")
DEVICES = ("another device", "cpu", "gpu", "tpu")


class Environment(NamedTuple):
    """A backend, three parts of its version, and a kind of device."""

    backend: str
    version: tuple[int, ...]
    device: str

    @classmethod
    def here(cls) -> "Environment":
        backend = keras.backend.backend()
        version = str(getattr(sys.modules.get(backend), "__version__", "0"))
        numbers = [int(part) if part.isdecimal() else 0 for part in [*version.split("."), "0", "0"][:3]]
        device = keras.distribution.list_devices()[0].split(":")[0].lower()
        return cls(
            _known(backend, BACKENDS), tuple(min(part, 255) for part in numbers), _known(device, DEVICES)
        )

    def packed(self) -> bytes:
        """Five bytes."""
        return bytes([BACKENDS.index(self.backend), *self.version, DEVICES.index(self.device)])

    @classmethod
    def unpacked(cls, data: bytes) -> "Environment":
        backend, *version, device = data
        return cls(_name(backend, BACKENDS), tuple(version), _name(device, DEVICES))

    def __str__(self) -> str:
        return f"{self.backend} {'.'.join(map(str, self.version))} on {self.device}"


def _known(name: str, names: tuple[str, ...]) -> str:
    return name if name in names else names[0]


def _name(index: int, names: tuple[str, ...]) -> str:
    return names[index] if index < len(names) else names[0]
