"""Every probe of conf/probe on a tiny run: what its file says, and what it leaves alone."""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

from node_repro.config.choices import Choices, conf_folder, load
from node_repro.config.components import options_of
from node_repro.config.compose import compose
from node_repro.config.signature import run_path
from node_repro.experiments import all_experiments
from node_repro.probes import NotApplicable
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
    "repeats": "1",
    "widths": "[2,3]",
    "states": "[2,6]",
    "hidden": "[4,16]",
    "evaluations": "60",
}


def experiment_of(name: str) -> str:
    return next(one.name for one in all_experiments().values() if name in one.probes)


def fewer(name: str) -> list[str]:
    """The probe's options, with so little work that it takes seconds."""
    options = load(CHOICES.path("probe", name))
    finer = {"tolerances": "[1e-1,1e-3,1e-6]"} if name == "inversion" else {}
    return [f"probe.{key}={(FEWER | finer)[key]}" for key in options if key in FEWER]


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


def test_epochs_show_what_was_recorded_and_three_sets_of_weights(measured: Measured) -> None:
    found = measured("epochs")
    recorded = [row for row in found["rows"] if row["source"] == "recorded"]
    assert [row["step"] for row in recorded] == [3, 4]
    assert all(row["nfe_backward_training"] > 0 for row in recorded)
    rest = [row for row in found["rows"] if row["source"] == "measured"]
    steps = {row["weights"]: row["step"] for row in rest}
    assert steps == {"fresh": 0, "selected": found["selected_step"], "last": 4}
    for row in rest:
        assert row["nfe_forward_min"] <= row["nfe_forward"] <= row["nfe_forward_max"]
    for solver in ("dopri5", "vode_adams"):
        nfe = curve(found, "nfe_forward", solver=solver, weights="fresh")
        assert nfe[0] < nfe[-1]


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
    names = dict.fromkeys(row["gradient"] for row in found["rows"])
    assert {*names, *found["facts"]["left_out"]} == set(CHOICES.names("gradient"))
    for name in names:
        for part in ("parameters_relative", "y0_relative"):
            errors = curve(found, part, gradient=name)
            assert len(errors) == 3 and errors[0] > 5 * errors[-1] > 0  # kinks: 8 to 20 times
        angles = curve(found, "y0_one_minus_cosine", gradient=name)
        assert abs(angles[-1]) < 0.02 < angles[0]
    reference = found["facts"]["reference_at_ten_times_the_tolerance"]["parameters_relative"]
    assert reference < min(row["parameters_relative"] for row in found["rows"])


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

    monkeypatch.setattr(epochs, "_cost", stop)
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
