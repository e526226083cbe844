"""Parse Python files without importing them."""

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from node_repro.config import ConfigError

_CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, eq=False)
class Module:
    """A parsed file.

    Attributes:
        name: Dotted name of the module.
        definitions: Name -> statement of the top-level classes, functions and variables.
        imports: Imported name -> dotted path.
    """

    name: str
    definitions: Mapping[str, ast.stmt]
    imports: Mapping[str, str]


def module_file(module: str) -> Path | None:
    """The file of a module, in the project, on `sys.path` or in the working directory."""
    for folder in (_CHECKOUT, *map(Path, sys.path), Path.cwd()):
        path = folder.joinpath(*module.split("."))
        for file in (path / "__init__.py", path.with_name(f"{path.name}.py")):
            if file.is_file():
                return file
    return None


@cache
def read_module(name: str) -> Module | None:
    """Parse a module given by its dotted name; None if there is no such file."""
    file = module_file(name)
    if file is None:
        return None
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"{file} cannot be read as Python: {error}") from error
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    definitions: dict[str, ast.stmt] = {}
    imports: dict[str, str] = {}
    for node in _statements(tree.body):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            definitions[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            definitions |= {one.id: node for one in targets if isinstance(one, ast.Name)}
        elif isinstance(node, ast.ImportFrom):
            start = package.rsplit(".", node.level - 1)[0] if node.level else ""
            base = ".".join(part for part in (start, node.module) if part)
            imports |= {one.asname or one.name: f"{base}.{one.name}" for one in node.names}
        elif isinstance(node, ast.Import):
            for one in node.names:
                first = one.name.partition(".")[0]
                imports[one.asname or first] = one.name if one.asname else first
    return Module(name, definitions, imports)


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield top-level statements, including those in `if TYPE_CHECKING:` and `try:`."""
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            yield from _statements(node.body)
        else:
            yield node
