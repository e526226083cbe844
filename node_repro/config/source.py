"""Read a class's options and types from its source, without importing it.

`--help` and a configuration error need the constructor's annotations and docstring, but importing
the class would import torch, which takes seconds. Files are found by path below the project, the
working directory and `sys.path`, and parsed with `ast`; nothing is executed.

A constructor declares an option like this:

    class Cosine:
        '''Half a cosine.

        Args:
            final: Last learning rate as a fraction of the first.
        '''
        final: Annotated[float, Ge(0), Le(1)]

Names are followed through imports of the project and of the module's own package only.
"""

import ast
import operator
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from inspect import cleandoc
from pathlib import Path

from node_repro.config import ConfigError
from node_repro.config.option import Option

_PROJECT = __name__.partition(".")[0]
_CHECKOUT = Path(__file__).resolve().parents[2]
_SIGNS = {"Ge": ">=", "Gt": ">", "Le": "<=", "Lt": "<"}
_PLAIN = {"bool": bool, "int": int, "float": float, "str": str}
_ARITHMETIC = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_ENTRY = re.compile(r" {4}(\w+)(?: \([^)]*\))?: (.*)")


@dataclass(frozen=True, eq=False)
class Module:
    """A parsed file: its top-level definitions, and what its imports bind, as dotted paths."""

    name: str
    definitions: Mapping[str, ast.stmt]
    imports: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Definition:
    """A class, function or variable where it is defined."""

    module: Module
    name: str
    node: ast.stmt

    @property
    def path(self) -> str:
        """The dotted path, whatever it was imported through."""
        return f"{self.module.name}.{self.name}"


@dataclass(frozen=True)
class Parameter:
    """A parameter of a constructor, or a field of a dataclass."""

    annotation: ast.expr | None
    module: Module


@cache
def find(path: str) -> Definition | None:
    """The definition at a dotted path; None if there is no such file or name."""
    module_name, _, name = path.rpartition(".")
    module = _read_module(module_name) if module_name else None
    return None if module is None else _look_up(module, ast.Name(name))


def require(path: str) -> Definition:
    """As `find`; raises ConfigError where there is nothing."""
    definition = find(path)
    if definition is None:
        module, _, name = path.rpartition(".")
        if module and _file(module):
            raise ConfigError(f"{path!r}: the module {module} defines no {name}")
        raise ConfigError(
            f"{path!r}: there is no module {module or path!r} in this directory or on Python's path"
        )
    return definition


def ancestors(definition: Definition) -> list[Definition]:
    """A class followed by its bases, as far as their source is in the same package."""
    found = [definition]
    bases = definition.node.bases if isinstance(definition.node, ast.ClassDef) else []
    for base in bases:
        base = base.value if isinstance(base, ast.Subscript) else base
        parent = _look_up(definition.module, base)
        if parent is not None and isinstance(parent.node, ast.ClassDef):
            known = {one.path for one in found}
            found += [one for one in ancestors(parent) if one.path not in known]
    return found


def method(definition: Definition, name: str) -> tuple[Module, ast.FunctionDef] | None:
    """A class's own or inherited method, with the module that it is written in."""
    for owner in ancestors(definition):
        for node in getattr(owner.node, "body", ()):
            if isinstance(node, ast.FunctionDef) and node.name == name:
                return owner.module, node
    return None


def class_of(definition: Definition) -> Definition | None:
    """The class of a variable, as in `RK4 = RungeKutta(...)` or `RungeKutta.create(...)`."""
    value = getattr(definition.node, "value", None)
    if not isinstance(value, ast.Call):
        return None
    names = [value.func, getattr(value.func, "value", None)]
    found = (_look_up(definition.module, name) for name in names if name is not None)
    return next((one for one in found if one and isinstance(one.node, ast.ClassDef)), None)


def attribute(path: str, name: str) -> object:
    """The literal value of a class's own or inherited attribute; None if there is none."""
    for owner in ancestors(require(path)):
        for node in getattr(owner.node, "body", ()):
            targets = getattr(node, "targets", None) or [getattr(node, "target", None)]
            if any(getattr(one, "id", None) == name for one in targets) and node.value is not None:
                return ast.literal_eval(node.value)
    return None


def parameters(path: str) -> Mapping[str, Parameter]:
    """What can be passed by keyword to the class or function at a dotted path."""
    return _parameters(ancestors(require(path)))


def types_of(annotation: ast.expr | None, module: Module) -> set[str]:
    """The dotted paths of the classes in an annotation, without those that cannot be found."""
    nodes = [annotation] if annotation is not None else []
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        nodes = [ast.parse(annotation.value, mode="eval").body]
    found = [_look_up(module, part) for node in nodes for part in _alternatives(node)]
    return {one.path for one in found if one is not None}


def options(path: str) -> dict[str, Option]:
    """The options of the class or function at a dotted path, by name."""
    found = ancestors(require(path))
    meanings: dict[str, str] = {}
    for owner in reversed(found):
        meanings |= _meanings(owner.node)
    return {
        name: _option(name, parameter, meanings.get(name, ""))
        for name, parameter in _parameters(found).items()
    }


def constant(path: str) -> float:
    """The value of a number that a module defines."""
    definition = require(path)
    return _number(_value(definition), definition.module)


def _option(name: str, parameter: Parameter, meaning: str) -> Option:
    option = Option(name, meaning=meaning)
    if parameter.annotation is None:
        return replace(option, free=True)
    option = _widened(option, parameter.annotation, parameter.module)
    plain = option.value_type is not None or option.words or option.free
    return option if plain else replace(option, dotted=True)


def _widened(option: Option, node: ast.expr, module: Module) -> Option:
    """The option, allowing also what an annotation allows."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            return _widened(option, ast.parse(node.value, mode="eval").body, module)
        return replace(option, nullable=option.nullable or node.value is None)
    if isinstance(node, ast.BinOp):
        return _widened(_widened(option, node.left, module), node.right, module)
    if isinstance(node, ast.Subscript):
        return _subscripted(option, node, module)
    name = _last(node)
    if name in _PLAIN:
        return option if option.value_type is float else replace(option, value_type=_PLAIN[name])
    if name in ("object", "Any"):
        return replace(option, free=True)
    alias = _look_up(module, node)
    if alias is not None and isinstance(alias.node, ast.Assign | ast.AnnAssign):
        return _widened(option, _value(alias), alias.module)
    return option


def _subscripted(option: Option, node: ast.Subscript, module: Module) -> Option:
    items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    kind = _last(node.value)
    if kind == "Literal":
        words = (item.value for item in items if isinstance(item, ast.Constant))
        return replace(option, words=(*option.words, *(str(word) for word in words)))
    if kind in ("Optional", "Union"):
        option = replace(option, nullable=option.nullable or kind == "Optional")
        for item in items:
            option = _widened(option, item, module)
        return option
    if kind in ("Sequence", "tuple", "list"):
        return replace(_widened(option, items[0], module), many=True)
    if kind == "Annotated":
        option = _widened(option, items[0], module)
        for item in items[1:]:
            option = _limited(option, item, module)
    return option


def _limited(option: Option, node: ast.expr, module: Module) -> Option:
    """The option within Ge(0), Gt(0), Le(1), Lt(1) or MinLen(1)."""
    if not isinstance(node, ast.Call) or not node.args:
        return option
    name, value = _last(node.func), _number(node.args[0], module)
    if name == "MinLen":
        return replace(option, least=int(value))
    return replace(option, limits=(*option.limits, (_SIGNS[name], value)))


def _number(node: ast.expr, module: Module) -> float:
    """A number as written, or a named one, or arithmetic with these."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_number(node.operand, module)
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        left, right = _number(node.left, module), _number(node.right, module)
        return _ARITHMETIC[type(node.op)](left, right)
    named = _look_up(module, node)
    if named is not None and isinstance(named.node, ast.Assign | ast.AnnAssign):
        return _number(_value(named), named.module)
    raise ConfigError(f"{module.name}: {ast.unparse(node)!r} in an annotation is not a number")


def _value(definition: Definition) -> ast.expr:
    value = getattr(definition.node, "value", None)
    if value is None:
        raise ConfigError(f"{definition.path} is given no value in its source")
    return value


def _parameters(found: list[Definition]) -> dict[str, Parameter]:
    """Of the first constructor among a class and its bases; `**options` passes on to the next."""
    for i, owner in enumerate(found):
        node = owner.node
        if isinstance(node, ast.ClassDef):
            decorators = (getattr(one, "func", one) for one in node.decorator_list)
            if any(_last(one) == "dataclass" for one in decorators):
                return _fields(found[i:])
            inits = (one for one in node.body if getattr(one, "name", "") == "__init__")
            node = next(inits, None)
        if isinstance(node, ast.FunctionDef):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            own = {
                one.arg: Parameter(one.annotation, owner.module)
                for one in arguments
                if one.arg != "self"
            }
            return own if node.args.kwarg is None else _parameters(found[i + 1 :]) | own
    return {}


def _fields(found: Iterable[Definition]) -> dict[str, Parameter]:
    """The fields of a dataclass, its bases' first."""
    fields: dict[str, Parameter] = {}
    for owner in reversed(list(found)):
        for node in getattr(owner.node, "body", ()):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                if "ClassVar" not in ast.unparse(node.annotation):
                    fields[node.target.id] = Parameter(node.annotation, owner.module)
    return fields


def _meanings(node: ast.stmt) -> dict[str, str]:
    """The entries of the section `Args:` of a docstring, each on one line."""
    found: dict[str, str] = {}
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
                found[name] = entry[2].strip()
            elif inside and name and line.strip():
                found[name] += f" {line.strip()}"
    return found


def _alternatives(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp):
        yield from _alternatives(node.left)
        yield from _alternatives(node.right)
    elif isinstance(node, ast.Subscript):
        yield node.value
    else:
        yield node


def _last(node: ast.expr) -> str:
    """The last name of a dotted one."""
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _look_up(module: Module, node: ast.expr) -> Definition | None:
    """What a name, or a name of an imported module, stands for."""
    first, _, rest = ast.unparse(node).partition(".")
    if not rest and first in module.definitions:
        return Definition(module, first, module.definitions[first])
    if first not in module.imports:
        return None
    path = f"{module.imports[first]}.{rest}".rstrip(".")
    near = (module.name.partition(".")[0], _PROJECT)
    return find(path) if path.partition(".")[0] in near else None


def _file(module: str) -> Path | None:
    parts = module.split(".")
    for folder in (_CHECKOUT, *map(Path, sys.path), Path.cwd()):
        path = folder.joinpath(*parts)
        for file in (path / "__init__.py", path.with_name(f"{path.name}.py")):
            if file.is_file():
                return file
    return None


@cache
def _read_module(name: str) -> Module | None:
    file = _file(name)
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
    """Top-level statements, those under `if TYPE_CHECKING:` and in `try:` too."""
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            yield from _statements(node.body)
        else:
            yield node
