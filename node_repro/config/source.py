"""Read a class's options and types from its source, without importing it.

`--help` and a configuration error need the constructor's annotations and docstring, but importing
the class would import torch, which takes seconds. Files are found by path, below the project, the
working directory and `sys.path`, and parsed with `ast`. Only annotations are evaluated, with the
names of `typing` and `annotated_types`; other names are looked up in the source of the project and
of the class's package. A constructor declares an option like this:

    class Cosine:
        '''Half a cosine.

        Args:
            final: Last learning rate as a fraction of the first.
        '''

        final: Annotated[float, Ge(0), Le(1)]
"""

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from inspect import cleandoc
from typing import Annotated, Any, Literal, Optional, Union, get_args

from annotated_types import Ge, Gt, Le, Lt, MinLen

from node_repro.config import ConfigError
from node_repro.config.modules import Module, module_file, read_module
from node_repro.config.option import Option

_PROJECT = __name__.partition(".")[0]
_KNOWN: dict[str, Any] = {
    **{one.__name__: one for one in (bool, int, float, str, object, tuple, list, Sequence)},
    **{one.__name__: one for one in (Ge, Gt, Le, Lt, MinLen)},
    **{"Annotated": Annotated, "Any": Any, "Literal": Literal, "Optional": Optional},
    "Union": Union,
}
_ENTRY = re.compile(r" {4}(\w+)(?: \([^)]*\))?: (.*)")


@dataclass(frozen=True, eq=False)
class Definition:
    """The definition of a class, function or variable."""

    module: Module
    name: str
    node: ast.stmt

    @property
    def path(self) -> str:
        """The dotted path of the definition, not of a re-export."""
        return f"{self.module.name}.{self.name}"


@cache
def find(path: str) -> Definition | None:
    """Find the definition at a dotted path; None if there is no such file or name."""
    module_name, _, name = path.rpartition(".")
    module = read_module(module_name) if module_name else None
    return _look_up(module, name) if module else None


def require(path: str) -> Definition:
    """Like `find`, but raises ConfigError if there is no definition."""
    definition = find(path)
    if definition is None:
        module, _, name = path.rpartition(".")
        if module and module_file(module):
            raise ConfigError(f"{path!r}: the module {module} defines no {name}")
        raise ConfigError(
            f"{path!r}: there is no module {module or path!r} in this directory or on Python's path"
        )
    return definition


def ancestors(definition: Definition) -> list[Definition]:
    """A class followed by its bases, if their source is in the same package or in the project."""
    classes = [definition]
    for base in definition.node.bases if isinstance(definition.node, ast.ClassDef) else ():
        parent = _look_up(definition.module, ast.unparse(base).partition("[")[0])
        if parent is not None and isinstance(parent.node, ast.ClassDef):
            known = {one.path for one in classes}
            classes += [one for one in ancestors(parent) if one.path not in known]
    return classes


def options(path: str) -> dict[str, Option]:
    """The options of the class or function at a dotted path, by name."""
    classes = ancestors(require(path))
    meanings: dict[str, str] = {}
    for owner in reversed(classes):
        meanings |= _meanings(owner.node)
    return {
        name: Option.of_annotation(name, meanings.get(name, ""), annotation)
        for name, annotation in _parameters(classes).items()
    }


def parameters(path: str) -> Mapping[str, Any]:
    """Name -> annotation of the keyword parameters of a class or function."""
    return _parameters(ancestors(require(path)))


def types_of(annotation: object) -> set[str]:
    """The dotted paths of the project's classes in an evaluated annotation."""
    parts = (annotation, *get_args(annotation))
    return {part.path for part in parts if isinstance(part, _StandIn) and part.path}


def method_types(path: str, name: str) -> list[object] | None:
    """The annotations of a method's arguments after self, and of its result as the last entry.

    None if the class has no such method in its source.
    """
    for owner in ancestors(require(path)):
        for node in getattr(owner.node, "body", ()):
            if isinstance(node, ast.FunctionDef) and node.name == name:
                arguments = [one.annotation for one in node.args.args[1:]]
                return [_evaluate(owner.module, one) for one in (*arguments, node.returns)]
    return None


def attribute(path: str, name: str) -> object:
    """The literal value of a class's own or inherited attribute; None if there is none."""
    for owner in ancestors(require(path)):
        for node in getattr(owner.node, "body", ()):
            targets = getattr(node, "targets", None) or [getattr(node, "target", None)]
            if any(getattr(one, "id", None) == name for one in targets) and node.value is not None:
                return ast.literal_eval(node.value)
    return None


def variable_class(path: str) -> str | None:
    """The class of a variable, as in `RK4 = RungeKutta(...)` or `RungeKutta.create(...)`."""
    definition = require(path)
    value = getattr(definition.node, "value", None)
    if not isinstance(value, ast.Call):
        return None
    name = ast.unparse(value.func)
    owners = (_look_up(definition.module, one) for one in (name, name.rpartition(".")[0]) if one)
    classes = (one.path for one in owners if one and isinstance(one.node, ast.ClassDef))
    return next(classes, None)


def constant(path: str) -> Any:  # noqa: ANN401
    """The value of a variable that is assigned a number."""
    definition = require(path)
    return _evaluate(definition.module, getattr(definition.node, "value", None))


class _StandIn(type):
    """A placeholder for a class in an annotation; `path` is "" if it is unknown."""

    path: str

    def __getattr__(cls, name: str) -> Any:  # noqa: ANN401
        if name.startswith("__"):
            raise AttributeError(name)
        return _KNOWN.get(name) or _stand_in("")

    def __getitem__(cls, _: object) -> "_StandIn":
        return cls


def _stand_in(path: str) -> _StandIn:
    return _StandIn("StandIn", (), {"path": path})


class _Names(dict[str, Any]):
    """Namespace in which an annotation is evaluated."""

    def __init__(self, module: Module) -> None:
        super().__init__()
        self.module = module

    def __missing__(self, name: str) -> Any:  # noqa: ANN401
        definition = _look_up(self.module, name)
        if definition is not None:
            value = getattr(definition.node, "value", None)
            alias = isinstance(value, ast.expr) and not isinstance(value, ast.Call)
            return _evaluate(definition.module, value) if alias else _stand_in(definition.path)
        imported = self.module.imports.get(name, name).rpartition(".")[2]
        return _KNOWN[imported] if imported in _KNOWN else _stand_in("")


def _evaluate(module: Module, node: ast.expr | None) -> Any:  # noqa: ANN401
    """Evaluate an annotation, with stand-ins for classes; Any for a missing one."""
    names = _Names(module)
    try:
        value = Any if node is None else eval(ast.unparse(node), {"__builtins__": {}}, names)
        return eval(value, {"__builtins__": {}}, names) if isinstance(value, str) else value
    except Exception as error:
        text = "" if node is None else ast.unparse(node)
        raise ConfigError(f"{module.name}: {text!r} cannot be read: {error}") from error


def _parameters(classes: Sequence[Definition]) -> dict[str, Any]:
    """Parameters of the first constructor of a class and its bases; `**options` adds the next."""
    for i, owner in enumerate(classes):
        node = owner.node
        if isinstance(node, ast.ClassDef):
            if any("dataclass" in ast.unparse(one) for one in node.decorator_list):
                return _fields(classes[i:])
            inits = (one for one in node.body if getattr(one, "name", "") == "__init__")
            node = next(inits, None)
        if isinstance(node, ast.FunctionDef):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            own = {
                one.arg: _evaluate(owner.module, one.annotation)
                for one in arguments
                if one.arg != "self"
            }
            return own if node.args.kwarg is None else _parameters(classes[i + 1 :]) | own
    return {}


def _fields(classes: Iterable[Definition]) -> dict[str, Any]:
    """The fields of a dataclass, those of its bases first."""
    fields: dict[str, Any] = {}
    for owner in reversed(list(classes)):
        for node in getattr(owner.node, "body", ()):
            if isinstance(node, ast.AnnAssign) and "ClassVar" not in ast.unparse(node.annotation):
                fields[ast.unparse(node.target)] = _evaluate(owner.module, node.annotation)
    return fields


def _meanings(node: ast.stmt) -> dict[str, str]:
    """Name -> text of the entries in the section `Args:` of a docstring."""
    meanings: dict[str, str] = {}
    inits = [one for one in getattr(node, "body", ()) if getattr(one, "name", "") == "__init__"]
    for documented in (node, *inits):
        if not isinstance(documented, ast.ClassDef | ast.FunctionDef):
            continue
        inside, name = False, ""
        for line in cleandoc(ast.get_docstring(documented) or "").splitlines():
            if line and not line.startswith(" "):
                inside, name = line in ("Args:", "Attributes:"), ""
            elif inside and (entry := _ENTRY.fullmatch(line)):
                name = entry[1]
                meanings[name] = entry[2].strip()
            elif inside and name and line.strip():
                meanings[name] += f" {line.strip()}"
    return meanings


def _look_up(module: Module, name: str) -> Definition | None:
    """The definition to which a name or dotted name in a module refers."""
    first, _, rest = name.partition(".")
    if not rest and first in module.definitions:
        return Definition(module, first, module.definitions[first])
    if first not in module.imports:
        return None
    path = f"{module.imports[first]}.{rest}".rstrip(".")
    near = (module.name.partition(".")[0], _PROJECT)
    return find(path) if path.partition(".")[0] in near else None
