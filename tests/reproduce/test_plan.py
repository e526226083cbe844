"""The plan: what an experiment comes to, each of them once with every seed, probes behind runs."""

from pathlib import Path

import pytest

from node_repro.config import ConfigError
from node_repro.config.choices import Choices, conf_folder
from node_repro.config.compose import compose
from node_repro.reproduce import Ask
from node_repro.reproduce.asked import asked
from node_repro.reproduce.experiments import Experiments
from node_repro.reproduce.plan import targets

CHOICES = Choices([conf_folder()])
READER = Experiments(CHOICES, "close")


def one_of_each_kind() -> list[str]:
    """An experiment for each pair of task and model."""
    found = {}
    for name in CHOICES.names("experiment"):
        chosen = READER.read(name).chosen
        found.setdefault((chosen["task"], chosen["model"]), name)
    return list(found.values())


@pytest.mark.parametrize("name", one_of_each_kind())
def test_what_is_read_off_the_yaml_is_what_hydra_composes(name: str) -> None:
    read, config = READER.read(name), compose([f"experiment={name}", "profile=close"])
    chosen = {
        group: getattr(config, group).name
        for group in ("task", "model", "data", "optimizer", "schedule")
    }
    if config.ode:
        chosen |= {"solver": config.ode.solver.name, "gradient": config.ode.gradient.name}
        chosen |= {"controller": config.ode.controller.name}
    assert {group: read.chosen[group] for group in chosen} == chosen
    assert read.solves_ode == (config.ode is not None)
    assert read.iterations == config.trainer.iterations
    if config.trainer.iterations is None:
        assert read.epochs == config.trainer.epochs


def test_every_experiment_with_every_seed_is_one_target() -> None:
    plan = targets(asked(["seed=0,1,2"], CHOICES), CHOICES)
    runs = [(target.experiment, target.seed) for target in plan if target.probe is None]
    names = CHOICES.names("experiment")
    assert sorted(runs) == sorted((name, seed) for name in names for seed in (0, 1, 2))
    assert len({target.name for target in plan}) == len(plan)


def with_probe(folder: Path, experiments: str) -> Choices:
    (folder / "probe").mkdir()
    (folder / "probe" / "look.yaml").write_text(f"# A look.\n_experiments_: {experiments}\n")
    return Choices([folder, conf_folder()])


def test_a_probe_waits_for_the_run_that_it_measures() -> None:
    plan = targets(asked(["seed=2,3", "experiment=table1_rknet,fig5_moons*"], CHOICES), CHOICES)
    found = {t.name: t for t in plan if t.probe}
    assert sorted(found) == ["inversion-fig5_moons_cnf-seed2", "test_tolerance-table1_rknet-seed2"]
    probe = found["test_tolerance-table1_rknet-seed2"]
    assert probe.after == "table1_rknet-seed2"
    words = {"job=probe", "probe=test_tolerance", "experiment=table1_rknet", "seed=2"}
    assert words <= set(probe.words)


def test_an_override_reaches_those_that_have_its_key() -> None:
    words = ["data.root=/my", "rtol=1e-4", "threads=1", "model.depth=3"]
    plan = {t.experiment: t.words for t in targets(asked(words, CHOICES), CHOICES)}
    assert {"data.root=/my", "rtol=1e-4", "threads=1"} <= set(plan["table1_odenet"])
    assert "model.depth=3" not in plan["table1_odenet"]
    assert not {"data.root=/my", "rtol=1e-4"} & set(plan["fig4_u1_nf_8"])
    assert {"model.depth=3", "threads=1"} <= set(plan["fig4_u1_nf_8"])


def test_an_override_does_not_reach_those_that_would_not_read_it() -> None:
    words = ["rtol=1e-4", "task.kl_warmup=9", "trainer.eval_batch_size=9", "gradient.atol=1e-5"]
    plan = {t.experiment: t.words for t in targets(asked(words, CHOICES), CHOICES)}
    read = {name: [word for word in words if word in plan[name]] for name in plan}
    assert read["table2_latent_ode_30"] == words[:3]
    assert read["table2_rnn_30"] == words[2:3]
    assert read["fig4_u1_cnf_8"] == [words[0], words[2], words[3]]
    assert read["demo_field_fit"] == [words[0], words[3]]


def test_a_folder_of_digits_is_refused_where_the_embedded_ones_are_taken() -> None:
    words = ["profile=smoke", "data.root=/my", "experiment=table1_mlp"]
    with pytest.raises(ConfigError, match="none of the experiments reads this key"):
        targets(asked(words, CHOICES), CHOICES)
    assert (
        "data.root=/my" in targets(asked([*words, "data.source=full"], CHOICES), CHOICES)[0].words
    )


@pytest.fixture
def constant_steps(tmp_path: Path) -> Choices:
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\n# Mine.\ndefaults:\n  - override /solver: rk4\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text)
    return Choices([tmp_path, conf_folder()])


def test_tolerances_do_not_reach_constant_steps(constant_steps: Choices) -> None:
    words = ["experiment=mine,table1_odenet", "rtol=1e-4", "gradient.rtol=1e-5"]
    plan = targets(asked(words, constant_steps), constant_steps)
    found = {t.experiment: {*words} & {*t.words} for t in plan if t.probe is None}
    assert found == {"mine": set(), "table1_odenet": {"rtol=1e-4", "gradient.rtol=1e-5"}}


def test_threads_are_those_asked_for_or_left_to_every_process() -> None:
    def threads(*words: str) -> set[str]:
        plan = targets(asked(["experiment=demo*", *words], CHOICES), CHOICES)
        return {w for target in plan for w in target.words if w.startswith("threads=")}

    assert threads() == threads("jobs=2") == set()
    assert threads("jobs=2", "threads=7") == {"threads=7"}


def test_a_key_changes_with_configuration_and_overrides_alone(tmp_path: Path) -> None:
    def key(*words: str, choices: Choices = CHOICES) -> str:
        return targets(asked(["experiment=table1_mlp", *words], choices), choices)[0].key

    assert key() == key("jobs=2") == key("threads=1") == key("progress=on")
    keys = {key(), key("profile=close"), key("model.hidden=3"), key("seed=1")}
    keys |= {key(choices=with_probe(tmp_path, "[]"))}
    assert len(keys) == 5


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["profile=quik"], "did you mean profile=quick"),
        (["experiment=table9*"], "unknown experiment"),
        (["seed=a"], "seed=a must be a whole number"),
        (["jobs=0"], "jobs=0 must be a whole number >= 1"),
        (["quick"], "'quick' is no key=value"),
        (["probe=x"], "every target has a probe of its own"),
        (["rtoll=1"], "did you mean 'rtol'"),
    ],
)
def test_wrong_words_are_one_sentence(words: list[str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        asked(words, CHOICES)


def test_a_seed_counts_once_and_hydras_glob_is_read() -> None:
    ask = asked(["seed=1,0,1", "experiment=glob(table1_mlp*)"], CHOICES)
    assert ask.seeds == (1, 0)
    assert ask.experiments == ("table1_mlp", "table1_mlp_deskewed")


def test_an_override_that_no_experiment_has_is_refused() -> None:
    with pytest.raises(ConfigError, match="none of the experiments reads this key"):
        targets(asked(["experiment=table1_mlp", "data.marks=true"], CHOICES), CHOICES)


def test_the_dearest_come_first() -> None:
    ask = Ask(tuple(CHOICES.names("experiment")), "quick", (0,), "outputs", 1, ())
    seconds = [target.seconds for target in targets(ask, CHOICES)]
    assert seconds == sorted(seconds, reverse=True)
    assert seconds[-1] > 0
