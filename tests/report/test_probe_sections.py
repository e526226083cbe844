"""The report's sections about probes, against hand calculations."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from node_repro.experiments import all_experiments
from node_repro.report.artifact import Artifact, Verdict
from node_repro.report.probe_rows import ProbeRows
from node_repro.report.section import find_sections
from node_repro.report.selection import Selection, select_runs
from node_repro.report.statistics import is_increasing
from node_repro.runs.stored_run import StoredRun

SECTIONS = {section.name: section for section in find_sections()}
TOLERANCES = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)

Rows = Sequence[dict[str, Any]]


def probed(
    outputs: Path,
    experiment: str,
    probe: str,
    rows: Rows,
    *,
    profile: str = "quick",
    seed: int = 0,
    **facts: Any,
) -> Selection:
    """A finished run with what a probe measured on it."""
    run = outputs / experiment / f"{profile}-mnist-0000aaaa" / f"seed{seed}"
    (run / "probes").mkdir(parents=True)
    result = {"data": "mnist", "seed": seed, "device": "cpu", "parameters": 9, "iterations": 1}
    result |= {"test_count": 10_000, "profile": profile, "training": {}}
    result |= {"last": {"test": {}}, "selected": {"test": {}}}
    (run / "result.json").write_text(json.dumps(result))
    (run / "status.json").write_text('{"state": "COMPLETED", "since": "2026-01-01"}')
    (run / "config.yaml").write_text("seed: 0\n")
    content = {"facts": facts, "rows": rows}
    (run / "probes" / f"{probe}.json").write_text(json.dumps(content))
    return select_runs(outputs, profile, ())


def solves(solver: str, gradient: str, ratio: float, error: float) -> Rows:
    """Two minibatches at each tolerance; errors are `error` tolerances."""
    return [
        {
            "solver": solver,
            "gradient": gradient,
            "tolerance": tol,
            "batch": batch,
            "nfe_forward": (nfe := 10 * (i + 1) + 2 * batch),
            "nfe_backward": ratio * nfe,
            "error_rms": error * tol,
            "forward_seconds": nfe / 100,
        }
        for i, tol in enumerate(TOLERANCES)
        for batch in (0, 1)
    ]


def verdict(artifact: Artifact, *words: str) -> Verdict:
    """That of the claim whose text has all these words."""
    (claim,) = (c for c in artifact.claims if all(word in c.text for word in words))
    return claim.verdict


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [(0.5, Verdict.HOLDS), (0.8, Verdict.FAILS), (1.1, Verdict.FAILS)],
)
def test_half_of_the_evaluations_is_a_ratio(
    tmp_path: Path, ratio: float, expected: Verdict
) -> None:
    rows = solves("vode_adams", "adjoint_flat", ratio, 0.1)
    artifact = SECTIONS["figure3"](probed(tmp_path, "table1_odenet", "tolerance", rows))
    assert verdict(artifact, "half", "VODE") is expected
    assert verdict(artifact, "half", "dopri5, sem") is Verdict.OPEN
    assert verdict(artifact, "time", "proportional") is Verdict.HOLDS
    row = next(row for row in artifact.tables[0].rows if row[1] == 1e-3)
    assert row[2] == 41  # of 40 and 42
    assert row[6] == pytest.approx(ratio)
    assert row[-1] == pytest.approx(41 / 62)


def test_errors_above_the_tolerance_are_told(tmp_path: Path) -> None:
    rows = [*solves("vode_adams", "adjoint_flat", 0.5, 0.1), *solves("dopri5", "adjoint", 1, 3)]
    artifact = SECTIONS["figure3"](probed(tmp_path, "table1_odenet", "tolerance", rows))
    assert verdict(artifact, "falls", "VODE") is Verdict.HOLDS
    assert verdict(artifact, "falls", "dopri5") is Verdict.FAILS
    (claim,) = (c for c in artifact.claims if "falls" in c.text and "dopri5" in c.text)
    assert "falling throughout; below at 0 of 6, not at 1, 0.1, 0.01, 10⁻³" in claim.measured
    assert {"figure3", "figure3_solvers"} == {drawing.name for drawing in artifact.drawings}


@pytest.mark.parametrize(
    ("profile", "expected"), [("close", Verdict.HOLDS), ("quick", Verdict.UNTESTED)]
)
def test_growth_over_training_is_the_last_epochs_against_the_first(
    tmp_path: Path, profile: str, expected: Verdict
) -> None:
    rows: Rows = [
        {"source": "recorded", "step": step, "nfe_forward": nfe, "nfe_forward_training": nfe}
        for step, nfe in ((10, 14.0), (20, 20.0))
    ]
    selection = probed(tmp_path, "table1_odenet", "epochs", rows, profile=profile)
    artifact = SECTIONS["figure3d"](selection)
    assert verdict(artifact, "grows with training") is expected
    assert re.findall(r"[0-9.]+", artifact.claims[0].measured) == ["14.0", "20.0"]


def costs(gradient: str, held: Callable[[int], float]) -> Rows:
    return [
        {
            "gradient": gradient,
            "steps": steps,
            "held_bytes": held(steps),
            "peak_bytes": held(steps),
            "forward_seconds": steps,
            "backward_seconds": 2 * steps,
        }
        for steps in (1, 8, 64)
    ]


def test_memory_is_flat_or_grows_by_the_ratio_of_its_ends(tmp_path: Path) -> None:
    rows = [*costs("adjoint", lambda _: 1e6), *costs("direct", lambda steps: 1e6 * steps)]
    runs = probed(tmp_path, "table1_odenet", "memory", rows, left_out={"forward": "too large"})
    artifact = SECTIONS["memory"](runs)
    assert verdict(artifact, "does not grow") is Verdict.HOLDS
    assert verdict(artifact, "direct") is Verdict.HOLDS
    adjoint, direct = artifact.tables[0].rows
    assert list(adjoint[:4]) == ["adjoint", 1.0, 1.0, 1.0]
    assert list(direct[:4]) == ["direct", 1.0, 64.0, 64.0]
    assert "too large" in artifact.notes[0]


def test_memory_of_the_adjoint_that_grows_is_told(tmp_path: Path) -> None:
    rows = costs("adjoint", lambda steps: 1e6 + 1e4 * steps)
    artifact = SECTIONS["memory"](probed(tmp_path, "table1_odenet", "memory", rows))
    assert verdict(artifact, "does not grow") is Verdict.FAILS


@pytest.mark.parametrize(("power", "expected"), [(1.0, Verdict.HOLDS), (0.5, Verdict.FAILS)])
def test_time_is_judged_by_a_fit_over_all_numbers_of_steps(
    tmp_path: Path, power: float, expected: Verdict
) -> None:
    rows = costs("adjoint", lambda _: 1e6)
    for row in rows:
        row |= {"forward_seconds": row["steps"] ** power, "backward_seconds": 0.0}
    artifact = SECTIONS["memory"](probed(tmp_path, "table1_odenet", "memory", rows))
    assert verdict(artifact, "Time", "adjoint") is expected
    assert artifact.tables[0].rows[0][-1] == pytest.approx(power)


def test_table_1_shows_the_measured_growth(tmp_path: Path) -> None:
    rows = [*costs("adjoint", lambda _: 1e6), *costs("direct", lambda steps: 1e6 * steps)]
    runs = probed(tmp_path, "table1_odenet", "memory", rows)
    costs_of = {row[0]: row for row in SECTIONS["table1"](runs).tables[1].rows}
    assert "×1.00 for ×64 steps" in costs_of["ODE-Net"]
    assert "×64.00 for ×64 steps" in costs_of["RK-Net"]


@pytest.mark.parametrize(
    ("gap", "expected"),
    [
        (0.0005, Verdict.HOLDS),  # the 95 % interval is ± 0.00078
        (0.0030, Verdict.FAILS),
        (0.00075, Verdict.UNDECIDED),
    ],
)
def test_a_loose_tolerance_at_test_time_is_judged_by_the_interval_of_the_increase(
    tmp_path: Path, gap: float, expected: Verdict
) -> None:
    row = {"solver": "dopri5", "tolerance": 0.1, "nfe_forward": 14.0, "error": 0.01 + gap}
    row |= {"error_difference": gap, "error_difference_standard_error": 0.0004}
    own = {"solver": "own", "nfe_forward": 20.0, "error": 0.01}
    runs = probed(tmp_path, "table1_odenet", "test_tolerance", [own, row], examples=1000)
    artifact = SECTIONS["test_tolerance"](runs)
    assert verdict(artifact, "ODE-Net") is expected
    assert artifact.tables[0].rows[1][4] == pytest.approx(100 * (0.01 + gap))


def test_gradients_solves_and_flows_that_get_exact_are_told_from_those_that_do_not(
    tmp_path: Path,
) -> None:
    def pairs(key: str, scale: float, **same: Any) -> Rows:
        return [{"tolerance": tol, key: scale * tol, **same} for tol in TOLERANCES]

    rows = pairs("parameters_relative", 1, gradient="adjoint")
    runs = probed(tmp_path / "a", "demo_field_fit", "gradient_error", rows)
    assert verdict(SECTIONS["gradient_error"](runs), "demo_field_fit") is Verdict.HOLDS
    rows = pairs("relative_rms", 20, back="solved", solver="dopri5")
    runs = probed(tmp_path / "b", "table1_odenet", "reconstruction", rows)
    assert verdict(SECTIONS["reconstruction"](runs), "table1_odenet") is Verdict.FAILS
    runs = probed(tmp_path / "c", "fig5_circles_cnf", "inversion", pairs("distance_rms", 20))
    (claim, *_) = SECTIONS["inversion"](runs).claims
    assert claim.verdict is Verdict.FAILS
    assert "falling throughout; within the limit at 0 of 6" in claim.measured


def test_a_minibatch_is_held_against_the_mean_of_its_examples(tmp_path: Path) -> None:
    rows = [
        {"solver": "dopri5", "tolerance": tol, "nfe_batch": 20, "batch_over_mean": ratio}
        for tol, ratio in ((0.1, 1.0), (0.01, 1.5))
    ]
    artifact = SECTIONS["minibatch_cost"](probed(tmp_path, "table1_odenet", "minibatch_cost", rows))
    assert verdict(artifact, "minibatch") is Verdict.FAILS
    assert artifact.claims[0].measured.endswith("above the limit for dopri5 at 0.01")


def test_forward_sensitivities_are_counted_beside_the_adjoint(tmp_path: Path) -> None:
    rows = [
        {"field": "small", "gradient": gradient, "states": d, "parameters": 10, "numbers": numbers}
        for d in (2, 8)
        for gradient, numbers in (("forward", d * d + 10 * d), ("adjoint", 2 * d + 11))
    ]
    artifact = SECTIONS["sensitivity_cost"](
        probed(tmp_path, "demo_field_fit", "sensitivity_cost", rows)
    )
    assert verdict(artifact, "adjoint", "fewer") is Verdict.HOLDS  # 24/15, 144/27
    assert "1.6 at D = 2, 5.33 at D = 8" in artifact.claims[0].measured


def test_orders_are_held_against_the_methods(tmp_path: Path) -> None:
    row = {"solver": "euler", "steps": 5, "tolerance": None, "nfe": 5}
    row |= {"error_rms": 0.5, "error_relative_rms": 0.2}
    observed = {"euler": 1.0, "midpoint": 2.0, "rk4": 3.0}
    runs = probed(tmp_path, "fig1_odenet", "solvers", [row], depth=5.0, observed_order=observed)
    artifact = SECTIONS["solvers"](runs)
    assert verdict(artifact, "order of the method") is Verdict.FAILS
    assert verdict(artifact, "layer") is Verdict.HOLDS


def test_an_unprobed_run_is_named_with_the_command(tmp_path: Path) -> None:
    selection = probed(tmp_path, "table1_odenet", "memory", [])
    (missing,) = SECTIONS["figure3"](selection).missing
    words = "node-run job=probe probe=tolerance experiment=table1_odenet profile=quick seed=0"
    assert missing.command == words


def test_medians_are_over_the_rows_that_have_the_value() -> None:
    rows = ProbeRows(
        [{"x": 2, "y": 1.0}, {"x": 2, "y": 3.0}, {"x": 1, "y": None}, {"x": 1, "y": 7}]
    )
    assert rows.median("y") == 3.0
    assert rows.median("z") is None
    assert rows.medians("x", "y") == [(1, 7), (2, 2.0)]
    assert is_increasing([(1, 1), (2, 2)]) and not is_increasing([(1, 2), (2, 2)])


def test_rows_of_all_probed_seeds_are_taken_together(tmp_path: Path) -> None:
    selection = probed(tmp_path, "table1_odenet", "memory", [{"steps": 1}])
    assert len(ProbeRows.read(selection, "table1_odenet", "memory")) == 1
    assert not ProbeRows.read(selection, "table1_odenet", "tolerance")


def test_the_accuracy_of_the_reference_is_noted_with_what_it_judges(tmp_path: Path) -> None:
    change = {"rms": 7e-6, "parameters_relative": 2.8e-3}
    facts: dict[str, Any] = {"reference_at_ten_times_the_tolerance": change}
    rows = [{"gradient": "adjoint", "tolerance": 0.1, "parameters_relative": 0.1}]
    selection = probed(tmp_path / "a", "table1_odenet", "gradient_error", rows, **facts)
    (note,) = SECTIONS["gradient_error"](selection).notes
    assert "table1_odenet" in note and "2.8·10⁻³" in note
    rows = solves("dopri5", "adjoint", 0.5, 0.1)
    selection = probed(tmp_path / "b", "table1_odenet", "tolerance", rows, **facts)
    assert "7.0·10⁻⁶" in SECTIONS["figure3"](selection).notes[-1]


def test_no_difference_at_all_is_explained_by_the_same_digits(tmp_path: Path) -> None:
    row = {"solver": "dopri5", "tolerance": 0.1, "nfe_forward": 14.0, "error": 0.01}
    row |= {"error_difference": 0.0, "error_difference_standard_error": 0.0}
    own = {"solver": "own", "nfe_forward": 20.0, "error": 0.01}
    selection = probed(tmp_path, "table1_odenet", "test_tolerance", [own, row], examples=1000)
    claim, _ = SECTIONS["test_tolerance"](selection).claims
    assert claim.verdict is Verdict.UNDECIDED  # up to 3 of 1,000 digits are 0.3 points
    assert "−0.30 to 0.30, n = 1,000 digits" in claim.measured
    assert claim.measured.endswith("no digit changed")
    selection = probed(
        tmp_path / "all", "table1_odenet", "test_tolerance", [own, row], examples=10_000
    )
    assert SECTIONS["test_tolerance"](selection).claims[0].verdict is Verdict.HOLDS


def test_an_error_that_does_not_fall_is_named_with_its_tolerances(tmp_path: Path) -> None:
    errors = {1e-1: 0.1, 1e-2: 0.1, 1e-3: 0.01, 1e-4: 0.02}
    rows = [
        {"gradient": "adjoint", "tolerance": tol, "parameters_relative": error}
        for tol, error in errors.items()
    ]
    selection = probed(tmp_path, "demo_field_fit", "gradient_error", rows)
    claim = SECTIONS["gradient_error"](selection).claims[0]
    assert claim.verdict is Verdict.FAILS
    assert claim.measured.endswith("not falling from 0.1 to 0.01 and from 10⁻³ to 10⁻⁴")


def test_the_increase_at_test_time_is_a_mean_over_networks(tmp_path: Path) -> None:
    own = {"solver": "own", "nfe_forward": 20.0, "error": 0.01}
    for seed, gap in enumerate((0.0, 0.002)):
        row = {"solver": "dopri5", "tolerance": 0.1, "nfe_forward": 14.0}
        row |= {"error_difference": gap, "error_difference_standard_error": gap / 2}
        selection = probed(
            tmp_path, "table1_odenet", "test_tolerance", [own, row], seed=seed, examples=10_000
        )
    claim = SECTIONS["test_tolerance"](selection).claims[0]
    # standard error sqrt((0 + 0.1²) / 2) = 0.071 points
    assert "increase 0.10 points, 95 % interval −0.04 to 0.24" in claim.measured
    assert claim.verdict is Verdict.UNDECIDED


def test_every_probe_that_a_reproduction_measures_is_in_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[tuple[str, str]] = set()

    def probed(selection: Selection, experiment: str, probe: str) -> tuple[StoredRun, ...]:
        asked.add((experiment, probe))
        return ()

    monkeypatch.setattr(Selection, "probed", probed)
    for section in SECTIONS.values():
        section(select_runs(tmp_path, "quick", ()))
    described = all_experiments().values()
    assert {(one.name, probe) for one in described for probe in one.probes} == asked


@pytest.mark.parametrize(
    ("direct", "expected"),
    [(2.0, Verdict.HOLDS), (0.5, Verdict.FAILS), (None, Verdict.UNDECIDED)],
)
def test_direct_gradients_are_compared_with_the_adjoint_at_every_tolerance(
    tmp_path: Path, direct: float | None, expected: Verdict
) -> None:
    rows: Rows = [
        {"gradient": name, "tolerance": tol, "parameters_relative": factor * tol}
        for k, tol in enumerate(TOLERANCES)
        for name, factor in (("adjoint", 1.0), ("direct", direct or 0.5 + k))
    ]
    selection = probed(tmp_path, "table1_odenet", "gradient_error", rows)
    assert verdict(SECTIONS["backpropagation"](selection), "numerical", "ODE-Net") is expected


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ((1.0, 1.01), Verdict.HOLDS),
        ((2.0, 2.01), Verdict.FAILS),
        ((1.0, 1.6), Verdict.UNDECIDED),
        ((1.0,), Verdict.UNDECIDED),
    ],
)
def test_the_inverse_is_as_cheap_by_the_interval_over_the_trained_flows(
    tmp_path: Path, ratios: tuple[float, ...], expected: Verdict
) -> None:
    for seed, ratio in enumerate(ratios):
        rows: Rows = [
            {"tolerance": tol, "nfe_encode": 100, "nfe_decode": 100 * ratio} for tol in (1e-2, 1e-4)
        ]
        probed(tmp_path, "fig5_moons_cnf", "inversion", rows, seed=seed)
    artifact = SECTIONS["inversion"](select_runs(tmp_path, "quick", ()))
    assert verdict(artifact, "as easily inverted") is expected


def test_the_growth_of_reversible_blocks_stands_beside_that_of_steps(tmp_path: Path) -> None:
    rows: Rows = [
        {"kind": kind, "blocks": n, "held_bytes": held, "seconds": n, "gradient_error": error}
        for n in (1, 4)
        for kind, held, error in (("residual", 1e6 * n, None), ("reversible", 1e6, 1e-7 * n))
    ]
    probed(tmp_path, "table1_odenet", "memory", costs("adjoint", lambda _: 1e6))
    artifact = SECTIONS["depth_memory"](probed(tmp_path, "table1_revnet", "depth_memory", rows))
    assert verdict(artifact, "reversible") is Verdict.HOLDS
    assert [list(row)[:6] for row in artifact.tables[0].rows] == [
        ["ResNet", "blocks", 4, 1, 4, 4],
        ["RevNet", "blocks", 4, 1, 1, 1],
        ["ODE-Net", "steps", 64, 1, 1, 1],
    ]


@pytest.mark.parametrize(("error", "expected"), [(5.0, Verdict.HOLDS), (20.0, Verdict.FAILS)])
def test_gradients_equal_closed_forms_within_ten_tolerances(
    tmp_path: Path, error: float, expected: Verdict
) -> None:
    rows: Rows = [
        {"measured": "gradient", "problem": "p", "gradient": "adjoint", "tolerance": tol}
        | dict.fromkeys(("z0", "theta", "t0", "t1"), tol)
        | {"ti": error * tol, "nfe_forward": 1, "nfe_backward": 2}
        for tol in (1e-3, 1e-6)
    ]
    artifact = SECTIONS["closed_forms"](probed(tmp_path, "demo_field_fit", "closed_forms", rows))
    assert verdict(artifact, "all gradients") is expected
    assert verdict(artifact, "approach") is Verdict.HOLDS
    assert verdict(artifact, "order of the method") is Verdict.OPEN


def test_the_adjoint_along_the_path_must_approach_the_gradient(tmp_path: Path) -> None:
    rows: Rows = [{"tolerance": t, "adjoint_error": 9 * t} for t in (1e-3, 1e-4)]
    artifact = SECTIONS["figure2"](probed(tmp_path, "demo_field_fit", "adjoint_path", rows))
    assert verdict(artifact, "adjoint") is Verdict.HOLDS
