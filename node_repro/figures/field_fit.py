"""A learned vector field: coordinates over time, the trajectory, directions of the field."""

import numpy as np
from matplotlib.figure import Figure

from node_repro.figures import png
from node_repro.figures.style import BLUE, VERMILION, in_style

TRUTH = "0.75"


@in_style
def panels(
    ts: np.ndarray,
    true: np.ndarray,
    learned: np.ndarray,
    points: np.ndarray,
    field: np.ndarray,
    true_field: np.ndarray,
) -> bytes:
    """Trajectories true and learned (T, 2) at ts (T,), and fields (N, 2) at points (N, 2)."""
    figure = Figure(figsize=(8.4, 3.4), layout="constrained")
    time, phase, arrows = figure.subplots(1, 3)
    for i, colour in enumerate((BLUE, VERMILION)):
        time.plot(ts, true[:, i], color=colour, alpha=0.4, linewidth=3, label=f"$y_{i + 1}$, true")
        time.plot(ts, learned[:, i], "--", color=colour, label=f"$y_{i + 1}$, learned")
    time.set(title="coordinates", xlabel="time")
    phase.plot(*true.T, color=TRUTH, linewidth=3, label="true")
    phase.plot(*learned.T, "--", color=BLUE, label="learned")
    phase.set_title("trajectory")
    for values, colour, label, width in (
        (true_field, TRUTH, "true", 0.012),
        (field, BLUE, "learned", 0.005),
    ):
        length = np.linalg.norm(values, axis=1, keepdims=True).clip(min=1e-12)
        style = {"color": colour, "width": width, "scale": 24}
        arrows.quiver(*points.T, *(values / length).T, **style, label=label)
    arrows.set_title("directions of the field")
    reach = 1.1 * max(np.abs(points).max(), np.abs(true).max())
    for ax in (phase, arrows):
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel="$y_1$", ylabel="$y_2$")
    for ax in (time, phase, arrows):
        ax.set_box_aspect(1)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    return png(figure)
