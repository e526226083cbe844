"""Figure 2: a state with observations, and its adjoint, which jumps at each of them."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from node_repro.figures import png
from node_repro.figures.style import BLUE, TRUE, VERMILION, in_style

LINE = "0.85"
COLOURS = (BLUE, VERMILION)


@in_style
def state_and_adjoint(
    legs: Sequence[tuple[np.ndarray, ...]],
    exact: Sequence[tuple[np.ndarray, np.ndarray]],
    ts: np.ndarray,
    x: np.ndarray,
) -> bytes:
    """The state above and the adjoint below, over the same time.

    Args:
        legs: Of each interval, times (T,), states and adjoints (T, 2), backwards in time.
        exact: Of each interval, times (T,) and adjoints (T, 2) by autograd.
        ts, x: Times (N,) and values (N, 2) of the observations.
    """
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    above, below = figure.subplots(2, sharex=True)
    for ax in (above, below):
        for t in ts:
            ax.axvline(t, color=LINE, linewidth=0.8, zorder=0)
    for k, colour in enumerate(COLOURS):
        name = f"{k + 1}"
        joined = [np.concatenate([leg[i][::-1] for leg in legs]) for i in (0, 1)]
        above.plot(joined[0], joined[1][:, k], color=colour, label=f"$z_{name}(t)$")
        above.plot(ts, x[:, k], "o", color=colour, markerfacecolor="white", zorder=3)
        for i, (at, _, adjoint) in enumerate(legs):
            label = f"$a_{name}(t)$, solved backwards" if not i else None
            below.plot(at, adjoint[:, k], color=colour, label=label)
        for (at, _, adjoint), (_, _, after) in zip(legs, [*legs[1:], legs[-1]], strict=True):
            last = at is legs[-1][0]
            jump = (0.0 if last else after[-1, k], adjoint[0, k])
            below.plot((at[0], at[0]), jump, ":", color=colour, linewidth=1.2)
    for i, (at, adjoint) in enumerate(exact):
        label = "by autograd, from each time on" if not i else None
        below.plot(at, adjoint[:, 0], "+", color=TRUE, markersize=5, label=label, zorder=3)
        below.plot(at, adjoint[:, 1], "+", color=TRUE, markersize=5, zorder=3)
    above.plot([], [], "o", color=TRUE, markerfacecolor="white", label="observations")
    below.plot([], [], ":", color=TRUE, label="jumps at observations")
    above.set_ylabel("state")
    below.set(ylabel="adjoint, dL/dz(t)", xlabel="time")
    for ax in (above, below):
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return png(figure)
