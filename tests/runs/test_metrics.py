"""Metrics are declared, and what was logged is read back as it was."""

import math
from pathlib import Path

import pytest

from node_repro.runs import OutputError
from node_repro.runs.json_values import encode, flatten, restore
from node_repro.runs.metrics import METRICS, declare, get_metric, refuse_undeclared, shown_scores
from node_repro.runs.metrics_file import MetricsFile, read_metrics


def test_every_metric_has_a_unit_and_a_meaning() -> None:
    assert all(metric.unit and metric.meaning for metric in METRICS.values())


@pytest.mark.parametrize("ending", ["seconds", "bytes", "nats"])
def test_names_carry_their_units(ending: str) -> None:
    for name, metric in METRICS.items():
        assert name.endswith(f"_{ending}") == (metric.unit == ending)


@pytest.mark.parametrize(
    ("name", "near"),
    [("loss", "loss_nats"), ("nfe_foward", "nfe_forward"), ("step_second", "step_seconds")],
)
def test_undeclared_name_is_refused_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' is not a declared metric.*'{near}'"):
        refuse_undeclared(["error", name])


@pytest.mark.parametrize(
    ("name", "value", "spread", "text"),
    [
        ("error", 0.0058, 0.0008, "0.58 ± 0.08 %"),
        ("loss_nats", 0.02214, None, "0.0221 nats"),
        ("peak_bytes", 83_141_020, None, "83.14 MB"),
        ("nfe_forward", 26.04, None, "26.0"),
        ("rmse_noisy", 0.5, 0.1, "0.5000 ± 0.1000"),
        ("a_tasks_own_seconds", 1.5, None, "1.500 s"),
    ],
)
def test_values_are_shown_with_their_unit(
    name: str, value: float, spread: float | None, text: str
) -> None:
    assert get_metric(name).format(value, spread) == text


def test_a_task_may_declare_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node_repro.runs.metrics.METRICS", dict(METRICS))
    with pytest.raises(ValueError, match="gap_nats"):
        refuse_undeclared(["gap_nats"])
    declare({"gap_nats": "gap", "error": "not replaced"})
    refuse_undeclared([*METRICS, "gap_nats"])
    assert get_metric("gap_nats").unit == "nats" and get_metric("gap_nats").label == "gap"
    assert get_metric("error").label == "error"
    assert shown_scores({"gap_nats": 1.0, "rmse_clean": 2.0, "nfe_forward": 3.0}) == {
        "gap_nats": 1.0
    }


def test_nested_dicts_are_flattened_to_dotted_keys() -> None:
    assert flatten({"a": {"b": 1, "c": {}}, "d": [2]}) == {"a.b": 1, "a.c": {}, "d": [2]}


@pytest.mark.parametrize("value", [0.1, 1e-300, -0.0, 7, True, None, "train", [1, {"a": 2.5}], {}])
def test_plain_values_are_encoded_as_they_are(value: object) -> None:
    assert restore(encode(value)) == value


@pytest.mark.parametrize(("value", "text"), [(math.inf, "inf"), (-math.inf, "-inf")])
def test_infinite_values_are_strings_in_json_and_floats_again(value: float, text: str) -> None:
    assert encode(value) == text
    assert restore({"a": [text]}) == {"a": [value]}


def test_nan_is_a_string_in_json_and_a_float_again() -> None:
    assert encode(math.nan) == "nan"
    restored = restore("nan")
    assert isinstance(restored, float) and math.isnan(restored)


@pytest.mark.parametrize("value", [object(), {1, 2}, b"x", 1j])
def test_what_json_does_not_know_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="cannot be recorded"):
        encode({"a": [value]})


LINE = b'{"step": 1, "split": "train", "seconds": 0.5, "loss_nats": "nan"}\n'


@pytest.mark.parametrize(
    "torn", [b"", b'{"step": 2, "spl', b'{"step": 2}', b"\0\0\0", b"{\n", b"\xff"]
)
def test_torn_last_line_is_left_out_and_cut_off_on_reopening(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(LINE + torn)
    (record,) = read_metrics(path)
    assert math.isnan(record["loss_nats"])
    file = MetricsFile(path)
    file.append(2, "train", {"error": 0.5})
    file.close()
    assert [record["step"] for record in read_metrics(path)] == [1, 2]


def test_damage_in_the_middle_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(LINE + b"{{{\n" + LINE)
    with pytest.raises(OutputError, match="damaged in line 2"):
        read_metrics(path)


def test_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"Cannot read .*metrics.jsonl"):
        read_metrics(tmp_path / "metrics.jsonl")


def test_split_called_nan_stays_a_name(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1, "split": "nan", "seconds": 0.5}\n')
    assert read_metrics(path)[0]["split"] == "nan"


def test_seconds_go_on_where_the_last_start_ended(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1, "split": "train", "seconds": 1000.5}\n')
    file = MetricsFile(path)
    file.append(2, "train", {})
    file.close()
    assert 1000.5 <= read_metrics(path)[1]["seconds"] < 1010
