"""The curves of one run as a picture: loss, error, evaluations of f, time an iteration.

python scripts/plot_curves.py outputs/mnist_odenet/.../seed0 [--out curves.png]
"""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from node_repro.record.metrics import read_metrics

PANELS = (
    ("loss_nats", "loss, nats", ("train", "validation")),
    ("error", "error", ("train", "validation")),
    ("nfe_forward", "evaluations of f", ("train",)),
    ("step_seconds", "seconds an iteration", ("train",)),
)


def draw(axes: Axes, lines: list[dict], metric: str, label: str, splits: tuple[str, ...]) -> None:
    """One panel: the metric of some splits over the iterations."""
    for split in splits:
        names = [metric, "nfe_backward"] if metric == "nfe_forward" else [metric]
        for name in names:
            points = [(r["step"], r[name]) for r in lines if r["split"] == split and name in r]
            if points:
                shown = name.removeprefix("nfe_") if metric == "nfe_forward" else split
                style = "o-" if split == "validation" else "-"
                axes.plot(*zip(*points, strict=True), style, label=shown, linewidth=1.2)
    axes.set(xlabel="iteration", ylabel=label)
    if metric in ("loss_nats", "error"):
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    if axes.lines:
        axes.legend(frameon=False)
    axes.grid(alpha=0.3)


def main() -> None:
    """Read a run directory, write a PNG."""
    parser = argparse.ArgumentParser(description="the curves of one run")
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, help="default: curves.png in the run's directory")
    chosen = parser.parse_args()
    lines = read_metrics(chosen.run / "metrics.jsonl")
    figure, axes = plt.subplots(2, 2, figsize=(9, 5.6), layout="constrained")
    for panel, (metric, label, splits) in zip(axes.flat, PANELS, strict=True):
        draw(panel, lines, metric, label, splits)
    title = str(chosen.run)
    path = chosen.run / "result.json"
    if path.exists():
        result = json.loads(path.read_text())
        test = 100 * result["selected"]["test"]["error"]
        title = (
            f"{result['experiment'] or result['model']}, {result['data']}, profile "
            f"{result['profile']}, seed {result['seed']}, {result['device']}: test error "
            f"{test:.2f} %"
        )
    figure.suptitle(title)
    figure.savefig(chosen.out or chosen.run / "curves.png", dpi=110)


if __name__ == "__main__":
    main()
