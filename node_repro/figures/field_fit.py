"""A learned vector field: coordinates over time, the trajectory, directions of the field."""

import numpy as np
from matplotlib.figure import Figure

from node_repro.figures import png
from node_repro.figures.style import BLUE, VERMILION


def panels(
    ts: np.ndarray,
    true: np.ndarray,
    learned: np.ndarray,
    points: np.ndarray,
    field: np.ndarray,
    true_field: np.ndarray,
) -> bytes:
    """Trajectories true and learned (T, 2) at ts (T,), and fields (N, 2) at points (N, 2)."""
    figure = Figure(figsize=(12, 4.3), layout="constrained")
    time, phase, arrows = figure.subplots(1, 3)
    for i, colour in enumerate((BLUE, VERMILION)):
        time.plot(ts, true[:, i], color=colour, alpha=0.4, linewidth=3, label=f"$y_{i + 1}$, true")
        time.plot(ts, learned[:, i], "--", color=colour, label=f"$y_{i + 1}$, learned")
    time.set_xlabel("time")
    time.legend(fontsize="small", ncols=2)
    phase.plot(*true.T, color="0.7", linewidth=3, label="true")
    phase.plot(*learned.T, "--", color=BLUE, label="learned")
    for axis in (phase, arrows):
        axis.set_xlabel("$y_1$")
        axis.set_ylabel("$y_2$")
        axis.set_aspect("equal")
    phase.legend(fontsize="small")
    for values, colour, label in ((true_field, "0.7", "true"), (field, BLUE, "learned")):
        length = np.linalg.norm(values, axis=1, keepdims=True).clip(min=1e-12)
        arrows.quiver(*points.T, *(values / length).T, color=colour, label=label, scale=28)
    arrows.set_title("directions of the field", fontsize="small")
    arrows.legend(fontsize="small", loc="upper right")
    return png(figure)
