"""Where probabilities were computed: another backend, device or version may round them differently."""

import sys
from typing import NamedTuple

import keras

import tfprior
from tfprior.compilation import devices

BACKENDS = ("another backend", "tensorflow", "jax", "torch", "numpy", "openvino")
DEVICES = ("another device", "cpu", "gpu", "tpu")


Version = tuple[int, ...]


class Environment(NamedTuple):
    """A backend, a kind of device, and versions of three parts: the backend's, Keras's and tfprior's."""

    backend: str
    device: str
    versions: tuple[Version, Version, Version]

    @classmethod
    def here(cls) -> "Environment":
        backend = keras.backend.backend()
        device = devices()[0].split(":")[0].lower()
        of_backend = str(getattr(sys.modules.get(backend), "__version__", "0"))
        versions = _version(of_backend), _version(keras.__version__), _version(tfprior.__version__)
        return cls(_known(backend, BACKENDS), _known(device, DEVICES), versions)

    def packed(self) -> bytes:
        """Eleven bytes."""
        names = BACKENDS.index(self.backend), DEVICES.index(self.device)
        return bytes([*names, *(part for version in self.versions for part in version)])

    @classmethod
    def unpacked(cls, data: bytes) -> "Environment":
        backend, device, *parts = data
        versions = tuple(parts[:3]), tuple(parts[3:6]), tuple(parts[6:])
        return cls(_name(backend, BACKENDS), _name(device, DEVICES), versions)

    def __str__(self) -> str:
        of_backend, of_keras, own = (".".join(map(str, version)) for version in self.versions)
        return f"tfprior {own} and Keras {of_keras} with {self.backend} {of_backend} on {self.device}"


def _version(text: str) -> Version:
    """Its first three numbers, each as a byte."""
    numbers = [int(part) if part.isdecimal() else 0 for part in [*text.split("."), "0", "0"][:3]]
    return tuple(min(number, 255) for number in numbers)


def _known(name: str, names: tuple[str, ...]) -> str:
    return name if name in names else names[0]


def _name(index: int, names: tuple[str, ...]) -> str:
    return names[index] if index < len(names) else names[0]
