"""One training run of every kind with the eager and with the compiled engine.

Runs `node-run` twice for each kind (a finished run is not repeated), and compares the metrics of
the first iterations, which must agree to rounding in float32, and the scores at the end, which
rounding moves by less than their standard error. The seconds include compiling. Writes the rows
as JSON, and a page of them beside it.

    python scripts/engines.py --out docs/results/engines.json
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from pages import table

KINDS = {
    "flow": ("task=cnf", "trainer.iterations=300"),
    "latent ODE": ("task=latent_ode", "trainer.iterations=100"),
    "Poisson": ("task=poisson", "trainer.iterations=100"),
    "ODE-Net": ("task=mnist", "trainer.iterations=30"),
}
ENGINES = ("eager", "compiled")
FIRST = 5  # iterations whose metrics are compared
EXACT = ("accepted", "rejected", "nfe_forward")  # direct gradients count no nfe_backward


def run(kind: str, engine: str, outputs: Path, overrides: list[str]) -> Path:
    """Train one run, or find it finished; returns its directory."""
    name = f"{kind.lower().replace(' ', '_')}_{engine}"
    command = [sys.executable, "-m", "node_repro.cli", *KINDS[kind]]
    command += [f"engine={engine}", f"name={name}", f"outputs={outputs}"]
    command += ["profile=quick", "threads=1", "progress=off", "trainer.log_every=1"]
    command += overrides if kind == "ODE-Net" else []
    subprocess.run(command, check=True)
    return outputs / name / "seed0"


def read(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The result of a run, and the metrics of its first training iterations."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    first = [row for row in rows if row["split"] == "train"][:FIRST]
    return json.loads((folder / "result.json").read_text(encoding="utf-8")), first


def compared(kind: str, folders: dict[str, Path]) -> dict[str, Any]:
    """The row of one kind."""
    (eager, first), (compiled, other) = (read(folders[engine]) for engine in ENGINES)
    metric = eager["selected_by"]
    losses = [(a[metric], b[metric]) for a, b in zip(first, other, strict=True)]
    return {
        "kind": kind,
        "iterations": eager["iterations"],
        "data": eager["data"],
        "metric": metric,
        "steps_equal": [
            all(a.get(key) == b.get(key) for key in EXACT)
            for a, b in zip(first, other, strict=True)
        ],
        "first_difference": [abs(a - b) / abs(a) for a, b in losses],
        "score": {engine: one["last"]["test"][metric] for engine, one in both(eager, compiled)},
        "standard_error": eager["last"]["test_standard_error"],
        "seconds": {engine: one["training"]["seconds"] for engine, one in both(eager, compiled)},
        "compiling": compiled["engine"],
    }


def both(eager: Any, compiled: Any) -> zip:  # noqa: ANN401
    """Pairs of the engines' names and their runs."""
    return zip(ENGINES, (eager, compiled), strict=True)


def page(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    head = (
        "training",
        "iterations",
        "largest relative difference of the first five losses",
        "score, eager / compiled",
        "its standard error",
        "seconds, eager / compiled",
        "graphs",
        "seconds of compiling",
    )
    cells = [
        (
            row["kind"],
            str(row["iterations"]),
            f"{max(row['first_difference']):.1e}",
            " / ".join(f"{row['score'][engine]:.4f}" for engine in ENGINES) + f" {row['metric']}",
            f"{row['standard_error']:.4f}",
            " / ".join(f"{row['seconds'][engine]:.0f}" for engine in ENGINES),
            str(row["compiling"]["graphs"]),
            f"{row['compiling']['compile_seconds']:.0f}",
        )
        for row in rows
    ]
    return (
        "# Training with both engines\n\n"
        "One short training of every kind with `engine=eager` and with `engine=compiled`, made by "
        "`python scripts/engines.py --out docs/results/engines.json`, profile quick, seed 0, one "
        "thread on a CPU with other work beside it. Compiling is part of the seconds; a longer "
        "training pays for it once.\n\n" + table(head, cells) + "\n"
    )


def main() -> None:
    """Train, compare and write the rows."""
    parser = argparse.ArgumentParser(description="training runs with both engines")
    parser.add_argument("--out", type=Path, default=Path("outputs/engines.json"))
    parser.add_argument("--outputs", type=Path, default=Path("outputs/engines"))
    parser.add_argument(
        "overrides", nargs="*", help="further overrides of the ODE-Net, such as data.root=..."
    )
    chosen = parser.parse_args()
    rows = []
    for kind in KINDS:
        folders = {
            engine: run(kind, engine, chosen.outputs, chosen.overrides) for engine in ENGINES
        }
        rows.append(compared(kind, folders))
        print(json.dumps(rows[-1]))
        chosen.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        chosen.out.with_suffix(".md").write_text(page(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
