"""Draw docs/imports.svg: which package of node_repro imports which.

    python scripts/draw_imports.py

Packages stand on levels, and each imports only packages on lower levels. Arrows that follow from
others are left out (the transitive reduction). The picture's description holds all arrows as text,
which tests/test_layers.py compares with the imports.
"""

import ast
import io
import re
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "node_repro"
FILE = ROOT / "docs" / "imports.svg"
WHAT = {
    "cli": "the command node-run",
    "report": "claims, tables, figures",
    "reproduce": "all experiments",
    "probes": "measurements on finished runs",
    "training": "build, train, test",
    "experiments": "names and overrides",
    "tasks": "losses and scores",
    "models": "networks",
    "config": "options, checks, signature",
    "runs": "run directories, metrics",
    "data": "data sets",
    "figures": "drawing",
    "ode": "the solver",
}


def imports() -> dict[str, set[str]]:
    """Package or root module -> the others that it imports, inside functions too."""
    found: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if name == "__init__":
            continue
        found.setdefault(name, set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for module in names:
                parts = module.split(".")
                if parts[0] == "node_repro" and len(parts) > 1 and parts[1] != name:
                    found[name].add(parts[1])
    return {name: {other for other in others if other in found} for name, others in found.items()}


def levels(graph: dict[str, set[str]]) -> dict[str, int]:
    """The length of the longest path from each package downwards."""
    level: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in level:
            level[name] = 1 + max((depth(other) for other in graph[name]), default=-1)
        return level[name]

    for name in graph:
        depth(name)
    return level


def reduced(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """The graph without the arrows that longer paths imply."""

    def below(name: str) -> set[str]:
        return (
            set().union(*({other} | below(other) for other in graph[name]))
            if graph[name]
            else set()
        )

    return {
        name: {other for other in others if not any(other in below(o) for o in others - {other})}
        for name, others in graph.items()
    }


def description(graph: dict[str, set[str]]) -> str:
    """The arrows as text: "cli -> config, report; ..."."""
    return "; ".join(
        f"{name} -> {', '.join(sorted(graph[name])) or 'none'}" for name in sorted(graph)
    )


def _untangled(rows: dict[int, list[str]], graph: dict[str, set[str]]) -> dict[int, list[str]]:
    """The rows with each package below the middle of the packages that import it."""
    place: dict[str, float] = {}

    def middle(name: str) -> float:
        above = [place[other] for other in place if name in graph[other]]
        return sum(above) / len(above) if above else 5.0

    for row in sorted(rows, reverse=True):
        rows[row] = sorted(rows[row], key=middle)
        place |= _positions(rows[row], row)
    return rows


def _positions(names: list[str], row: int) -> dict[str, float]:
    """Horizontal positions; rows alternate, so that arrows pass beside boxes."""
    shift = 0.15 if row % 2 else -0.15
    return {name: (i + 0.5 + shift) / len(names) * 10 for i, name in enumerate(names)}


def svg(graph: dict[str, set[str]]) -> str:
    """The picture."""
    level = levels(graph)
    rows = {row: sorted(n for n in graph if level[n] == row) for row in set(level.values())}
    rows = _untangled(rows, reduced(graph))
    figure = Figure(figsize=(10, 1.25 * len(rows)))
    axes = figure.subplots()
    place = {
        name: (x, row) for row, names in rows.items() for name, x in _positions(names, row).items()
    }
    for name, others in reduced(graph).items():
        for other in others:
            (x0, y0), (x1, y1) = place[name], place[other]
            arrow = {"arrowstyle": "-|>", "color": "0.55", "lw": 1}
            axes.annotate("", (x1, y1 + 0.27), (x0, y0 - 0.27), arrowprops=arrow)
    for name, (x, y) in place.items():
        box = {"boxstyle": "round,pad=0.4", "fc": "white", "ec": "0.3"}
        axes.text(x, y, f"{name}\n{WHAT.get(name, '')}", ha="center", va="center", bbox=box)
    axes.set(xlim=(0, 10), ylim=(-0.5, max(rows) + 0.5))
    axes.axis("off")
    file = io.StringIO()
    metadata = {"Date": None, "Creator": None, "Description": description(graph)}
    with rc_context({"svg.hashsalt": "imports", "svg.fonttype": "none"}):
        figure.savefig(file, format="svg", bbox_inches="tight", metadata=metadata)
    return re.sub(r"[ \t]+$", "", file.getvalue(), flags=re.MULTILINE)


if __name__ == "__main__":
    FILE.write_text(svg(imports()), encoding="utf-8")
    print(f"wrote {FILE}")
