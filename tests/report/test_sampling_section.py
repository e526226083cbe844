"""The sections on Hamiltonian Monte Carlo and on augmented dimensions, from placed runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from placed_runs import artifact, claim, place, result

from node_repro.report.artifact import Verdict

TARGETS = ("u1", "u2", "u3", "u4", "scaled_gaussian")


def place_sampled(
    outputs: Path, experiment: str, ess: Sequence[float], deviation: float = 0.5
) -> None:
    """Runs by seed with their effective samples, whose moment deviates by as many errors."""
    moment = {"exact": 1.0, "mean": 1.0 + 0.1 * deviation, "standard_error": 0.1}
    for seed, value in enumerate(ess):
        facts: dict[str, Any] = {"data": "u2", "test": {"ess_per_1000": value}}
        facts["findings"] = {"moments": {"mean_first": moment}}
        place(outputs, result(experiment, seed, **facts))


@pytest.mark.parametrize(
    ("controlled", "expected"),
    [
        ((4.0, 4.1, 3.9), Verdict.HOLDS),
        ((0.8, 0.9, 1.0), Verdict.FAILS),
        ((1.0, 2.0, 4.5), Verdict.UNDECIDED),
        ((), Verdict.OPEN),
    ],
)
def test_effective_samples_are_compared_over_seeds(
    tmp_path: Path, controlled: Sequence[float], expected: Verdict
) -> None:
    place_sampled(tmp_path, "hmc_u2_leapfrog", (2.0, 2.1, 1.9))
    place_sampled(tmp_path, "hmc_u2_dopri5", controlled)
    found = claim(tmp_path, "sampling", "U2", "more effective samples")
    assert (found.verdict, found.of_paper) == (expected, False)


def test_deviations_are_pooled_over_seeds_and_the_largest_decides(tmp_path: Path) -> None:
    for target in TARGETS:
        # four seeds, each off by 1.4 errors, are together off by 2.8
        place_sampled(tmp_path, f"hmc_{target}_leapfrog", (1.0,) * 4, 1.4)
        place_sampled(tmp_path, f"hmc_{target}_dopri5", (1.0,) * 4, 1.6)
    found = claim(tmp_path, "sampling", "leapfrog agree")
    assert found.verdict is Verdict.HOLDS and "largest deviation 2.8" in found.measured
    assert claim(tmp_path, "sampling", "dopri5", "agree").verdict is Verdict.FAILS


def test_moments_are_judged_when_every_target_was_sampled(tmp_path: Path) -> None:
    place_sampled(tmp_path, "hmc_u1_leapfrog", (1.0, 1.1))
    assert claim(tmp_path, "sampling", "leapfrog agree").verdict is Verdict.OPEN
    drawings = {drawing.name for drawing in artifact(tmp_path, "sampling").drawings}
    assert "sampling_ess" in drawings


@pytest.mark.parametrize(
    ("augmented", "expected"),
    [((20.0, 20.5, 21.0), Verdict.HOLDS), ((50.0, 50.5, 51.0), Verdict.FAILS)],
)
def test_evaluations_of_augmented_networks_are_compared(
    tmp_path: Path, augmented: Sequence[float], expected: Verdict
) -> None:
    for name, values in (("toys_rings", (30.0, 31.0, 32.0)), ("toys_rings_augmented", augmented)):
        for seed, value in enumerate(values):
            scores = {"error": 0.01, "nfe_forward": value}
            place(tmp_path, result(name, seed, data="points", profile="close", test=scores))
    found = claim(tmp_path, "augmented", "Two rings", "fewer evaluations", profile="close")
    assert (found.verdict, found.of_paper) == (expected, False)
    separates = claim(tmp_path, "augmented", "separates two rings", profile="close")
    assert separates.verdict is Verdict.HOLDS
