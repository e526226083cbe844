"""Who may import whom: docs/architecture.md, read off the imports."""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "node_repro"

LAYERS: dict[str, set[str]] = {
    "ode": set(),
    "data": set(),
    "runs": {"experiments"},
    "experiments": set(),
    "config": {"runs", "experiments"},
    "figures": set(),
    "report": {"runs", "figures", "config", "experiments"},
    "models": {"ode", "data"},
    "tasks": {"models", "data", "figures"},
    "training": {"tasks", "data", "runs", "ode", "config"},
    "probes": {
        "training",
        "config",
        "experiments",
        "data",
        "models",
        "tasks",
        "runs",
        "ode",
        "figures",
    },
    "reproduce": {"config", "runs", "experiments"},
    "cli": {"config", "training", "probes", "runs", "reproduce", "report"},
}
"""Which of the others each may import."""

ODE_LAYERS = (
    {"order_conditions"},
    {"tableau", "solution", "floats"},
    {"transforms"},
    {"methods"},
    {"norm", "field"},
    {"initial_step", "state"},
    {"controllers"},
    {"engines"},
    {"solver", "scipy"},
    {"constructors"},
    {"gradients"},
    {"odeint", "event_location"},
    {"event_derivative"},
    {"block", "dense", "event"},
    {"drop_in"},
)
"""Inside ode: each may import what stands before it, and within its own folder."""

ODE_FROM_OUTSIDE = {"block", "event", "field", "odeint", "solution", "solver", "gradients"}
"""What of ode others may import, but for the one place that builds."""

FOR_PROBES = {"engines", "methods", "norm"}
"""Contracts that a probe needs besides, which stands between a gradient method and its solver."""

FOR_TRAINING = {"engines"}
"""A training chooses the engine of its solves."""

BUILDERS = {"node_repro.training.build", "node_repro.training.run"}

WITHOUT_TORCH = ("node_repro", "node_repro.cli", "node_repro.config", "node_repro.runs.metrics")
WITHOUT_TORCH += ("node_repro.runs.run_directory", "node_repro.runs.environment")
WITHOUT_TORCH += ("node_repro.report.compare", "node_repro.report.job")


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported(node: ast.AST) -> Iterator[str]:
    """The modules that an import statement names; `from a import b` is a.b where that is one."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "relative imports hide the layers"
        assert node.module
        for alias in node.names:
            whole = f"{node.module}.{alias.name}"
            yield whole if whole in MODULES else node.module


def at_import(body: Iterable[ast.stmt]) -> Iterator[ast.AST]:
    """Statements that run when a module is imported: not those inside of functions."""
    for node in body:
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        for field in ("body", "orelse", "finalbody", "handlers"):
            yield from at_import(getattr(node, field, []))


@cache
def imports(module: str) -> frozenset[str]:
    """All that a module imports, anywhere in it."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    return frozenset(name for node in ast.walk(tree) for name in imported(node))


@cache
def first_imports(module: str) -> frozenset[str]:
    """All that a module imports when it is imported itself."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    return frozenset(name for node in at_import(tree.body) for name in imported(node))


def ours(names: Iterable[str]) -> set[str]:
    return {name for name in names if name in MODULES}


def packages_of(module: str) -> set[str]:
    """A module and the packages that importing it imports."""
    parts = module.split(".")
    return {".".join(parts[:n]) for n in range(1, len(parts) + 1)}


def closure(start: str) -> set[str]:
    """Every module of ours that importing one brings in."""
    found: set[str] = set()
    waiting = packages_of(start)
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        found.add(module)
        waiting |= {p for name in ours(first_imports(module)) for p in packages_of(name)}
    return found


def part(module: str, depth: int) -> str:
    return (*module.split("."), "", "")[depth]


def importers(library: str) -> set[str]:
    return {m for m in MODULES if any(name.split(".")[0] == library for name in imports(m))}


def test_every_folder_is_a_layer() -> None:
    folders = {part(module, 1) for module, path in MODULES.items() if path.parent != PACKAGE}
    assert folders - {""} <= set(LAYERS)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_the_layers_below_it(layer: str) -> None:
    allowed = LAYERS[layer] | {layer, ""}
    wrong = [
        f"{module} imports {name}"
        for module in MODULES
        if part(module, 1) == layer
        for name in ours(imports(module))
        if part(name, 1) not in allowed
    ]
    assert not wrong


def test_training_sees_of_the_solver_only_blocks_engines_and_what_a_solve_returns() -> None:
    wrong = [
        f"{module} imports {name}"
        for module in MODULES
        if part(module, 1) == "training" and part(module, 2) != "build"
        for name in ours(imports(module))
        if part(name, 1) == "ode" and part(name, 2) not in {"block", "solution"} | FOR_TRAINING
    ]
    assert not wrong


def test_the_solver_is_entered_by_its_contracts() -> None:
    wrong = [
        f"{module} imports {name}"
        for module in MODULES
        if module not in BUILDERS and part(module, 1) != "ode"
        for name in ours(imports(module))
        if part(name, 1) == "ode" and part(name, 2) not in allowed_of_ode(module)
    ]
    assert not wrong


def allowed_of_ode(module: str) -> set[str]:
    besides = {"probes": FOR_PROBES, "training": FOR_TRAINING}
    return ODE_FROM_OUTSIDE | besides.get(part(module, 1), set())


def test_inside_of_the_solver_imports_lead_down() -> None:
    level = {name: i for i, names in enumerate(ODE_LAYERS) for name in names}
    inside = [module for module in MODULES if part(module, 1) == "ode" and part(module, 2)]
    assert {part(module, 2) for module in inside} == set(level), "a new part needs a place"
    wrong = [
        f"{module} imports {name}"
        for module in inside
        for name in ours(imports(module))
        if not (part(name, 2) == part(module, 2) or below(name, module, level))
    ]
    assert not wrong


def below(name: str, module: str, level: dict[str, int]) -> bool:
    return level.get(part(name, 2), len(ODE_LAYERS)) < level[part(module, 2)]


@pytest.mark.parametrize("layer", ["methods", "controllers", "engines", "gradients"])
def test_contracts_know_none_of_their_implementations(layer: str) -> None:
    contract = f"node_repro.ode.{layer}"
    wrong = {name for name in imports(contract) if name.startswith(f"{contract}.")}
    assert not wrong


def test_there_are_no_cycles() -> None:
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " imports ".join((*path[path.index(module) :], module))
        if module not in done:
            for name in sorted(ours(imports(module))):
                visit(name, (*path, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())


@pytest.mark.parametrize(
    "module",
    [m for m in MODULES if m in WITHOUT_TORCH or part(m, 1) in ("config", "reproduce")],
)
def test_torch_is_not_imported_before_a_run_is_built(module: str) -> None:
    heavy = {"torch", "torchvision", "tensorboard", "scipy", "sklearn", "matplotlib", "mlxtend"}
    wrong = [
        f"{found} imports {name}"
        for found in sorted(closure(module))
        for name in first_imports(found)
        if name.split(".")[0] in heavy
    ]
    assert not wrong


def test_the_solver_needs_torch_and_annotated_types_alone_but_for_scipys_solvers() -> None:
    import sys

    needed: dict[bool, set[str]] = {True: set(), False: set()}
    for module in MODULES:
        if part(module, 1) == "ode":
            libraries = {name.split(".")[0] for name in imports(module)}
            needed[part(module, 2) == "scipy"] |= libraries - sys.stdlib_module_names
    assert needed[False] == {"annotated_types", "torch", "node_repro"}
    assert needed[True] == {"annotated_types", "torch", "numpy", "scipy", "node_repro"}


def test_hydra_is_imported_where_words_become_a_configuration() -> None:
    outside = {module for module in importers("hydra") if part(module, 1) != "cli"}
    assert outside == {"node_repro.config.compose"}


def test_configurations_of_omegaconf_stop_at_the_door() -> None:
    wrong = {m for m in importers("omegaconf") if part(m, 1) not in ("cli", "compose", "config")}
    assert not wrong


def test_torchvision_is_imported_in_one_place() -> None:
    assert importers("torchvision") == {"node_repro.data.download"}


def test_matplotlib_is_imported_where_pictures_are_drawn() -> None:
    assert {part(module, 1) for module in importers("matplotlib")} <= {"figures"}
    wrong = {m for m in MODULES if part(m, 1) != "figures" and _draws(first_imports(m))}
    assert not wrong, "figures are imported inside the functions that draw"


def _draws(names: frozenset[str]) -> bool:
    return any(name.startswith("node_repro.figures") for name in names)


@pytest.mark.parametrize("library", ["torchdiffeq", "pytest"])
def test_what_is_needed_for_development_is_needed_for_nothing_else(library: str) -> None:
    assert not importers(library)


@pytest.mark.parametrize("folder", ["scripts", "tests"])
def test_scripts_and_tests_are_imported_by_nobody(folder: str) -> None:
    assert not importers(folder)


def test_the_picture_of_the_imports_is_current() -> None:
    arrows: dict[str, set[str]] = {}
    for module in MODULES:
        if (name := part(module, 1)) != "":
            others = {part(other, 1) for other in ours(imports(module))}
            arrows[name] = arrows.get(name, set()) | others - {name, ""}
    expected = "; ".join(
        f"{name} -> {', '.join(sorted(others)) or 'none'}"
        for name, others in sorted(arrows.items())
    )
    picture = (ROOT / "docs" / "imports.svg").read_text(encoding="utf-8")
    assert expected in picture.replace("&gt;", ">"), "run python scripts/draw_imports.py"
