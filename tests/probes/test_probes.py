"""Every probe of conf/probe on a tiny run: what its file says, and what it leaves alone."""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

from node_repro.config.choices import Choices, conf_folder, load
from node_repro.config.components import options_of
from node_repro.config.compose import compose
from node_repro.config.signature import run_path
from node_repro.experiments import all_experiments
from node_repro.probes import NotApplicable
from node_repro.probes.adjoint_path import Observed, solve_backwards
from node_repro.probes.closed_forms import DECAY, PROBLEMS
from node_repro.probes.difficulty import rotated
from node_repro.probes.measure import probe
from node_repro.probes.width_cost import Layer
from node_repro.runs import OutputError
from node_repro.training.run import run

CHOICES = Choices([conf_folder()])
NAMES = CHOICES.names("probe")
TINY = {
    "mnist": ["model.channels=4", "model.stem=conv", "data.limit=64", "trainer.batch_size=16"],
    "field_fit": ["model.hidden=8"],
    "hmc": ["task.evaluations=60"],
    "cnf": ["model.width=4", "model.hyper_hidden=4", "model.end=8.0", "trainer.batch_size=64"],
}
FEWER = {
    "tolerances": "[1e-1,1e-2,1e-4]",
    "steps": "[1,2,4]",
    "batches": "2",
    "batch": "2",
    "examples": "3",
    "reference": "1e-8",
    "fixed": "1e-4",
    "repeats": "1",
    "widths": "[2,3]",
    "blocks": "[1,3]",
    "observations": "2",
    "spacing": "8",
    "points": "6",
    "states": "[2,6]",
    "hidden": "[4,16]",
    "sizes": "[2]",
    "channels": "[8]",
    "tolerance": "1e-3",
    "disturbed": "2",
    "evaluations": "60",
}
FINER = {
    "inversion": {"tolerances": "[1e-1,1e-3,1e-6]"},
    "adjoint_path": {"tolerances": "[1e-3,1e-6]"},
    "backward_cost": {"tolerances": "[1e-1,1e-3]", "reference": "1e-5", "batches": "1"},
    "closed_forms": {"tolerances": "[1e-3,1e-6]", "steps": "[40,80]"},
}


def experiment_of(name: str) -> str:
    if name == "wrong_digits":
        return "table1_odenet"
    return next(one.name for one in all_experiments().values() if name in one.probes)


def fewer(name: str) -> list[str]:
    """The probe's options, with so little work that it takes seconds."""
    options = load(CHOICES.path("probe", name))
    few = FEWER | FINER.get(name, {})
    return [f"probe.{key}={few[key]}" for key in options if key in FEWER]


def content(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below, but for the probes', with its time and bytes."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "probes"]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


@pytest.fixture(scope="module")
def words_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[str]]:
    """The words of a finished run of an experiment, made when it is first asked for."""
    outputs = tmp_path_factory.mktemp("outputs")

    @cache
    def made(experiment: str) -> list[str]:
        words = [f"experiment={experiment}", "profile=smoke", f"outputs={outputs}", "threads=1"]
        words += ["progress=off", f"name={experiment}"]
        words += TINY.get(compose(words).task.name, [])
        assert run(compose(words), words, ["node-run", *words]) == 0
        return words

    return made


@pytest.fixture(scope="module")
def measured(words_of: Callable[[str], list[str]]) -> Callable[[str], dict]:
    """What a probe wrote, measured when it is first asked for."""

    @cache
    def found(name: str) -> dict:
        words = [*words_of(experiment_of(name)), "job=probe", f"probe={name}", *fewer(name)]
        config = compose(words)
        folder = run_path(config, "given by name")
        before = content(folder)
        assert probe(config, {}, words) == 0
        assert content(folder) == before, "the run's own files changed"
        return json.loads((folder / "probes" / f"{name}.json").read_text(encoding="utf-8"))

    return found


Measured = Callable[[str], dict]


def curve(found: dict, value: str, **chosen: object) -> list[float]:
    """The values of the rows that are so, in their order."""
    return [row[value] for row in found["rows"] if chosen.items() <= row.items()]


@pytest.mark.parametrize("name", NAMES)
def test_every_probe_says_what_it_measured_and_how(name: str, measured: Measured) -> None:
    found = measured(name)
    assert found["probe"] == name and found["experiment"] == experiment_of(name)
    assert (found["device"], found["threads"], found["profile"]) == ("cpu", 1, "smoke")
    assert found["seconds"] >= 0 and found["version"] and found["selected_step"] >= 1
    options = {key for key in load(CHOICES.path("probe", name)) if not key.startswith("_")}
    assert set(found["options"]) == options
    assert found["rows"] and found["facts"]


def test_every_option_of_a_probe_is_made_small_here() -> None:
    keys = {key for name in NAMES for key in options_of(CHOICES, "probe", name)}
    mentioned = {key.partition(".")[2] for key in keys}
    assert mentioned - {"shown", "drawn"} == set(FEWER)


def test_a_smaller_tolerance_costs_more_and_errs_less(measured: Measured) -> None:
    found = measured("tolerance")
    solvers = dict.fromkeys((row["solver"], row["gradient"]) for row in found["rows"])
    assert len(solvers) == 5
    for solver, gradient in solvers:
        for batch in (0, 1):
            chosen = {"solver": solver, "gradient": gradient, "batch": batch}
            errors = curve(found, "error_rms", **chosen)
            nfe = curve(found, "nfe_forward", **chosen)
            assert len(errors) == 3
            assert errors[0] > 10 * errors[-1]
            assert nfe[0] < nfe[-1]
            backward = curve(found, "nfe_backward", **chosen)
            assert backward[0] <= backward[-1]
    examples = {row["solver"]: row["examples"] for row in found["rows"]}
    assert examples == {"dopri5": 2, "tsit5": 2, "vode_adams": 2, "lsoda": 1}
    reference = found["facts"]["reference_at_ten_times_the_tolerance"]["rms"]
    assert reference < min(row["error_rms"] for row in found["rows"]) / 3


def test_memory_grows_with_the_steps_of_direct_and_not_of_the_adjoint(measured: Measured) -> None:
    found = measured("memory")
    held = {
        name: curve(found, "held_bytes", gradient=name)
        for name in dict.fromkeys(row["gradient"] for row in found["rows"])
    }
    left_out = found["facts"]["left_out"]
    assert "limit of 100,000" in left_out["forward"]
    same = {"adjoint_flat", "adjoint_seminorm"}  # as adjoint, where no error is controlled
    assert left_out.keys() == {"forward", *same}
    assert held.keys() == {*CHOICES.names("gradient")} - left_out.keys()
    assert held["direct"][1] == 2 * held["direct"][0] and held["direct"][2] == 4 * held["direct"][0]
    one, two, four = held["checkpointed"]  # a state a step, and the times
    assert four - two == 2 * (two - one) > 0 and four < held["direct"][0]
    for name in ("adjoint", "reversible"):
        assert held[name][0] == held[name][1] == held[name][2] < held["direct"][0]
    growth = found["facts"]["growth_a_step"]
    assert growth["direct"]["held_bytes"] == pytest.approx(held["direct"][0])
    assert growth["adjoint"]["held_bytes"] == pytest.approx(0, abs=1e-6)
    for row in found["rows"]:
        assert row["peak_bytes"] >= row["held_bytes"] > 0
        assert (row["nfe_backward"] > 0) == (row["gradient"] != "direct")


def test_memory_of_reversible_blocks_is_that_of_one_state(measured: Measured) -> None:
    found = measured("depth_memory")
    held = curve(found, "held_bytes", kind="reversible")
    assert held == [found["facts"]["state_bytes"]] * 2
    one, three = curve(found, "held_bytes", kind="residual")
    assert three == 3 * one > held[0]
    assert all(error < 1e-3 for error in curve(found, "gradient_error", kind="reversible"))


def test_gradients_and_solutions_are_those_of_the_closed_forms(measured: Measured) -> None:
    found = measured("closed_forms")
    gradients = {row["gradient"] for row in found["rows"] if row["measured"] == "gradient"}
    assert gradients == set(CHOICES.names("gradient"))
    for row in found["rows"]:
        if row["measured"] == "gradient":
            errors = [row[key] for key in ("z0", "theta", "t0", "t1", "ti")]
            assert max(errors) < 300 * row["tolerance"]
    coarse, fine = curve(found, "error", measured="solution", solver="rk4")
    assert coarse == pytest.approx(16 * fine, rel=0.2)
    solved = {"measured": "solution", "tolerance": 1e-6}
    assert all(error < 10 * 1e-6 for error in curve(found, "error", **solved))


def test_the_adjoint_along_a_path_is_the_gradient_of_the_rest_of_the_loss(
    measured: Measured,
) -> None:
    found = measured("adjoint_path")
    for row in found["rows"]:
        assert row["adjoint_error"] < row["tolerance"] and row["method_error"] < row["tolerance"]
    assert found["facts"]["end"] == pytest.approx(2 * 8 * 25 / 999)


class Rotation(nn.Module):
    """z' = A z for A = ((0, 1), (-1, 0))."""

    def forward(self, t: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        return torch.stack((z[1], -z[0]))


def test_the_adjoint_of_a_linear_field_jumps_by_the_gradient_at_each_observation() -> None:
    generator = torch.Generator().manual_seed(0)
    ts = torch.tensor([0.0, 0.7, 1.5, 2.2], dtype=torch.float64)
    start = torch.tensor([1.0, 0.5], dtype=torch.float64)
    x = torch.randn(3, 2, generator=generator, dtype=torch.float64)
    a = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
    power = torch.linalg.matrix_exp(a * ts[1:, None, None])
    residuals = power @ start - x
    for i, leg in enumerate(solve_backwards(Observed(Rotation(), start, ts, x), 4, 1e-9)):
        for t, z, found in zip(leg.ts, leg.z, leg.a, strict=True):
            ahead = torch.linalg.matrix_exp(a * (ts[1 + i :] - t)[:, None, None])
            expected = (ahead.mT @ residuals[i:, :, None]).sum(0)[:, 0]
            torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-7)
            torch.testing.assert_close(
                z, torch.linalg.matrix_exp(a * t) @ start, rtol=1e-7, atol=1e-7
            )


def test_closed_forms_have_their_gradients_by_hand() -> None:
    z0, theta, (t0, *ts) = 5.0, 1.0, PROBLEMS[DECAY].times
    z = [z0 / (1 + theta * z0 * (t - t0)) for t in ts]
    exact = PROBLEMS[DECAY].exact_gradients()
    assert float(exact["z0"]) == pytest.approx(sum((v / z0) ** 2 for v in z))
    by_theta = -sum((t - t0) * v**2 for t, v in zip(ts, z, strict=True))
    assert float(exact["theta"]) == pytest.approx(by_theta)
    assert float(exact["t0"]) == pytest.approx(sum(v**2 for v in z))
    assert [*exact["ti"].tolist(), float(exact["t1"])] == pytest.approx([-(v**2) for v in z])


def test_epochs_show_what_was_recorded_and_the_weights_of_every_evaluation(
    measured: Measured,
) -> None:
    found = measured("epochs")
    assert curve(found, "step", source="recorded") == [3, 4]
    assert all(nfe > 0 for nfe in curve(found, "nfe_backward_training", source="recorded"))
    for solver in ("dopri5", "vode_adams"):
        same = {"source": "measured", "solver": solver}
        assert curve(found, "step", **same, tolerance=0.1) == [0, 3, 4]
        assert curve(found, "epoch", **same, tolerance=0.1) == pytest.approx([0, 1, 4 / 3])
        loose, _, tight = curve(found, "nfe_forward", **same, step=0)
        assert loose < tight
    for row in found["rows"]:
        if row["source"] == "measured":
            assert len(row["nfe_each"]) == 3
            assert row["nfe_forward"] == pytest.approx(sum(row["nfe_each"]) / 3)
    fresh, after, _ = curve(found, "state_rms", source="state")
    assert fresh != after > 0


def test_a_backward_solve_is_the_more_exact_the_smaller_its_tolerance(measured: Measured) -> None:
    found = measured("backward_cost")
    ways = {(row["solver"], row["norm"], row["start"]) for row in found["rows"]}
    assert len(ways) == 2 * 3 * 2 + 1 and ("vode_adams", "flat", "fresh") in ways
    assert {row["channels"]: row["weights"] for row in found["rows"]} == {4: "selected", 8: "fresh"}
    for solver, norm, start in ways:
        for channels in (4, 8):
            same = {"solver": solver, "norm": norm, "start": start, "channels": channels}
            errors = curve(found, "relative", **same, size=2, batch=0)
            assert len(errors) == 2 and errors[0] > errors[1] > 0
    for row in found["rows"]:
        c = row["channels"]
        assert row["parameters"] == 2 * (9 * c * (c + 1) + c) + 3 * 2 * c
        assert row["state_size"] == row["size"] * c * 6 * 6


def test_single_digits_are_solved_with_their_scores_rotations_and_noise(
    measured: Measured, words_of: Callable[[str], list[str]]
) -> None:
    found = measured("difficulty")
    tests = [row for row in found["rows"] if row["source"] == "test"]
    assert [row["example"] for row in tests] == [0, 1, 2]
    for row in tests:
        wrong = row["margin"] < 0  # a score above that of the digit's class
        assert row["error"] == wrong and (row["loss_nats"] > math.log(2) or not wrong)
        assert min(row[key] for key in row if key.endswith("ward")) > 0
    for source, levels in (("rotation", 5), ("noise", 5)):
        assert len(curve(found, "level", source=source)) == 2 * levels
        for k in (0, 1):  # the first level leaves the digit as it is
            first = curve(found, "loss_nats", source=source, example=k)[0]
            assert first == pytest.approx(tests[k]["loss_nats"], rel=1e-3)
    folder = run_path(compose(words_of("table1_odenet")), "given by name") / "probes"
    digits = json.loads((folder / "difficulty_digits.json").read_bytes())
    assert sorted(digit["example"] for digit in digits) == [0, 1, 2]
    assert max(map(max, digits[0]["pixels"])) == digits[0]["shades"] - 1
    assert (len(digits[0]["pixels"]), len(digits[0]["pixels"][0])) == (28, 28)


def test_a_quarter_turn_is_that_of_the_pixels() -> None:
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    torch.testing.assert_close(rotated(image, 90.0), torch.rot90(image, 1, (2, 3)))


def test_test_error_differs_from_the_models_own_the_less_the_finer(measured: Measured) -> None:
    found = measured("test_tolerance")
    own, *rest = found["rows"]
    assert own["solver"] == "own" and own["loss_nats_difference"] == 0
    assert found["facts"]["examples"] == 3
    for row in rest:
        assert row["error_standard_error"] == pytest.approx(
            (row["error"] * (1 - row["error"]) / 3) ** 0.5
        )
        difference = row["loss_nats"] - own["loss_nats"]
        assert row["loss_nats_difference"] == pytest.approx(difference)
    for solver in ("euler", "rk4"):
        nfe = curve(found, "nfe_forward", solver=solver)
        assert nfe == [n * (1 if solver == "euler" else 4) for n in (1, 2, 4)]
        off = [abs(d) for d in curve(found, "loss_nats_difference", solver=solver)]
        assert off[0] > off[-1]


def test_gradient_error_falls_with_the_tolerance(measured: Measured) -> None:
    found = measured("gradient_error")
    own = {"rows": [row for row in found["rows"] if row["field"] == "own" and "steps" not in row]}
    names = dict.fromkeys(row["gradient"] for row in own["rows"])
    assert {*names, *found["facts"]["left_out"]} == set(CHOICES.names("gradient"))
    for name in names:
        for part in ("parameters_relative", "y0_relative"):
            errors = curve(own, part, gradient=name)
            assert len(errors) == 3 and errors[0] > 5 * errors[-1] > 0  # kinks: 8 to 20 times
        angles = curve(own, "y0_one_minus_cosine", gradient=name)
        assert abs(angles[-1]) < 0.02 < angles[0]
    reference = found["facts"]["reference_at_ten_times_the_tolerance"]["own"]
    assert reference["parameters_relative"] < min(row["parameters_relative"] for row in own["rows"])


def test_gradients_of_the_smooth_twin_have_smaller_errors(measured: Measured) -> None:
    found = measured("gradient_error")
    for chosen in ({"gradient": "direct", "tolerance": 1e-4}, {"solver": "rk4", "steps": 4}):
        (kinked,) = curve(found, "parameters_relative", field="own", **chosen)
        (smooth,) = curve(found, "parameters_relative", field="smooth", **chosen)
        assert kinked > 10 * smooth > 0
    first, _, last = curve(found, "parameters_relative", field="smooth", solver="rk4")
    assert first > 4**3 * last  # of order 4 from 1 to 4 steps, nearly


def test_wrong_digits_are_those_of_the_runs_own_test(
    measured: Measured, words_of: Callable[[str], list[str]]
) -> None:
    found = measured("wrong_digits")
    folder = run_path(compose(words_of("table1_odenet")), "given by name")
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    selected, last = found["rows"]
    assert (selected["weights"], last["weights"]) == ("selected", "last")
    for row in (selected, last):
        assert row["error"] == pytest.approx(result[row["weights"]]["test"]["error"])
        assert row["examples"] == result["test_count"]
        assert len(row["wrong"]) == len(row["predicted"]) == round(row["error"] * row["examples"])
        assert row["wrong"] == sorted({*row["wrong"]}) and max(row["wrong"]) < row["examples"]


def test_errors_of_a_precision_are_about_its_rounding(measured: Measured) -> None:
    found = measured("precision")
    errors = curve(found, "state_relative_rms", control="tolerance")
    assert errors[0] > 10 * errors[-1]
    for name, epsilon in (("bfloat16", 2**-8), ("float16", 2**-11), ("float32", 2**-24)):
        (row,) = [row for row in found["rows"] if row["precision"] == name and row["nfe"] > 0][-1:]
        assert row["control"] == "precision"
        assert epsilon / 10 < row["state_relative_rms"] < 10 * epsilon


def test_forward_sensitivities_cost_what_the_paper_counts(measured: Measured) -> None:
    found = measured("sensitivity_cost")
    assert found["facts"]["left_out"] == {}
    assert len([row for row in found["rows"] if row["field"] == "small"]) == 2 * 2 * 2
    for row in found["rows"]:
        d, k = row["states"], row["parameters"]
        expected = {"forward": (d * d + k * d, d), "adjoint": (2 * d + k + 1, -1)}
        paper, more = expected[row["gradient"]]
        assert row["numbers_paper"] == paper and row["numbers"] == paper + more
        assert row["seconds"] > 0 and row["nfe_forward"] > 0
    (own,) = [r for r in found["rows"] if r["field"] == "run" and r["gradient"] == "adjoint"]
    assert (own["states"], own["parameters"]) == (2, 8 * 5 + 2)


def test_the_log_density_is_timed_for_every_width_and_way(measured: Measured) -> None:
    rows = measured("width_cost")["rows"]
    ways = ("trace", "determinant, M x M", "determinant, D x D")
    assert [(row["width"], row["way"]) for row in rows] == [
        (m, way) for m in (2, 3) for way in ways
    ]
    assert all(row["seconds"] > 0 for row in rows)


def test_both_determinants_of_a_layer_are_those_of_its_jacobian() -> None:
    torch.manual_seed(0)
    by_units = Layer(5, by_units=True).double()
    by_states = Layer(5, by_units=False).double()
    by_states.load_state_dict(by_units.state_dict())
    z = torch.randn(3, 2).double()
    jacobians = torch.stack(
        [torch.autograd.functional.jacobian(lambda z: by_units(z[None])[0][0], one) for one in z]
    )
    expected = torch.linalg.slogdet(jacobians).logabsdet
    torch.testing.assert_close(by_units(z)[1], expected)
    torch.testing.assert_close(by_states(z)[1], expected)


def test_undone_steps_come_back_to_rounding_and_solved_ones_to_the_tolerance(
    measured: Measured,
) -> None:
    found = measured("reconstruction")
    for row in found["rows"]:
        if row["back"] == "undone":
            assert row["relative_rms"] < 1e-4
    for solver in ("dopri5", "tsit5", "vode_adams"):
        errors = curve(found, "relative_rms", back="solved", solver=solver, batch=0)
        assert errors[0] > 10 * errors[-1] > 0


def test_a_minibatch_takes_no_fewer_evaluations_than_its_easiest_example(
    measured: Measured,
) -> None:
    found = measured("minibatch_cost")
    assert len(found["rows"]) == 2 * 3 * 2
    for row in found["rows"]:
        assert row["nfe_min"] <= row["nfe_mean"] <= row["nfe_max"]
        assert row["batch_over_mean"] == pytest.approx(row["nfe_batch"] / row["nfe_mean"])
        assert row["examples"] == 2
    for row in found["rows"]:
        if row["solver"] == "dopri5":
            assert row["nfe_batch"] >= row["nfe_min"]


def test_a_flow_comes_back_the_better_the_smaller_the_tolerance(
    measured: Measured, words_of: Callable[[str], list[str]]
) -> None:
    found = measured("inversion")
    for name in ("distance_rms", "log_density_rms"):
        errors = [row[name] for row in found["rows"]]
        assert errors[0] > 100 * errors[-1]
    assert found["rows"][-1]["mass"] == pytest.approx(1, abs=0.01)
    assert found["rows"][-1]["nfe_encode"] > found["rows"][0]["nfe_encode"]
    folder = run_path(compose(words_of("fig5_circles_cnf")), "given by name")
    assert (folder / "probes" / "inversion.png").stat().st_size > 1_000


def test_a_probe_that_is_done_is_told_and_left_alone(
    measured: Measured, words_of: Callable[[str], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    measured("memory")
    words = [*words_of(experiment_of("memory")), "job=probe", "probe=memory", *fewer("memory")]
    folder = run_path(compose(words), "given by name") / "probes"
    before = (folder / "memory.json").read_bytes()
    capsys.readouterr()
    assert probe(compose(words), {}, words) == 0
    assert capsys.readouterr().out.startswith("complete")
    assert (folder / "memory.json").read_bytes() == before


def test_a_run_that_is_not_there_is_refused_with_the_command_that_trains_it(
    tmp_path: Path,
) -> None:
    words = ["experiment=demo_field_fit", "seed=3", f"outputs={tmp_path}"]
    config = compose([*words, "job=probe", "probe=memory", "probe.batch=2"])
    with pytest.raises(OutputError, match=r"holds no finished run; train it first") as caught:
        probe(config, {}, [*words, "job=probe", "probe=memory", "probe.batch=2"])
    assert str(caught.value).endswith(f"node-run {' '.join(words)}")


def test_a_probe_that_a_run_has_nothing_for_names_those_that_fit(
    words_of: Callable[[str], list[str]],
) -> None:
    words = [*words_of("demo_field_fit"), "job=probe", "probe=inversion"]
    with pytest.raises(NotApplicable) as caught:
        probe(compose(words), {}, words)
    message = str(caught.value)
    assert "it needs a continuous flow" in message and "fig5_circles_cnf" in message
    assert "probes of this run" in message and "sensitivity_cost" in message


def test_an_interrupted_probe_leaves_no_file(
    words_of: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from node_repro.probes import epochs

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(epochs, "forward", stop)
    words = [*words_of("table1_odenet"), "job=probe", "probe=epochs", "probe.examples=1"]
    folder = run_path(compose(words), "given by name")
    before = sorted(folder.rglob("*"))
    with pytest.raises(KeyboardInterrupt):
        probe(compose(words), {}, words)
    assert sorted(folder.rglob("*")) == before


def test_runs_are_found_by_their_directories_too(
    words_of: Callable[[str], list[str]], tmp_path: Path
) -> None:
    folder = run_path(compose(words_of("demo_field_fit")), "given by name")
    command = [sys.executable, "-m", "node_repro.cli", "job=probe", "probe=sensitivity_cost"]
    command += [f"runs=[{folder}]", *fewer("sensitivity_cost"), "probe.hidden=[3]", "threads=1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    path = folder / "probes" / "sensitivity_cost.json"
    assert done.stdout.splitlines()[-1] == f"done       {path}"
    assert json.loads(path.read_text())["options"]["hidden"] == [3]
    assert list(tmp_path.iterdir()) == []
    command[-3:] = []
    command[-1] = f"runs=[{tmp_path}]"
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 6 and "is not the directory of a run" in done.stderr
