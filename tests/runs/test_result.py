"""result.json: typed, the same after a round trip, and refused with what it lacks."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from node_repro.runs.result import EngineUse, ModelResult, RunResult, TimeEstimate

RESULT = RunResult(
    task="mnist",
    model="odenet",
    experiment="table1_odenet",
    data="mnist-embedded",
    data_notice="5,000 digits",
    data_facts={"complete": False, "sha256": "00ff"},
    test_count=100,
    profile="quick",
    seed=3,
    device="cpu",
    processes=1,
    threads=2,
    version="0.1.0",
    signature="0000aaaa",
    parameters=10,
    iterations=4,
    epochs=1.5,
    training={"error": 0.5, "seconds": 2.5},
    estimate=TimeEstimate(iterations=4, first=1.0, last=2.0, taken=2.5),
    selection_metric="error",
    last=ModelResult(4, {"error": 0.25, "loss_nats": math.inf}, 0.01),
    selected=ModelResult(2, {"error": 0.2}, None, validation_score=0.125),
    diagnostics={"slope": 1.5, "least_squares": {"parameters": 2}},
    engine=EngineUse(
        "compiled", "since it is faster", 0.016, 0.005, graphs=2, compile_seconds=14.5
    ),
)
KEYS = (
    "task model experiment data data_notice data_complete data_sha256 test_count profile seed "
    "device processes threads version signature parameters iterations epochs training "
    "estimate_seconds selected_by last selected findings engine schema"
).split()


def content(**changes: Any) -> dict[str, Any]:
    return RESULT.to_json() | changes


def test_a_result_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(RESULT.to_json(), allow_nan=False))
    assert RunResult.read(path) == RESULT
    assert RESULT.training_seconds == 2.5
    assert [model.step for model in RESULT.models.values()] == [4, 2]


def test_the_file_has_these_keys_in_this_order() -> None:
    written = RESULT.to_json()
    assert list(written) == KEYS
    assert written["last"] == {
        "step": 4,
        "test": {"error": 0.25, "loss_nats": "inf"},
        "test_standard_error": 0.01,
    }
    assert written["selected"]["validation_error"] == 0.125
    assert list(written["estimate_seconds"]) == ["iterations", "first", "last", "taken"]


def test_a_file_without_a_schema_or_newer_fields_is_read() -> None:
    old = content()
    for key in ("schema", "processes", "threads", "estimate_seconds", "findings", "engine"):
        del old[key]
    result = RunResult.from_json(old)
    assert (result.processes, result.threads, result.estimate) == (1, None, None)
    assert result.engine is None
    assert result.selected.validation_score == 0.125


@pytest.mark.parametrize(
    ("damaged", "words"),
    [
        (3, "not a JSON object"),
        ({}, "it lacks profile, seed, data.*last.test, selected.test"),
        (content(last={"step": 1}), "it lacks last.test"),
        (content(seed="x"), "seed is 'x'"),
        (content(training=None), "training is None"),
        (content(estimate_seconds=1.0), "estimate_seconds is 1.0"),
        (content(engine="compiled"), "engine is 'compiled'"),
        (content(schema=99), "schema is 99"),
    ],
)
def test_what_is_no_result_is_refused_with_the_reason(damaged: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RunResult.from_json(damaged)
