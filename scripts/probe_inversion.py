"""Error control on inversion: how exactly a trained continuous flow comes back, by tolerance.

`python scripts/probe_inversion.py RUN_DIR` takes a finished run of task=cnf with a continuous flow,
its selected model in float64, and test points x of its data. For every tolerance: the error of
x -> z -> x', evaluations of f both ways, the error of log p against a solve at 1e-8, and the mass
of the density on a grid. Writes probe_inversion.json and probe_inversion.png into RUN_DIR.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from node_repro import build
from node_repro.cli import compose
from node_repro.data.seeds import generator
from node_repro.figures import png
from node_repro.models.continuous_flow import ContinuousFlow
from node_repro.record.atomic import write_atomically
from node_repro.tasks.cnf import CNF
from node_repro.tasks.flow import GRID, Square, density_on, mass_on

TOLERANCES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
SHOWN = (1e-2, 1e-5)  # the slides' pictures
REFERENCE = 1e-8
POINTS = 2_000


class Trained(NamedTuple):
    """A run's selected model, in float64, and its task."""

    flow: ContinuousFlow
    task: CNF


def load(run: Path) -> Trained:
    """From a run's directory; SystemExit with a sentence if it is none that can be probed."""
    if not (run / "result.json").is_file():
        raise SystemExit(f"{run} holds no finished run: result.json is missing")
    overrides = (run / "overrides.txt").read_text(encoding="utf-8").splitlines()
    config = compose([*overrides, "precision=float64", "device=cpu"])
    machine = build.machine(config)
    task = build.task(config, build.data(config), machine)
    flow = build.model(config, {}, machine)
    if not isinstance(flow, ContinuousFlow) or not isinstance(task, CNF):
        raise SystemExit(f"{run} is no run of task=cnf with a continuous flow")
    state = torch.load(run / "checkpoints" / "best.pt", weights_only=True)
    flow.load_state_dict(state["model"])
    return Trained(flow.eval(), task)


def measure(trained: Trained, tol: float, x: Tensor, exact: Tensor) -> dict[str, float]:
    """One row; exact: (N,), the log densities of x at the reference tolerance."""
    flow, task = trained
    keep(flow, tol)
    z = flow.encode(x)
    nfe_encode = flow.stats.nfe
    back = flow.sample(z).x
    nfe_decode = flow.stats.nfe
    distance = (back - x).norm(dim=1)
    error = flow.log_density(x) - exact
    return {
        "tolerance": tol,
        "nfe_encode": nfe_encode,
        "nfe_decode": nfe_decode,
        "distance_rms": rms(distance),
        "distance_max": float(distance.max()),
        "log_density_rms": rms(error),
        "mass": mass_on(flow, max(2 * task.side, 6.0), task.like),
    }


def keep(flow: ContinuousFlow, tol: float) -> None:
    """Solve to this tolerance from now on."""
    flow.solver = flow.solver.with_tolerance(tol, tol)


def rms(values: Tensor) -> float:
    return math.sqrt(float(values.square().mean()))


def draw(trained: Trained, x: Tensor) -> bytes:
    """Density and samples x -> z -> x' at the slides' tolerances, beside the data."""
    from matplotlib.figure import Figure

    flow, task = trained
    side = task.side
    figure = Figure(figsize=(2.4 * (len(SHOWN) + 1), 5), layout="constrained")
    axes = figure.subplots(2, len(SHOWN) + 1)
    square = Square(side, GRID)
    true = task.data.law.log_density(square.points(task.like)).exp().view(GRID, GRID)
    columns = [("Data", true, x)]
    for tol in SHOWN:
        keep(flow, tol)
        z = torch.randn(len(x), 2, generator=generator(1), dtype=x.dtype)
        columns.append(
            (f"tolerance {tol:g}", density_on(flow, square, task.like), flow.sample(z).x)
        )
    for (title, density, points), (above, below) in zip(columns, axes.T, strict=True):
        above.imshow(density.numpy(), origin="lower", extent=(-side, side, -side, side))
        below.scatter(*points.numpy().T, s=0.6, linewidths=0, color="black")
        above.set_title(title)
        for ax in (above, below):
            ax.set(xlim=(-side, side), ylim=(-side, side), xticks=[], yticks=[], aspect="equal")
    axes[0, 0].set_ylabel("Density")
    axes[1, 0].set_ylabel("Samples")
    return png(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, help="the directory of a finished run")
    run: Path = parser.parse_args().run
    trained = load(run)
    with torch.no_grad():
        x = trained.task.data.law.sample(POINTS, generator(2))
        keep(trained.flow, REFERENCE)
        exact = trained.flow.log_density(x)
        rows: list[dict[str, Any]] = []
        for tol in TOLERANCES:
            rows.append(measure(trained, tol, x, exact))
            print("  ".join(f"{name} {value:.3g}" for name, value in rows[-1].items()), flush=True)
        picture = draw(trained, x)
    about = {"run": run.name, "precision": "float64", "points": POINTS, "reference": REFERENCE}
    content = json.dumps(about | {"rows": rows}, indent=1) + "\n"
    write_atomically(run / "probe_inversion.json", content.encode())
    write_atomically(run / "probe_inversion.png", picture)


if __name__ == "__main__":
    main()
