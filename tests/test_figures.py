"""The drawing functions: style, scales of colours, files, missing parts."""

import io
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from node_repro.figures import journal, png
from node_repro.figures.events import intensity
from node_repro.figures.flow_stages import Fields, Stages, fields, stages
from node_repro.figures.flows import Inverse, animation, densities, draw_density, inverses, panels
from node_repro.figures.latent_space import latent_plane, moved, rotation
from node_repro.figures.report_flows import Curve, density_grid, losses, training
from node_repro.figures.spirals import predictions

CELLS, SIDE = 40, 2.0
PLACES = (np.arange(CELLS) + 0.5) * 2 * SIDE / CELLS - SIDE
X, Y = np.meshgrid(PLACES, PLACES)
BUMP = np.exp(-(X**2 + Y**2) / 2) / (2 * np.pi)
ANGLES = np.linspace(0, 4 * np.pi, 100)
CIRCLE = np.stack((np.cos(ANGLES), np.sin(ANGLES)), axis=1)


def size(content: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(content)).size


def lightness(content: bytes) -> float:
    return float(np.asarray(Image.open(io.BytesIO(content)).convert("L")).mean())


def flow() -> dict[str, Any]:
    """The arrays of figure 5: two times, a rotation as the field."""
    return {
        "target": BUMP,
        "points": np.random.default_rng(0).normal(size=(200, 2)),
        "density": np.stack((BUMP, 9 * BUMP)),
        "samples": np.random.default_rng(1).normal(size=(2, 200, 2)),
        "fractions": (0.5, 1.0),
        "side": SIDE,
    }


def test_pictures_have_the_style_and_leave_matplotlib_as_it_was() -> None:
    before = dict(matplotlib.rcParams)
    first, again = (densities({"target": BUMP, "model": 2 * BUMP}, SIDE) for _ in range(2))
    assert first == again
    assert dict(matplotlib.rcParams) == before

    def title() -> Figure:
        figure = Figure()
        figure.subplots().set_title("title")
        return figure

    assert journal.styled(title)["png"] != journal.small(png(title()))


def test_colours_of_a_density_end_at_the_target() -> None:
    image = draw_density(Figure().subplots(), 9 * BUMP, float(BUMP.max()), SIDE)
    assert (image.norm.vmin, image.norm.vmax) == (0, BUMP.max())


@pytest.mark.parametrize("speed", [None, 0.0, 1.0])
def test_figure_5_is_drawn_with_and_without_a_field(speed: float | None) -> None:
    arrays = flow()
    if speed is not None:
        grid = np.stack((X, Y), axis=-1).reshape(-1, 2)
        arrays["velocity"] = np.stack([speed * grid[:, ::-1] * (1, -1)] * 2)
        arrays["places"] = grid
    assert min(size(panels(**arrays))) > 200


def test_an_animation_has_one_frame_per_time() -> None:
    arrays = flow()
    content = animation(arrays["density"], arrays["samples"], (0.5, 1.0), SIDE, BUMP.max())
    assert getattr(Image.open(io.BytesIO(content)), "n_frames", 1) == 2


def test_the_errors_of_an_inversion_may_be_zero() -> None:
    points = flow()["points"]
    flows = {
        "tolerance 0.1": Inverse(BUMP, points, np.full(len(points), 0.1)),
        "tolerance 0.01": Inverse(BUMP, points, np.zeros(len(points))),
    }
    assert min(size(inverses(BUMP, points, flows, SIDE))) > 200


def test_figure_5_leaves_the_panels_of_a_missing_flow_empty() -> None:
    arrays = {k: v for k, v in flow().items() if k in ("target", "points", "fractions", "side")}
    parts = {"density": flow()["density"], "samples": flow()["samples"]}
    whole = Stages(**arrays, **parts, planar=flow()["density"], labels=("CNF", "NF"))
    planar = whole._replace(density=None, samples=None, labels=("", "NF"))
    both = stages({"circles": whole, "moons": whole})
    fewer = stages({"circles": whole, "moons": planar})
    assert set(both) == {"png", "svg"} and size(both["png"]) == size(fewer["png"])
    assert lightness(fewer["png"]) > lightness(both["png"])


def test_a_field_that_does_not_change_has_a_difference_without_lines() -> None:
    grid = np.stack((X, Y), axis=-1).reshape(-1, 2)
    velocity = np.stack([grid, grid])
    constant = fields({"circles": Fields((0.5, 1.0), SIDE, velocity, grid)})
    changing = fields({"circles": Fields((0.5, 1.0), SIDE, velocity * [[[1]], [[2]]], grid)})
    assert lightness(constant["png"]) > lightness(changing["png"])


def test_trainings_are_drawn_below_and_above_zero() -> None:
    one = {"CNF": [[(10.0, 1.0), (20.0, -0.01)], [(10.0, 2.0)]], "NF": [[(10.0, 3.0), (99.0, 1.0)]]}
    files = training({"iterations": [one, {}], "seconds": [one, one]}, ["M = 2", "M = 8"], 0.05)
    assert set(files) == {"png", "svg"}


def test_figure_4_leaves_places_of_missing_flows_empty() -> None:
    fits = {"K": {2: (BUMP, 0.5), 32: (BUMP, None)}, "M": {8: (9 * BUMP, 0.1)}}
    whole = density_grid({"U1": (BUMP, fits), "U2": (BUMP, fits)})
    fewer = density_grid({"U1": (BUMP, fits), "U2": (BUMP, {"K": {2: (BUMP, 0.5)}})})
    assert set(whole) == {"png"} and size(whole["png"]) == size(fewer["png"])
    assert lightness(fewer["png"]) > lightness(whole["png"])


def test_divergences_at_and_below_zero_are_drawn() -> None:
    curves = [
        Curve("CNF", {2: [-1.0, -1.1], 8: [-2.0, -2.01]}),
        Curve("NF", {2: [-0.5]}, extra=True),
    ]
    files = losses({"U1": (-2.0, curves), "U2": (-2.0, curves[1:])})
    assert set(files) == {"png", "svg"}


def test_rotation_is_the_sign_of_the_area() -> None:
    for path, sign in ((CIRCLE, 1), (CIRCLE[::-1], -1), (0 * CIRCLE, 0), (CIRCLE + 5, 1)):
        assert rotation(path) == sign


def test_trajectories_over_the_latent_space_are_drawn() -> None:
    steps = np.linspace(-1, 1, 3)
    line = np.stack([np.stack([s * CIRCLE, CIRCLE[::-1]]) for s in (-1, 0, 1)])
    assert min(size(moved(line, steps, ["discriminant", "dimension 1"]))) > 200
    plane = np.stack([line[:, 0]] * 3)
    z0, direction = np.zeros((2, 2)), np.array([1, 1])
    assert min(size(latent_plane(plane, steps, z0, direction))) > 200


def test_predictions_may_begin_late() -> None:
    clean = np.stack([CIRCLE] * 5)
    predicted = clean.copy()
    predicted[:, :10] = np.nan
    drawn = predictions(clean[:, :50:5], clean, predicted, predicted)
    assert drawn != predictions(clean[:, :50:5], clean, clean, clean)


def test_marks_are_drawn_beside_the_rates() -> None:
    ts = np.linspace(0, 1, 100)
    arrays: dict[str, Any] = {
        "ts": ts,
        "rates": np.ones((2, 3, 100)),
        "true": np.ones((3, 100)),
        "times": np.tile(np.linspace(0, 1, 4), (3, 1)),
        "count": np.array([4, 2, 0]),
    }
    marks = {"marks": np.ones((3, 4, 2)), "marks_learned": np.ones((3, 4, 2))}
    marks["marks_true"] = np.ones((3, 100, 2))
    assert size(intensity(**arrays)) == size(intensity(**arrays, **marks))


def test_density_maps_keep_their_colours_in_small_files(tmp_path: Path) -> None:
    path = tmp_path / "panels.png"
    path.write_bytes(panels(**flow()))
    (content,) = journal.picture(path).values()
    before, after = (
        np.asarray(Image.open(io.BytesIO(c)).convert("RGB"), float)
        for c in (path.read_bytes(), content)
    )
    assert len(content) < 300_000
    assert np.abs(before - after).mean() < 2
