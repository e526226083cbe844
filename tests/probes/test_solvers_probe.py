"""The probe of solvers: on a learned field the methods have their orders; pictures; refusals."""

import io
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from node_repro.config.compose import compose
from node_repro.probes import NotApplicable
from node_repro.probes.measure import probe
from tests.test_run import go

SHORT = ["profile=smoke", "trainer.iterations=2", "threads=1", "progress=off"]
OPTIONS = ["job=probe", "probe=solvers", "probe.batch=7", "probe.drawn=3"]


def probed(outputs: Path, *words: str) -> Path:
    given = [*SHORT, *words]
    folder = go(outputs, *given).folder
    overrides = (folder / "overrides.txt").read_text().splitlines()
    whole = [*overrides, *OPTIONS, f"outputs={outputs}"]
    assert probe(compose(whole), {}, [shlex.quote(word) for word in whole]) == 0
    return folder / "probes"


def test_methods_have_their_orders_on_a_learned_field_and_the_reference_is_behind_them(
    tmp_path: Path,
) -> None:
    folder = probed(tmp_path, "experiment=fig1_odenet")
    found = json.loads((folder / "solvers.json").read_text())
    facts, rows = found["facts"], found["rows"]
    for name, order in (("euler", 1), ("midpoint", 2), ("rk4", 4)):
        # between steps of 1/32 and 1/64 of a layer, or the last ones above rounding
        assert facts["observed_order"][name] == pytest.approx(order, abs=0.1)
    assert facts["examples"] == 7 and facts["depth"] == 5
    stages = {"euler": 1, "midpoint": 2, "rk4": 4}
    for row in rows:
        if row["solver"] in stages:
            assert row["nfe"] == stages[row["solver"]] * row["steps"] and row["rejected"] == 0
    adaptive = [row["error_rms"] for row in rows if row["solver"] == "dopri5"]
    assert adaptive[-1] < 1e-7 < adaptive[0]
    with np.load(io.BytesIO((folder / "solvers_paths.npz").read_bytes())) as arrays:
        reference, euler = arrays["0_z"], arrays["1_z"]
        assert euler.shape == (6, 3) and reference.shape[1] == 3
        np.testing.assert_allclose(euler[0], reference[0])
        assert arrays["1_evaluated_t"].tolist() == [[0, 1, 2, 3, 4]] * 3
        np.testing.assert_allclose(arrays["1_evaluated_z"], euler[:-1].T)
    for name in ("solvers_paths.png", "solvers_error.png"):
        assert min(Image.open(io.BytesIO((folder / name).read_bytes())).size) > 100


def test_a_state_of_more_than_one_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotApplicable, match="a state of one number"):
        probed(tmp_path, "experiment=toys_regression")
