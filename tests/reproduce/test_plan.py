"""The plan: each experiment once with every seed, probes after runs, overrides where they fit."""

from pathlib import Path

import pytest

from node_repro.config import ConfigError
from node_repro.config.choices import Choices, conf_folder
from node_repro.reproduce import Job, Request
from node_repro.reproduce.plan import make_plan
from node_repro.reproduce.request import read_request

CHOICES = Choices([conf_folder()])


def plan(*words: str) -> list[Job]:
    return make_plan(*read_request([*words, "outputs=/nowhere"], {}))


def word_sets(jobs: list[Job], *words: str) -> dict[str, list[str]]:
    """Run -> those of the words that its command has."""
    return {
        job.name.removesuffix("-seed0"): [word for word in words if word in job.words]
        for job in jobs
        if job.after is None
    }


def test_every_experiment_with_every_seed_is_one_job() -> None:
    runs = [job.name for job in plan("seed=0,1,2") if job.after is None]
    names = CHOICES.names("experiment")
    assert sorted(runs) == sorted(f"{name}-seed{seed}" for name in names for seed in (0, 1, 2))


def test_the_longest_come_first() -> None:
    seconds = [job.seconds for job in plan() if job.seconds is not None]
    assert seconds == sorted(seconds, reverse=True)
    assert seconds[-1] > 0


def test_a_probe_waits_for_the_run_that_it_measures() -> None:
    jobs = {job.name: job for job in plan("seed=2,3", "experiment=table1_rknet,fig5_moons*")}
    probes = {name for name, job in jobs.items() if job.after}
    runs = ("inversion-fig5_moons_cnf", "test_tolerance-table1_rknet", "wrong_digits-table1_rknet")
    assert probes == {f"{name}-seed{seed}" for name in runs for seed in (2, 3)}
    probe = jobs["test_tolerance-table1_rknet-seed3"]
    assert probe.after == "table1_rknet-seed3"
    words = {"job=probe", "probe=test_tolerance", "experiment=table1_rknet", "seed=3"}
    assert words <= set(probe.words)


def test_an_override_reaches_those_that_read_it() -> None:
    experiments = "experiment=table1_odenet,table2_latent_ode_30,table2_rnn_30,fig4_u1_nf_8,demo*"
    words = ["rtol=1e-4", "task.kl_warmup=9", "trainer.eval_batch_size=9", "model.depth=3"]
    kept = word_sets(plan(experiments, *words), *words)
    assert kept == {
        "table1_odenet": [words[0], words[2]],
        "table2_latent_ode_30": words[:3],
        "table2_rnn_30": [words[2]],
        "fig4_u1_nf_8": words[2:],
        "demo_field_fit": [words[0]],
    }


def test_a_word_may_need_another_one() -> None:
    words = ["profile=smoke", "experiment=table1_mlp,fig4_u1_nf_8", "data.root=/my"]
    with pytest.raises(ConfigError, match=r"data\.root=/my"):
        plan(*words)
    kept = word_sets(plan(*words, "data.source=full"), "data.root=/my", "data.source=full")
    assert kept["table1_mlp"] == ["data.root=/my", "data.source=full"]
    assert kept["fig4_u1_nf_8"] == []


def test_a_users_experiment_is_planned_with_unknown_or_similar_costs(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    for name, task in (("mine", "mnist"), ("other", "irregular")):
        text = f"# @package _global_\n# Mine.\ndefaults:\n  - override /task: {task}\n"
        (tmp_path / "experiment" / f"{name}.yaml").write_text(text)
    jobs = plan("experiment=mine,other", "--config-dir", str(tmp_path))
    assert {job.name: job.seconds is None for job in jobs} == {
        "mine-seed0": False,
        "other-seed0": True,
    }
    assert all(f"--config-dir={tmp_path}" in job.words for job in jobs)


def test_threads_are_those_asked_for_or_left_to_every_process() -> None:
    def threads(*words: str) -> set[str]:
        jobs = plan("experiment=demo*", *words)
        return {w for job in jobs for w in job.words if w.startswith("threads=")}

    assert threads() == threads("jobs=2") == set()
    assert threads("jobs=2", "threads=7") == {"threads=7"}


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (["profile=quik"], "profile=quick"),
        (["experiment=table9*"], r"table9\*"),
        (["seed=a"], "seed=a must be a whole number"),
        (["launcher=slrum"], "launcher=slurm"),
        (["launcher.partition=gpu"], r"launcher\.partition="),
        (["jobs=0"], "jobs=0 must be a whole number >= 1"),
        (["quick"], "'quick' is not key=value"),
        (["probe=x"], "probe="),
        (["rtoll=1"], "'rtol'"),
        (["--config-dir=/nowhere"], "/nowhere"),
        (["experiment=table1_mlp", "data.marks=true"], "data.marks=true"),
        (["experiment=table1_mlp", "model.hidden=-1"], r"model\.hidden=-1 must be"),
    ],
)
def test_wrong_words_are_refused(words: list[str], facts: str) -> None:
    with pytest.raises(ConfigError, match=facts):
        plan(*words)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("seed=1,0,1", Request((), seeds=(1, 0))),
        ("experiment=glob(table2_rnn_30*)", Request(("table2_rnn_30",))),
        ("experiment=seed2_linear,toys_rings", Request(("toys_linear", "toys_rings"))),
        ("experiment=seed2_rings*", Request(("toys_rings", "toys_rings_lifted"))),
        ('outputs="a,b (1)"', Request((), outputs=Path("a,b (1)"))),
    ],
)
def test_words_become_a_request(words: str, expected: Request) -> None:
    request, _ = read_request([words], {})
    assert request.experiments == (expected.experiments or tuple(CHOICES.names("experiment")))
    assert (request.seeds, request.outputs) == (expected.seeds, expected.outputs)


@pytest.mark.parametrize(
    ("flags", "jobs"), [("", 3), ("n", 3), (" -j4 --jobserver-auth=3,4", 4), ("k -j8", 8)]
)
def test_an_outer_make_decides_the_number_of_jobs(flags: str, jobs: int) -> None:
    assert read_request(["jobs=3"], {"MAKEFLAGS": flags})[0].jobs == jobs


@pytest.mark.parametrize(
    ("words", "jobs"), [([], 1), (["launcher=slurm"], None), (["launcher=ray", "jobs=3"], 3)]
)
def test_a_cluster_takes_all_jobs_at_once_unless_told_otherwise(
    words: list[str], jobs: int | None
) -> None:
    assert read_request(words, {})[0].most_jobs == jobs


def test_the_options_of_a_launcher_are_not_overrides_of_the_runs() -> None:
    request, _ = read_request(["launcher=slurm", 'launcher.constraint="a b"', "rtol=1e-3"], {})
    assert request.launcher_options == {"constraint": "a b"}
    assert request.extra == ("rtol=1e-3",)


def test_a_named_plan_has_its_profile_and_its_seeds() -> None:
    jobs = [job for job in plan("plan=reference", "experiment=table*,fig4_u1_cnf_8")]
    runs = [job for job in jobs if job.after is None]
    assert all("profile=reference" in job.words for job in jobs)
    for name, seeds in (("table1_odenet", 3), ("table2_rnn_30", 10), ("fig4_u1_cnf_8", 5)):
        found = {job.name for job in runs if job.name.rpartition("-")[0] == name}
        assert found == {f"{name}-seed{seed}" for seed in range(seeds)}


@pytest.mark.parametrize(
    ("words", "fact"),
    [
        (["plan=refrence"], "reference"),
        (["plan=reference", "seed=1"], "seed="),
        (["plan=reference", "profile=quick"], "profile="),
    ],
)
def test_a_plan_that_is_unknown_or_doubly_set_is_refused(words: list[str], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        plan(*words)
