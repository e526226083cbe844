"""The tutorials of docs/tutorials and the README do what they show.

Blocks run in their order in an empty folder: one with a title is written to that file, other Python
blocks of a page run in one namespace, and the commands of `console` blocks are run with the least
effort (`profile=smoke`, one thread).
"""

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_repro import cli

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "tutorials").glob("*.md"))]
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)
LEAST = ("profile=smoke", "threads=1", "progress=off")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory that Python imports from; what it imported is forgotten again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        spec = getattr(sys.modules[name], "__spec__", None)
        folders = getattr(spec, "submodule_search_locations", None) or ()
        paths = (getattr(spec, "origin", None) or "", *folders)
        if any(path.startswith(str(tmp_path)) for path in paths):
            del sys.modules[name]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_tutorial_does_what_it_shows(
    page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = page.read_text(encoding="utf-8")
    namespace: dict[str, object] = {}
    for found in BLOCK.finditer(text):
        kind, title, code = found.groups()
        if title:
            file = folder / title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(code, encoding="utf-8")
        elif kind == "python":
            line = text.count("\n", 0, found.start()) + 1
            exec(compile("\n" * line + code, page, "exec"), namespace)
        elif kind == "console":
            for command in re.findall(r"^\$ (node-run .*)$", code, re.MULTILINE):
                words = shlex.split(command)
                set_by_the_page = {word.partition("=")[0] for word in words}
                more = [word for word in LEAST if word.partition("=")[0] not in set_by_the_page]
                monkeypatch.setattr(sys, "argv", [*words, *more])
                assert cli.main() == 0, command
