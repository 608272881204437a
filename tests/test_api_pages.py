"""The API reference is built from the docstrings without a warning, and has every public name."""

import importlib
import inspect
import runpy
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_public_name_has_its_place(tmp_path: Path) -> None:
    script = runpy.run_path(str(ROOT / "docs" / "api.py"))
    script["main"](tmp_path)
    for page in script["PAGES"]:
        html = (tmp_path / f"{page.replace('.', '/')}.html").read_text("utf-8")
        module = importlib.import_module(page)
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isroutine(value):
                assert f'id="{name}"' in html, f"{page}.{name}"
