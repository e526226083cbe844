"""Verdicts of the physics section, from runs with given scores."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from placed_runs import artifact, claim, place, result

from node_repro.report.artifact import Verdict


def place_seeds(outputs: Path, name: str, tests: Sequence[dict[str, float]], **facts: Any) -> None:
    """A finished run of profile close for each seed's test scores."""
    for seed, test in enumerate(tests):
        shared = {"data": "motions", "profile": "close", "test": test}
        place(outputs, result(f"physics_{name}", seed, **shared, **facts))


@pytest.mark.parametrize(
    ("plain", "hamiltonian", "expected"),
    [
        # by seed 1, 1.1 and 0.9 decades, although the means over seeds overlap
        ((1e-1, 1e-2, 1e-3), (1e-2, 10**-3.1, 10**-3.9), Verdict.HOLDS),
        ((1e-2, 1e-3), (1e-1, 1.1e-2), Verdict.FAILS),
        ((1e-2, 1e-3, 1e-2), (1e-3, 1e-2, 1e-3), Verdict.UNDECIDED),
        ((1e-2,), (1e-3,), Verdict.UNDECIDED),
        ((), (1e-3,), Verdict.OPEN),
    ],
)
def test_drifts_of_the_energy_are_compared_by_seed_and_by_logarithm(
    tmp_path: Path, plain: Sequence[float], hamiltonian: Sequence[float], expected: Verdict
) -> None:
    for field, drifts in (("plain", plain), ("hamiltonian", hamiltonian)):
        place_seeds(tmp_path, f"pendulum_{field}", [{"energy_drift": one} for one in drifts])
    found = claim(tmp_path, "physics", "pendulum", "Hamiltonian", "energy", profile="close")
    assert (found.verdict, found.of_paper) == (expected, False)


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ((0.008, 0.010, 0.009), Verdict.HOLDS),
        ((0.008, 0.030), Verdict.UNDECIDED),
        ((0.030, 0.031, 0.032), Verdict.FAILS),
    ],
)
def test_constants_are_recovered_by_the_interval_of_their_errors(
    tmp_path: Path, errors: Sequence[float], expected: Verdict
) -> None:
    for seed, error in enumerate(errors):
        findings = {"error": {"gravity": error, "restitution": 0.1, "floor": 0.001 * seed}}
        facts: dict[str, Any] = {"data": "bouncing_ball", "profile": "close", "test": {}}
        place(tmp_path, result("physics_ball_times", seed, findings=findings, **facts))
    verdicts = {
        word: claim(tmp_path, "physics", "From the times", word, profile="close").verdict
        for word in ("gravity", "floor")
    }
    assert verdicts["gravity"] is expected
    assert verdicts["floor"] is Verdict.HOLDS or len(errors) < 3


def test_the_tables_have_a_row_for_every_experiment_that_was_run(tmp_path: Path) -> None:
    place_seeds(tmp_path, "kepler_hamiltonian", [{"rmse_ahead": 0.5, "energy_drift": 1e-3}])
    place_seeds(tmp_path, "ball_plain", [{"rmse_ahead": 0.5}])
    fields, balls = artifact(tmp_path, "physics", "close").tables
    assert [row[:2] for row in fields.rows] == [["two bodies", "Hamiltonian"]]
    assert [row[0] for row in balls.rows] == ["plain field, from heights"]
