"""What a session runs of a test."""

from collections.abc import Callable
from typing import Any

import pytest


def names_asked(request: pytest.FixtureRequest, test: Callable[..., Any]) -> list[str]:
    """The values of a test's parameter `name` that run."""
    return [
        item.callspec.params["name"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.function is test
    ]
