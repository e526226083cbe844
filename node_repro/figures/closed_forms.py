"""An initial value problem with a closed form, solved in several ways."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from node_repro.figures import png
from node_repro.figures.style import BLUE, TRUE, VERMILION, in_style

EXACT = "0.75"
FLOOR = 1e-16  # drawn in place of errors of zero


@in_style
def steps_and_errors(
    x: np.ndarray,
    exact: np.ndarray,
    ways: Sequence[tuple[str, Sequence[float], Sequence[float], Sequence[float]]],
) -> bytes:
    """One column per way: steps on the closed form, and their errors below on a logarithmic axis.

    Args:
        x, exact: The closed form (N,).
        ways: Of each, a title, the ends of its steps, the values there, and the exact ones.
    """
    figure = Figure(figsize=(2.3 * len(ways), 4.2), layout="constrained")
    axes = figure.subplots(2, len(ways), sharex=True, sharey="row", squeeze=False)
    for (above, below), (title, at, values, true) in zip(axes.T, ways, strict=True):
        above.plot(x, exact, color=EXACT, linewidth=3, label="5 / (5 x + 1)")
        above.plot(at, values, "-", color=BLUE, linewidth=0.9)
        above.plot(at, values, "o", color=TRUE, markersize=2.6, label="ends of steps", zorder=3)
        above.set_title(title)
        errors = np.abs(np.subtract(values, true))[1:]
        below.semilogy(at[1:], errors.clip(min=FLOOR), "o-", color=VERMILION, markersize=2.6)
        below.set_xlabel("x")
    axes[0, 0].set_ylabel("f")
    axes[1, 0].set_ylabel("absolute error")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return png(figure)
