"""Verdicts of the sections about trained networks, from runs with given scores."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from placed_runs import artifact, claim, made, place, result, row_of
from scipy import stats

from node_repro.report.artifact import Verdict
from node_repro.report.statistics import Spread


@pytest.mark.parametrize(
    ("errors", "profile", "verdict"),
    [
        ((0.0041, 0.0042, 0.0043), "close", Verdict.HOLDS),  # 90 %: −0.11 to 0.11
        ((0.0041, 0.0042, 0.0043), "quick", Verdict.UNTESTED),
        ((0.0074, 0.0075, 0.0076), "close", Verdict.FAILS),  # 95 %: 0.20 to 0.46
        ((0.0040, 0.0060), "close", Verdict.UNDECIDED),
        ((0.0042,), "close", Verdict.UNDECIDED),
    ],
)
def test_an_error_equals_the_papers_within_a_margin(
    tmp_path: Path, errors: tuple[float, ...], profile: str, verdict: Verdict
) -> None:
    # ODE-Net, 0.42 % in the paper: its binomial s.e. is 0.065 points, that of three seeds 0.006
    for seed, error in enumerate(errors):
        place(tmp_path, result("table1_odenet", seed, test={"error": error}, profile=profile))
    row = row_of(made(tmp_path, profile), "table1", "ODE-Net")
    assert row["equal to the paper's"] == verdict.value
    assert ("to" in row["its 95 % interval"]) == (len(errors) > 1)


@pytest.mark.parametrize(
    ("resnet", "verdict"),
    [
        ({0: 0.0052, 1: 0.0061, 2: 0.0071}, Verdict.HOLDS),  # paired: −0.01 ± 0.006
        ({0: 0.0080, 1: 0.0090, 2: 0.0101}, Verdict.FAILS),
        ({3: 0.0052, 4: 0.0061, 5: 0.0071}, Verdict.UNDECIDED),  # by Welch −0.01 ± 0.08
    ],
)
def test_networks_are_compared_seed_by_seed(
    tmp_path: Path, resnet: dict[int, float], verdict: Verdict
) -> None:
    for name, errors in (("odenet", {0: 0.0050, 1: 0.0060, 2: 0.0070}), ("resnet", resnet)):
        for seed, error in errors.items():
            facts = {"test": {"error": error}, "profile": "close"}
            place(tmp_path, result(f"table1_{name}", seed, **facts))
    found = claim(tmp_path, "table1", "ODE-Net and ResNet", "error", profile="close")
    assert found.verdict is verdict
    assert found.measured.endswith("paired by seed" if 0 in resnet else ", not paired")
    assert "95 % interval" in found.measured and "90 % interval" in found.measured


def place_network(outputs: Path, name: str, wrong: Sequence[set[int]], *, probed: bool) -> None:
    """A finished run of profile close for each set of wrong test digits."""
    for seed, digits in enumerate(wrong):
        facts = {"test": {"error": len(digits) / 10_000}, "profile": "close"}
        path = place(outputs, result(f"table1_{name}", seed, **facts))
        if probed:
            (path / "probes").mkdir()
            rows = [{"weights": "selected", "wrong": sorted(digits)}]
            text = json.dumps({"facts": {}, "rows": rows})
            (path / "probes" / "wrong_digits.json").write_text(text)


@pytest.mark.parametrize(("shared", "probed"), [(35, True), (0, True), (35, False)])
def test_networks_are_compared_digit_by_digit_where_their_wrong_digits_are_known(
    tmp_path: Path, shared: int, probed: bool
) -> None:
    for network, start in (("odenet", 0), ("resnet", 40 - shared)):
        sets = [set(range(first, first + 40)) for first in (start, start + 200, start + 400)]
        place_network(tmp_path, network, sets, probed=probed)
    found = claim(tmp_path, "table1", "ODE-Net and ResNet", "error", profile="close")
    assert found.verdict is Verdict.HOLDS  # the errors are equal
    alone = 40 - shared
    half = stats.norm.ppf(0.95) * (3 * 2 * alone / 9_999) ** 0.5 / 3 if probed else 0.0
    assert f"90 % interval −{half:.2f} to {half:.2f}".replace("−0.00", "0.00") in found.measured
    counts = f"; only one wrong: {', '.join([f'{alone} + {alone}'] * 3)}" if probed else ""
    pairing = "digit and seed" if probed else "seed"
    assert found.measured.endswith(f", paired by {pairing}{counts}")
    row = row_of(made(tmp_path, "close"), "table1_differences", "ODE-Net − ResNet, 6 blocks")
    assert row["paired by"] == pairing
    commands = [one.command for one in artifact(tmp_path, "table1", "close").missing]
    asked = [one for one in commands if "probe=wrong_digits experiment=table1_resnet " in one]
    assert len(asked) == (0 if probed else 1)
    assert all("-m job=probe" in one and one.endswith("seed=0,1,2") for one in asked)


@pytest.mark.parametrize(
    ("rival", "verdict"),
    [
        (range(40, 140), Verdict.HOLDS),  # 100 + 40 digits: 0.60 ± 0.23 points
        (range(0, 45), Verdict.HOLDS),  # 5 + 0: 0.05 ± 0.044 points
        (range(2, 46), Verdict.UNDECIDED),  # 6 + 2: 0.04 ± 0.055 points
        (range(40, 41), Verdict.FAILS),
    ],
)
def test_a_better_network_is_found_by_the_digits_that_it_alone_gets_right(
    tmp_path: Path, rival: range, verdict: Verdict
) -> None:
    place_network(tmp_path, "odenet", [set(range(40))] * 2, probed=True)
    place_network(tmp_path, "stem_only", [set(rival)] * 2, probed=True)
    claims = {one.text: one for one in artifact(tmp_path, "table1", "close").claims}
    found = claims["An ODE block is better than no block"]
    assert (found.verdict, found.of_paper) == (verdict, False)


def place_seeds(outputs: Path, experiment: str, metric: str, values: Sequence[float]) -> None:
    """A finished run of profile close for each value of a test score."""
    for seed, value in enumerate(values):
        facts: dict[str, Any] = {"data": "points", "profile": "close", "test": {metric: value}}
        place(outputs, result(experiment, seed, **facts))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0.008, 0.009, 0.0085), Verdict.HOLDS),
        ((0.008, 0.009, 0.012), Verdict.UNDECIDED),
        ((0.008,), Verdict.UNDECIDED),
        ((0.020, 0.021, 0.022), Verdict.FAILS),
    ],
)
def test_a_flow_fits_closely_with_the_interval_of_its_divergence(
    tmp_path: Path, values: Sequence[float], expected: Verdict
) -> None:
    place_seeds(tmp_path, "fig4_u1_cnf_32", "kl_nats", values)
    found = claim(tmp_path, "figure4", "U1", "32 units", profile="close")
    assert (found.verdict, found.of_paper) == (expected, False)


def test_every_size_of_a_flow_has_a_claim_of_its_own(tmp_path: Path) -> None:
    for size, cnf, nf in ((2, (0.1, 0.11), (0.4, 0.41)), (8, (0.4, 0.41), (0.1, 0.11))):
        place_seeds(tmp_path, f"fig4_u1_cnf_{size}", "kl_nats", cnf)
        place_seeds(tmp_path, f"fig4_u1_nf_{size}", "kl_nats", nf)
    expected = {"= 2:": Verdict.HOLDS, "= 8:": Verdict.FAILS, "= 32:": Verdict.OPEN}
    for size, verdict in expected.items():
        found = claim(tmp_path, "figure4", "U1", size, "closer", profile="close")
        assert found.verdict is verdict


@pytest.mark.parametrize(
    ("name", "words", "errors", "expected"),
    [
        ("toys_rings", "in the plane", (0.2, 0.22, 0.21), Verdict.HOLDS),
        ("toys_rings", "in the plane", (0.2, 0.3), Verdict.UNDECIDED),
        ("toys_rings", "in the plane", (0.02, 0.021, 0.022), Verdict.FAILS),
        ("toys_rings_lifted", "one dimension more", (0.01, 0.011, 0.012), Verdict.HOLDS),
        ("toys_rings_lifted", "one dimension more", (0.01, 0.01, 0.2), Verdict.UNDECIDED),
        ("toys_rings_lifted", "one dimension more", (), Verdict.OPEN),
    ],
)
def test_rings_are_judged_by_the_mean_over_seeds(
    tmp_path: Path, name: str, words: str, errors: Sequence[float], expected: Verdict
) -> None:
    place_seeds(tmp_path, name, "error", errors)
    found = claim(tmp_path, "toys", "rings", words, profile="close")
    assert (found.verdict, found.of_paper) == (expected, False)


@pytest.mark.parametrize(
    ("marks", "true", "expected"),
    [(0.86, 1.0, Verdict.HOLDS), (0.84, 1.0, Verdict.FAILS), (0.85, 2.0, Verdict.FAILS)],
)
def test_the_way_to_the_true_rate_is_taken_seed_by_seed(
    tmp_path: Path, marks: float, true: float, expected: Verdict
) -> None:
    # the data of every seed have a constant and a true rate of their own
    for seed in range(3):
        scores = {"log_likelihood_constant_nats": float(seed)}
        scores |= {"log_likelihood_true_nats": seed + true}
        scores |= {"log_likelihood_nats": seed + marks + 0.001 * seed}
        facts: dict[str, Any] = {"data": "poisson", "profile": "close", "test": scores}
        place(tmp_path, result("fig7_poisson_marked", seed, **facts))
    found = claim(tmp_path, "figure7", "values seen", profile="close")
    assert (found.verdict, found.of_paper) == (expected, False)


def place_spirals(outputs: Path, model: str, count: int, rmse: float, **more: float) -> None:
    """Three seeds of a model, 0.02 apart, so that the standard error of a mean is 0.012."""
    for seed in range(3):
        scores = {"rmse_noisy": rmse + 0.02 * seed}
        scores |= {key: value + 0.02 * seed for key, value in more.items()}
        facts = {"data": f"spirals-{count}", "profile": "close", "test": scores}
        findings = {"rmse_noisy_median": rmse - 0.01}
        if model == "latent_ode":
            findings |= {"rmse_noisy_of_mean": 0.35, "rmse_noisy_of_last": 0.5}
        place(outputs, result(f"table2_{model}_{count}", seed, findings=findings, **facts))


@pytest.mark.parametrize(
    ("at_50", "expected"),
    [(0.3, Verdict.HOLDS), (0.39, Verdict.UNDECIDED), (0.5, Verdict.FAILS)],
)
def test_a_lead_is_compared_over_seeds(tmp_path: Path, at_50: float, expected: Verdict) -> None:
    for count, gap in ((30, 0.40), (50, at_50)):
        place_spirals(tmp_path, "latent_ode", count, 0.1)
        place_spirals(tmp_path, "rnn", count, 0.1 + gap)
    found = claim(tmp_path, "table2", "lead", "than with 50", profile="close")
    assert found.verdict is expected
    assert found.measured.startswith(f"0.400 against {at_50:.3f} (n = 3): difference")
    assert claim(tmp_path, "table2", "lead", "100", profile="close").verdict is Verdict.OPEN


def test_rivals_of_the_latent_ode_are_compared_and_named_as_own_checks(tmp_path: Path) -> None:
    log_p = {"latent_ode": 1.0, "rnn": 0.2, "rnn_dt": 0.98, "gru_dt": 2.0}
    errors = {"latent_ode": 0.12, "rnn": 0.4, "rnn_dt": 0.13, "gru_dt": 0.05, "ode_rnn": 0.2}
    for model, rmse in errors.items():
        place_spirals(tmp_path, model, 30, rmse, log_likelihood_nats=log_p.get(model, 0.0))
    found = artifact(tmp_path, "table2", "close")
    at_30 = {c.text: (c.verdict, c.of_paper) for c in found.claims if c.text.startswith("30 of")}
    text = "30 of 100 points observed: the latent ODE"
    assert at_30 == {
        f"{text}'s error is below that of the RNN": (Verdict.HOLDS, True),
        f"{text}'s error is below that of the RNN with time gaps": (Verdict.UNDECIDED, False),
        f"{text}'s error is below that of the GRU with time gaps": (Verdict.FAILS, False),
        f"{text}'s error is below that of the ODE-RNN": (Verdict.HOLDS, False),
        f"{text}'s error is below that of the RNN with time gaps, rolled out": (
            Verdict.OPEN,
            False,
        ),
        "30 of 100 points observed: the errors of latent ODE and GRU with time gaps are equal": (
            Verdict.FAILS,
            False,
        ),
        "30 of 100 points observed: the errors of latent ODE with annealed noise and GRU with time "
        "gaps are equal": (Verdict.OPEN, False),
        "30 of 100 points observed: annealed noise lowers the latent ODE's error": (
            Verdict.OPEN,
            False,
        ),
        f"{text} predicts to the noise": (Verdict.UNDECIDED, False),
        f"{text} predicts to the noise on every seed": (Verdict.FAILS, False),
        f"{text} with annealed noise predicts to the noise": (Verdict.OPEN, False),
        f"{text} with annealed noise predicts to the noise on every seed": (Verdict.OPEN, False),
        f"{text}'s log-likelihood is above both RNNs'": (Verdict.UNDECIDED, True),
    }
    rows = {row[0]: row[1:] for row in found.tables[0].rows}
    mean, last = (
        rows[f"{name}, against noisy points"][0]
        for name in ("mean of the training points", "last observed value")
    )
    assert mean == Spread(0.35, 0.0, 3) and last == Spread(0.5, 0.0, 3)
    by_direction, log_p_table = found.tables[1:3]
    medians = {row[0]: row[1] for row in by_direction.rows}
    median = medians["ODE-RNN, median over trajectories"]
    assert isinstance(median, Spread) and median.mean == pytest.approx(0.19)
    assert "GRU with time gaps, nats per point" in [row[0] for row in log_p_table.rows]
    assert [drawing.name for drawing in found.drawings] == ["table2_seeds"]


@pytest.mark.parametrize(("largest", "expected"), [(0.114, Verdict.HOLDS), (0.12, Verdict.FAILS)])
def test_one_seed_in_a_local_optimum_is_enough_to_fail(
    tmp_path: Path, largest: float, expected: Verdict
) -> None:
    errors = (0.104, largest, 0.106)
    place_seeds(tmp_path, "table2_latent_ode_annealed_50", "rmse_noisy", errors)
    words = ("50 of", "annealed", "every seed")
    found = claim(tmp_path, "table2", *words, profile="close")
    assert (found.verdict, found.of_paper) == (expected, False)
    assert found.measured == f"largest of 3 seeds: {largest:.3f}"


@pytest.mark.parametrize(
    ("without", "expected"),
    [
        ((0.40, 0.51, 0.61), Verdict.HOLDS),  # paired: 0.10, 0.11, 0.11
        ((0.30, 0.55, 0.47), Verdict.UNDECIDED),
        ((0.20, 0.31, 0.40), Verdict.FAILS),
        ((), Verdict.OPEN),
    ],
)
def test_times_help_where_the_same_events_are_predicted_better_with_them(
    tmp_path: Path, without: Sequence[float], expected: Verdict
) -> None:
    place_seeds(tmp_path, "fig7_times", "rmse_marks", (0.3, 0.4, 0.5))
    place_seeds(tmp_path, "fig7_times_ignored", "rmse_marks", without)
    found = claim(tmp_path, "figure7", "Poisson term", profile="close")
    assert (found.verdict, found.of_paper) == (expected, True)
    assert ("paired by seed" in found.measured) == bool(without)


def test_other_spirals_are_compared_model_by_model(tmp_path: Path) -> None:
    for model, rmse in (("latent_ode", 0.06), ("rnn", 0.2), ("gru_dt", 0.05)):
        place_seeds(tmp_path, f"spirals_quiet_{model}", "rmse_noisy", (rmse, rmse + 0.001))
    found = artifact(tmp_path, "other_spirals", "close")
    verdicts = {c.text: c.verdict for c in found.claims if c.text.startswith("noise 0.05")}
    text = "noise 0.05: the latent ODE's error is below that of the"
    assert verdicts == {
        f"{text} RNN": Verdict.HOLDS,
        f"{text} GRU with time gaps": Verdict.FAILS,
    }
    (row,) = found.tables[0].rows
    assert row[:2] == ["noise 0.05", 0.05] and row[-1] == 2


@pytest.mark.parametrize(
    ("linear", "expected"),
    [(1.0, Verdict.HOLDS), (0.5, Verdict.FAILS)],
)
def test_directions_are_separated_by_the_interval_of_the_accuracy(
    tmp_path: Path, linear: float, expected: Verdict
) -> None:
    for seed in range(3):
        findings = {"direction_probe_accuracy": linear}
        findings |= {"direction_probe_accuracy_with_products": (0.99, 0.94, 0.96)[seed]}
        facts: dict[str, Any] = {"data": "spirals-30", "profile": "close", "findings": findings}
        place(tmp_path, result("table2_latent_ode_30", seed, test={}, **facts))
    found = claim(tmp_path, "figure8", "linear", profile="close")
    assert (found.verdict, found.of_paper) == (expected, True)
    found = claim(tmp_path, "figure8", "products", profile="close")
    assert (found.verdict, found.of_paper) == (Verdict.UNDECIDED, False)


def test_evaluations_of_a_flow_grow_from_the_first_validation_to_the_last(tmp_path: Path) -> None:
    for seed, (first, last) in enumerate(((100, 130), (98, 134), (104, 128))):
        facts: dict[str, Any] = {"data": "circles", "profile": "close", "test": {}}
        folder = place(tmp_path, result("fig5_circles_cnf", seed, **facts))
        lines = [
            {"step": step, "split": "validation", "seconds": 1.0, "nfe_forward": nfe}
            for step, nfe in ((500, first), (1000, 1000.0), (1500, last))
        ]
        (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    found = claim(tmp_path, "flow_evaluations", "circles", profile="close")
    # differences of 30, 36 and 24: 30 ± 4.303 * 6 / √3
    assert (found.verdict, found.of_paper) == (Verdict.HOLDS, False)
    assert "101 at the first, 131 at the last" in found.measured
    assert found.measured.endswith("difference 30, 95 % interval 15 to 45")


@pytest.mark.parametrize(
    ("trained", "expected"),
    [
        ((0.20, 0.21, 0.205), Verdict.HOLDS),
        ((0.40, 0.41, 0.405), Verdict.FAILS),
        ((0.20, 0.21, 0.405), Verdict.UNDECIDED),
        ((0.20,), Verdict.UNDECIDED),
    ],
)
def test_trained_times_are_compared_with_fixed_ones(
    tmp_path: Path, trained: tuple[float, ...], expected: Verdict
) -> None:
    place_seeds(tmp_path, "toys_span_4", "rmse_values", (0.20, 0.21, 0.205))
    place_seeds(tmp_path, "toys_trained_times_4", "rmse_values", trained)
    found = claim(tmp_path, "trained_times", "works", "4", profile="close")
    assert found.verdict is expected and not found.of_paper


def test_fixed_times_are_equal_within_a_tenth_of_the_error(tmp_path: Path) -> None:
    place_seeds(tmp_path, "toys_regression", "rmse_values", (0.20, 0.21, 0.205))
    place_seeds(tmp_path, "toys_span_2", "rmse_values", (0.201, 0.211, 0.206))
    place_seeds(tmp_path, "toys_span_half", "rmse_values", (0.30, 0.31, 0.305))
    verdicts = {
        words: claim(tmp_path, "trained_times", words, profile="close").verdict
        for words in ("0 to 2", "0 to 0.5 as")
    }
    assert list(verdicts.values()) == [Verdict.HOLDS, Verdict.FAILS]


@pytest.mark.parametrize(
    ("direct", "expected"),
    [
        ((0.9, 0.91, 0.9), Verdict.HOLDS),
        ((0.5, 0.51, 0.5), Verdict.FAILS),
        ((0.5, 0.9, 0.8), Verdict.UNDECIDED),
        ((0.9,), Verdict.UNDECIDED),
    ],
)
def test_direct_gradients_are_slow_by_the_interval_of_the_seconds(
    tmp_path: Path, direct: tuple[float, ...], expected: Verdict
) -> None:
    for name, megabytes, seconds in (("rknet", 6, direct), ("odenet", 4, (0.7, 0.71, 0.72))):
        for seed, value in enumerate(seconds):
            facts = {"training": {"step_seconds": value, "saved_bytes": megabytes * 1e6}}
            place(tmp_path, result(f"table1_{name}", seed, test={"error": 0.005}, **facts))
    assert claim(tmp_path, "backpropagation", "slow").verdict is expected
    hungry = claim(tmp_path, "backpropagation", "memory")
    assert hungry.verdict is Verdict.FAILS and "6.0 MB against 4.0 MB, 1.5 times" in hungry.measured
