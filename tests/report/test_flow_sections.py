"""Figures 4 and 5: how fast flows are trained, and how straight their samples move."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from placed_runs import artifact, claim, place, result

from node_repro.report.artifact import Verdict
from node_repro.report.statistics import Spread

FLOOR = -1.8775


def place_training(
    outputs: Path, kind: str, seed: int, losses: Sequence[float], annealing: int | None = None
) -> None:
    """A finished run that logs a loss every 10 iterations of 0.5 seconds."""
    facts: dict[str, Any] = {"data": "u1", "profile": "close", "findings": {"floor_nats": FLOOR}}
    path = place(outputs, result(f"fig4_u1_{kind}_32", seed, test={}, **facts))
    lines = [
        {"step": 10 * k, "split": "train", "loss_nats": FLOOR + kl, "step_seconds": 0.5}
        for k, kl in enumerate(losses, 1)
    ]
    (path / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    (path / "config.yaml").write_text(json.dumps({"task": {"annealing": annealing}}))


def far_then_near(far: int) -> list[float]:
    """Divergences of 1 nat, and then of 0."""
    return [1.0] * far + [0.0] * 30


def test_the_time_to_the_target_is_that_of_a_mean_of_ten_losses(tmp_path: Path) -> None:
    for seed in range(3):
        place_training(tmp_path, "cnf", seed, far_then_near(5 + seed))
        place_training(tmp_path, "nf", seed, far_then_near(50 + seed))
    rows = {row[0]: row for row in artifact(tmp_path, "figure4_training", "close").tables[0].rows}
    # all of the last ten losses are near after 5 + 10, 6 + 10 and 7 + 10 lines of ten iterations
    assert rows["U1, CNF"][2:] == [3, 3, Spread(160.0, 10.0, 3), Spread(80.0, 5.0, 3)]
    for words in ("iterations", "time"):
        found = claim(tmp_path, "figure4_training", "U1", words, profile="close")
        assert found.verdict is Verdict.HOLDS
        assert found.of_paper is (words == "iterations")


def test_a_single_loss_near_the_target_is_not_enough(tmp_path: Path) -> None:
    place_training(tmp_path, "cnf", 0, [1.0, 0.0] * 30)
    found = artifact(tmp_path, "figure4_training", "close")
    (row,) = found.tables[0].rows
    assert tuple(row[2:]) == (1, 0, None, None)
    assert [drawing.name for drawing in found.drawings] == ["figure4_training_u1"]


def test_if_one_seed_does_not_get_there_no_mean_is_given(tmp_path: Path) -> None:
    for seed in range(3):
        place_training(tmp_path, "nf", seed, far_then_near(5))
        place_training(tmp_path, "cnf", seed, far_then_near(5) if seed else [1.0] * 40)
    found = claim(tmp_path, "figure4_training", "U1", "iterations", profile="close")
    assert found.verdict is Verdict.OPEN


def test_losses_of_an_annealed_target_do_not_count(tmp_path: Path) -> None:
    losses = [0.0] * 20 + [1.0] * 20 + [0.0] * 20
    place_training(tmp_path, "nf_rmsprop", 0, losses, annealing=201)
    (row,) = artifact(tmp_path, "figure4_training", "close").tables[0].rows
    assert row[4] == Spread(500.0, None, 1)  # the losses at 410, ..., 500 are the first ten


def place_stages(outputs: Path, kind: str, seed: int, path: Sequence[float]) -> None:
    """A finished run whose three samples are at these abscissas at 5, 60 and 100 %."""
    facts: dict[str, Any] = {"data": "two_moons", "profile": "close", "test": {"kl_nats": 0.01}}
    folder = place(outputs, result(f"fig5_moons_{kind}", seed, **facts))
    samples = np.zeros((3, 3, 2))
    samples[:, :, 0] = np.array(path)[:, None]
    arrays = {"target": np.eye(5), "points": samples[0], "density": np.stack([np.eye(5)] * 3)}
    arrays |= {"samples": samples, "fractions": np.array([0.05, 0.6, 1.0]), "side": np.array(2.0)}
    np.savez(folder / "pictures" / "panels.npz", **arrays)


def test_a_detour_is_the_length_of_the_path_over_the_distance(tmp_path: Path) -> None:
    for seed in range(3):
        place_stages(tmp_path, "cnf", seed, (0.0, 0.5, 1.0))
        place_stages(tmp_path, "nf", seed, (0.0, 3.0 + seed, 1.0))
    found = artifact(tmp_path, "figure5", "close")
    (table,) = (table for table in found.tables if table.name == "figure5_smoothness")
    rows = {row[0]: row for row in table.rows}
    assert rows["two moons, CNF"][1:3] == [Spread(0.0, 0.0, 3), Spread(1.0, 0.0, 3)]
    # 0 -> 3 -> 1 has the length 5, 0 -> 4 -> 1 the length 7, 0 -> 5 -> 1 the length 9
    assert rows["two moons, NF"][1:3] == [Spread(100.0, 0.0, 3), Spread(7.0, 2.0, 3)]
    assert [drawing.name for drawing in found.drawings] == ["figure5_stages"]


@pytest.mark.parametrize(
    ("middle", "outside", "shorter"),
    [
        ((5.0, 5.0, 5.0), Verdict.HOLDS, Verdict.HOLDS),
        ((0.5, 0.5, 5.0), Verdict.UNDECIDED, Verdict.UNDECIDED),
    ],
)
def test_the_smoothness_of_two_flows_is_compared_over_seeds(
    tmp_path: Path, middle: Sequence[float], outside: Verdict, shorter: Verdict
) -> None:
    for seed, one in enumerate(middle):
        place_stages(tmp_path, "cnf", seed, (0.0, 0.5, 1.0))
        place_stages(tmp_path, "nf", seed, (0.0, one, 1.0))
    claims = (("moons", "leave the frame"), ("moons", "shorter way"))
    found = [claim(tmp_path, "figure5", *words, profile="close").verdict for words in claims]
    assert found == [outside, shorter]
