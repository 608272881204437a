"""A bar for work that takes a while."""

import contextlib
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress_bar(description: str, total: int, shown: bool = True) -> Iterator[Callable[..., None]]:
    """Shows a bar, where there is a terminal or a notebook, and takes it away at the end.

    What it gives moves the bar on: by one, or by `advance`; a new `description` replaces the old one.
    """
    from rich.console import Console
    from rich.progress import Progress

    console = Console()
    shown = shown and (console.is_terminal or console.is_jupyter)
    with Progress(console=console, transient=True, disable=not shown) as progress:
        task = progress.add_task(description, total=total)

        def move(advance: int = 1, description: str | None = None) -> None:
            progress.update(task, advance=advance, description=description)

        yield move
