"""What a server allows, in one value."""

from dataclasses import dataclass

from tfprior.inputs import is_integer, is_number


@dataclass(frozen=True)
class Settings:
    """Limits of a server, and who may use it.

    Attributes:
        slots: examples of a bundle that are drawn together, in each of its threads.
        threads: that draw from a bundle.
        max_samples: images of one request.
        max_waiting: examples of a bundle that may wait for a slot; requests beyond are answered 429.
        max_body: bytes of a request.
        timeout: seconds until a request is given up; its client may ask for less.
        token: that clients show as `Authorization: Bearer TOKEN`; None lets in everyone.
        reload_every: seconds between looks at whether a bundle was replaced; 0 never looks.

    Raises:
        ValueError: for limits that are no positive numbers, and an empty token.
    """

    slots: int = 32
    threads: int = 2
    max_samples: int = 256
    max_waiting: int = 1024
    max_body: int = 8 * 2**20
    timeout: float = 60.0
    token: str | None = None
    reload_every: float = 2.0

    def __post_init__(self) -> None:
        for name in ("slots", "threads", "max_samples", "max_waiting", "max_body"):
            if not is_integer(getattr(self, name)) or getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)!r}; expected a positive integer.")
        if not is_number(self.timeout) or self.timeout <= 0:
            raise ValueError(f"timeout={self.timeout!r}; expected a positive number of seconds.")
        if not is_number(self.reload_every) or self.reload_every < 0:
            raise ValueError(f"reload_every={self.reload_every!r}; expected seconds, or 0 for never.")
        if self.token is not None and (not self.token or not self.token.isascii() or " " in self.token):
            raise ValueError("token is empty, or has spaces or letters beyond ASCII; expected a secret word.")
