"""job=compare: from files alone, differences and numbers side by side."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from node_repro.config import ConfigError
from node_repro.report.compare import compare
from node_repro.runs.result import EngineUse


def finished(folder: Path, seed: int, error: float, **config: object) -> Path:
    run = folder / f"seed{seed}"
    run.mkdir(parents=True)
    content = {"seed": seed, "deterministic": False, "model": {"choice": "mlp"}} | config
    (run / "config.yaml").write_text(f"# signature: 0\n{yaml.safe_dump(content)}")
    scores = {"step": 3, "test": {"error": error, "nfe_forward": 20.0}}
    result = {
        "seed": seed,
        "data": "mnist",
        "profile": "quick",
        "device": "cpu",
        "iterations": 3,
        "parameters": 10,
        "test_count": 100,
        "training": {"seconds": 5.0, "nfe_backward": 14.0, "peak_bytes": 83_141_020.0},
        "last": scores,
        "selected": scores,
    }
    (run / "result.json").write_text(json.dumps(result))
    return run


def rows(text: str) -> dict[str, list[str]]:
    """Row -> its cells, which at least two spaces part."""
    cells = [
        [cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.split("\n")
    ]
    return {line[0]: line[1:] for line in cells if line}


def test_only_keys_that_differ_are_shown_and_numbers_have_their_units(tmp_path: Path) -> None:
    a = finished(tmp_path / "a", 0, 0.01)
    b = finished(tmp_path / "b", 1, 0.0125, model={"choice": "resnet", "blocks": 6})
    found = rows(compare([str(a), str(b)]))
    assert found["model.choice"] == ["mlp", "resnet"]
    assert found["model.blocks"] == ["-", "6"]
    assert not {"seed", "deterministic"} & found.keys()
    assert found["selected.error"] == ["1.00 %", "1.25 %"]
    assert found["training.nfe_backward"] == ["14.0", "14.0"]
    assert found["training.peak_bytes"] == ["83.14 MB", "83.14 MB"]
    assert found["seeds"] == ["0", "1"]
    assert "a/seed0" in compare([str(a), str(b)]).splitlines()[0]


def test_the_engine_that_was_used_is_compared_not_the_one_that_was_given(tmp_path: Path) -> None:
    folders = [
        finished(tmp_path / name, 0, 0.01, engine={"choice": choice})
        for name, choice in (("a", "auto"), ("b", "compiled"))
    ]
    result = folders[1] / "result.json"
    use = asdict(EngineUse("compiled", "", None, None, graphs=2, compile_seconds=9.0))
    result.write_text(json.dumps(json.loads(result.read_text()) | {"engine": use}))
    found = rows(compare([str(folder) for folder in folders]))
    assert found["engine"] == ["-", "compiled"]
    assert "engine.choice" not in found


def test_several_seeds_are_a_mean_and_a_deviation(tmp_path: Path) -> None:
    for seed, error in enumerate((0.01, 0.02, 0.03)):
        finished(tmp_path / "a", seed, error)
    one = finished(tmp_path / "b", 0, 0.01)
    found = rows(compare([str(tmp_path / "a"), str(one), str(one)]))
    assert found["selected.error"] == ["2.00 ± 1.00 %", "1.00 %", "1.00 %"]
    assert found["seeds"] == ["0, 1, 2", "0", "0"]
    assert "the configurations are the same" in compare([str(one), str(one)])


def test_columns_are_aligned(tmp_path: Path) -> None:
    a, b = finished(tmp_path / "a", 0, 0.01), finished(tmp_path / "a_long_name", 0, 0.5)
    lines = [line for line in compare([str(a), str(b)]).splitlines() if "%" in line]
    assert len({line.index("50.00 %") for line in lines}) == 1


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"selected": {}}', "3"])
def test_a_damaged_result_is_one_sentence(content: str, tmp_path: Path) -> None:
    a, b = finished(tmp_path / "a", 0, 0.01), finished(tmp_path / "b", 0, 0.01)
    (a / "result.json").write_text(content)
    with pytest.raises(ConfigError, match=r"a/seed0: result\.json cannot be read"):
        compare([str(a), str(b)])


@pytest.mark.parametrize("content", ["", "- 1", "a: [\n"])
def test_a_damaged_configuration_is_one_sentence(content: str, tmp_path: Path) -> None:
    a, b = finished(tmp_path / "a", 0, 0.01), finished(tmp_path / "b", 0, 0.01)
    (a / "config.yaml").write_text(content)
    with pytest.raises(ConfigError, match=r"config\.yaml cannot be read") as refused:
        compare([str(a), str(b)])
    assert "\n" not in str(refused.value)


def test_an_experiments_folder_stands_for_its_only_configuration(tmp_path: Path) -> None:
    one = finished(tmp_path / "a" / "quick-mnist-0", 0, 0.01)
    assert rows(compare([str(tmp_path / "a"), str(one)]))["selected.error"] == ["1.00 %", "1.00 %"]
    finished(tmp_path / "a" / "quick-mnist-1", 0, 0.01)
    with pytest.raises(ConfigError, match="quick-mnist-0, quick-mnist-1"):
        compare([str(tmp_path / "a"), str(one)])


def test_what_is_no_finished_run_is_one_sentence(tmp_path: Path) -> None:
    a = finished(tmp_path / "a", 0, 0.01)
    with pytest.raises(ConfigError, match="nothing: it is neither a run"):
        compare([str(a), str(tmp_path / "nothing")])
    (a / "result.json").unlink()
    with pytest.raises(ConfigError, match="is not finished; `node-run list`"):
        compare([str(a), str(a)])
