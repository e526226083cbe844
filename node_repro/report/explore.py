"""The interactive page beside the report, explore.html: a latent space, continuous flows, digits.

It is one file. It contains the weights of trained models, which runs save in pictures/explore.npz
(`tasks/explore.py`), and evaluates the models in JavaScript: `templates/explore/maths.js` has the
fields and solvers, the other scripts one panel each. The evaluations of f that digits need are
those that the probe difficulty has counted.
"""

import base64
import json
from collections.abc import Mapping, Set
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from node_repro.report.format import format_tolerance
from node_repro.report.render import TITLE, read_template, render
from node_repro.report.selection import Selection
from node_repro.runs.stored_run import StoredRun

if TYPE_CHECKING:
    import numpy as np

PAGE = "explore.html"
FILE = "pictures/explore.npz"
LATENT = "latent_3d"
FLOWS = {"fig5_circles_cnf": "two circles", "fig5_moons_cnf": "two moons"}
TOLERANCES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
SCRIPTS = ("maths", "plot", "latent", "flow", "inversion", "digits", "start")
DIGITS = "table1_odenet", "probes/difficulty_digits.json"
DIGITS_SOLVER = "dopri5"
LEVELS = 255  # a density is drawn in as many steps

_LAYERS = ("weight", "bias")
LATENT_ARRAYS = {
    *(f"{part}.{name}" for part in ("field.inner", "field.outer") for name in _LAYERS),
    *(f"decoder.{layer}.{name}" for layer in (0, 2) for name in _LAYERS),
    *("ts", "mean", "direction", "seen", "side"),
}
FLOW_ARRAYS = {
    *(f"units.{part}.{name}" for part in ("first", "second", "last") for name in _LAYERS),
    *("end", "density", "base", "points", "side"),
}


def render_explore(selection: Selection) -> str | None:
    """The page; None if no run has what one of its panels shows."""
    latent = _latent(selection)
    flows = [flow for name in FLOWS if (flow := _flow(selection, name))]
    digits = _digits(selection)
    if latent is None and not flows and digits is None:
        return None
    tolerances = [{"value": value, "name": format_tolerance(value)} for value in TOLERANCES]
    data = {"latent": latent, "flows": flows, "tolerances": tolerances, "digits": digits}
    return render(
        "explore.html",
        title=TITLE,
        latent=latent,
        flows=flows,
        tolerances=tolerances,
        digits=digits,
        data=Markup(json.dumps(data).replace("<", "\\u003c")),
        script=Markup("").join(read_template(f"explore/{name}.js") for name in SCRIPTS),
        style=read_template("page.css") + read_template("explore/page.css"),
    )


def _latent(selection: Selection) -> dict[str, Any] | None:
    found = _arrays(selection, LATENT, LATENT_ARRAYS)
    if found is None or found[1]["mean"].shape[1:] != (3,):
        return None
    run, arrays = found
    content = {name: encode(array) for name, array in arrays.items() if name in LATENT_ARRAYS}
    return {"arrays": content, "side": float(arrays["side"]), "about": _about(run)}


def _flow(selection: Selection, experiment: str) -> dict[str, Any] | None:
    found = _arrays(selection, experiment, FLOW_ARRAYS)
    if found is None:
        return None
    run, arrays = found
    density = arrays["density"]
    peaks = density.max((1, 2), keepdims=True)
    levels = (LEVELS * density / peaks).round().astype("uint8")
    content = {
        name: encode(levels if name == "density" else array)
        for name, array in arrays.items()
        if name in FLOW_ARRAYS
    }
    return {
        "name": FLOWS[experiment],
        "arrays": content,
        "peaks": [float(peak) for peak in peaks.ravel()],
        "side": float(arrays["side"]),
        "end": float(arrays["end"]),
        "about": _about(run),
    }


def _digits(selection: Selection) -> dict[str, Any] | None:
    """Digits of the lowest seed that the probe has measured, from the fewest evaluations up."""
    experiment, file = DIGITS
    for run in selection.probed(experiment, "difficulty"):
        try:
            rows = json.loads((run.path / file).read_bytes())
            digits = [
                {
                    **{key: row[key] for key in ("example", "class", "margin", "error", "pixels")},
                    "loss": row["loss_nats"],
                    "forward": row[f"{DIGITS_SOLVER}_forward"],
                    "backward": row[f"{DIGITS_SOLVER}_backward"],
                }
                for row in rows
            ]
            shades = rows[0]["shades"]
        except (OSError, ValueError, LookupError, TypeError):
            continue
        return {
            "list": sorted(digits, key=lambda digit: (digit["forward"], -digit["margin"])),
            "shades": shades,
            "solver": DIGITS_SOLVER,
            "tolerance": format_tolerance(run.probes["difficulty"]["facts"]["tolerance"]),
            "about": _about(run),
        }
    return None


def _arrays(
    selection: Selection, experiment: str, names: Set[str]
) -> tuple[StoredRun, Mapping[str, Any]] | None:
    """The lowest seed's run with all these arrays, and its arrays."""
    for run in selection.seeds(experiment):
        arrays = run.arrays(FILE)
        if arrays is not None and names <= arrays.keys():
            return run, arrays
    return None


def encode(array: "np.ndarray") -> dict[str, Any]:
    """An array for `decodeArray` of maths.js: shape, and numbers row by row in base64."""
    kind = "uint8" if array.dtype == "uint8" else "float32"
    content = array.astype("<f4" if kind == "float32" else "u1").tobytes()
    return {"shape": list(array.shape), kind: base64.b64encode(content).decode()}


def _about(run: StoredRun) -> str:
    assert run.result is not None
    return (
        f"Made of {run.experiment}, seed {run.seed}, profile {run.profile}, "
        f"{run.result.iterations:,} iterations, commit {run.commit}."
    )
