"""Faults of configuration and usage: each is one line on stderr and exit code 2."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from node_repro import cli

CONF = Path(__file__).parents[1] / "conf"


def choices(group: str) -> str:
    """As a message lists them."""
    return ", ".join(sorted(file.stem for file in (CONF / group).glob("*.yaml")))


FAULTS: list[tuple[list[str], list[str]]] = [
    # a name that does not exist
    (["solver=dopri6"], ["'dopri6'", "solver=dopri5?", choices("solver")]),
    (["experiment=x"], ["'x'", "`node-run list`"]),
    (["experiment="], ["experiment=", "`node-run list`"]),
    (["experiment=table1_odnet"], ["experiment=table1_odenet?"]),
    (["model=resnt"], ["model=resnet?"]),
    (["solver=null"], ["solver 'null'"]),
    (["solver=[dopri5,rk4]"], ["solver"]),
    (["solvr=dopri5"], ["'solvr'", "'solver'?"]),
    (["-m", "solver=dopri5,dopri6"], ["'dopri6'"]),
    (["--config-name", "nothing"], ["nothing"]),
    (["--config-dir", "/not/there"], ["/not/there", "no such folder"]),
    (["--config-dir", "/not/there", "experiment=x"], ["/not/there", "no such folder"]),
    (["list", "--config-dir=/not/there"], ["/not/there", "no such folder"]),
    (["--config-dir=/not/there", "--help"], ["/not/there", "no such folder"]),
    (["list", "--config-dir"], ["--config-dir", "needs a folder"]),
    # a key that does not exist
    (["solver.rotl=3"], ["'solver.rotl'", "'rtol'?"]),
    (["+solver.rotl=3"], ["'solver.rotl'", "'rtol'?"]),
    (["+typo=1"], ["'typo'"]),
    (["++x=1"], ["'x'"]),
    (["--cfg", "job", "+typo=1"], ["'typo'"]),
    (["--cfg", "job", "rtol=abc"], ["rtol=abc"]),
    (["trainer={epochs: 3, foo: 2}"], ["'trainer.foo'"]),
    (["+trainer.foo=2"], ["'trainer.foo'"]),
    (["trainer=3"], ["'trainer'"]),
    (["lr=0.1"], ["'optimizer.lr'?"]),
    (["epochs=3"], ["'trainer.epochs'?"]),
    (["batch_size=3"], ["'trainer.batch_size'?"]),
    (["model@foo=mlp"], ["'model@foo'"]),
    (["profile.mnist.epochs=2"], ["'trainer.epochs'?"]),
    (["budget.quick.epochs=2"], ["'trainer.epochs'?"]),
    (["~seed"], ["'~seed'"]),
    (["~solver"], ["'~solver'"]),
    (["~solver.max_steps"], ["'~solver.max_steps'"]),
    (["+seed=1"], ["without '+'"]),
    (["++seed=1"], ["without '++'"]),
    (["+model=mlp"], ["without '+'"]),
    # a job without what it needs
    (["job=trian"], ["job=trian", "train, probe, report, compare"]),
    (["job=compare"], ["two runs"]),
    (["job=compare", "runs=[a]"], ["two runs"]),
    (["runs=[a,b]"], ["job=train", "runs="]),
    (["job=compare", "runs=a"], ["runs=a", "a list"]),
    (["job=probe"], ["probe=...", choices("probe")]),
    (
        ["job=probe", "probe=memory", "experiment=table1_odenet", "probe.steps=[]"],
        ["probe.steps=[]", "a list of at least 1", ">= 1"],
    ),
    # a key of another choice
    (["solver=dopri5", "controller.step_size=0.1"], ["belongs to controller=constant"]),
    (["+controller.step_size=0.1"], ["controller=integral", "controller=constant"]),
    (["solver.step_size=0.1"], ["'controller.step_size'?", "controller=constant"]),
    (["step_size=0.1"], ["controller=constant"]),
    (["model=mlp", "model.stem=conv"], ["model=odenet or model=resnet"]),
    (["solver.method=x"], [f"another solver: {choices('solver')}"]),
    (["gradient.norm=semi"], [f"another gradient: {choices('gradient')}"]),
    (["model._target_=os.system"], ["another model"]),
    # a wrong value
    (["rtol=abc"], ["rtol=abc", "a number >= 0"]),
    (["rtol=true"], ["rtol=true", "a number"]),
    (["rtol=null"], ["rtol=null", "a number"]),
    (["rtol=-1"], ["rtol=-1"]),
    (["rtol=nan"], ["rtol=nan"]),
    (["rtol=inf"], ["rtol=inf"]),
    (["rtol=[1,2]"], ["rtol=[1, 2]"]),
    (["rtol=0"], ["rtol and atol"]),
    (["rtol=1e-9"], ["4.77e-07", "precision=float64"]),
    (["rtol=1e-17", "precision=float64"], ["8.88e-16"]),
    (["rtol=0", "atol=1e-9"], ["atol=1e-09", "4.77e-07"]),
    (["gradient.rtol=1e-9"], ["gradient.rtol=1e-09"]),
    (["atol=-1"], ["atol=-1"]),
    (["seed=-1"], ["seed=-1", "a whole number >= 0"]),
    (["seed=true"], ["seed=true", "a whole number"]),
    (["seed=1e3"], ["seed=1000.0", "a whole number"]),
    (["trainer.epochs=1.5"], ["trainer.epochs=1.5", "a whole number >= 1"]),
    (["trainer.epochs=null"], ["trainer.epochs=null"]),
    (["trainer.batch_size=0"], ["trainer.batch_size=0", "a whole number >= 1"]),
    (["trainer.batch_size=-4"], ["trainer.batch_size=-4"]),
    (["device=gpu"], ["device=gpu", "auto, cpu, cuda"]),
    (["deterministic=1"], ["deterministic=1", "true or false"]),
    (["deterministic=maybe"], ["true or false"]),
    (["model.channels=48"], ["model.channels=48", "32"]),
    (["model.stem=wide"], ["residual, conv"]),
    (["schedule=step", "schedule.milestones=0.5"], ["a list"]),
    (["schedule=step", "schedule.milestones=[0.5,0.2]"], ["[0.5, 0.2]", "increase"]),
    (["schedule=step", "schedule.milestones=[0.5,1.5]"], ["> 0 and < 1"]),
    (["threads=100000"], ["threads=100000", "auto or a whole number >= 1 and <= 1024"]),
    (["threads=many"], ["threads=many", "auto or a whole number"]),
    (["threads=0"], ["threads=0", ">= 1"]),
    # no value, or one that cannot be determined
    (["rtol="], ["rtol=", "a number >= 0"]),
    (["solver="], ["solver=", "adaptive_heun"]),
    (["name="], ["name="]),
    (["atol=${atol}"], ["atol", "Recursive interpolation"]),
    (["rtol=${atol}", "atol=${rtol}"], ["Recursive interpolation"]),
    (["atol=${nope}"], ["atol", "'nope' not found"]),
    (["atol=${nope:1}"], ["nope"]),
    (["seed=???"], ["seed"]),
    # quoting
    (["data.root=/tmp/a=b"], ["'data.root=\"/tmp/a=b\"'"]),
    (["data.root=/tmp/ü"], ["'data.root=\"/tmp/ü\"'"]),
    (["rtol=[1"], ["'rtol=[1'"]),
    (["name=a,b"], ["-m", "'name=\"a,b\"'"]),
    (["name=a b"], ["name=a b", "folder"]),
    (['name="a=b"'], ["name=a=b", "folder"]),
    (["name=../x"], ["name=../x", "folder"]),
    (["name=" + 101 * "x"], ["at most 100"]),
    # usage
    (["mnist"], ["'mnist'", "'='", "task=mnist or data=mnist"]),
    (["dopri5"], ["solver=dopri5?"]),
    (["-m"], ["-m", "seed=0,1"]),
    (["--foo"], ["--foo"]),
    (["--cfg", "nothing"], ["'nothing'"]),
    (["--resolve"], ["--resolve"]),
    # choices that do not fit together
    (["solver=rk4", "controller=pi"], ["controller=pi", "error estimate", "solver=rk4"]),
    (["solver=euler", "controller=integral"], ["controller=constant", "another solver"]),
    (["gradient=reversible"], ["solver=dopri5", "solver=reversible_dopri5"]),
    (["solver=lsoda", "gradient=reversible"], ["solver=lsoda", "solver=reversible_dopri5"]),
    (["solver=lsoda", "gradient=direct"], ["solver=lsoda", "gradient=adjoint"]),
    (["data=u1"], ["task=mnist", "data=fashion_mnist or data=mnist"]),
    (["task=cnf", "data=u1"], ["task=cnf", "data=u1", "data=two_moons"]),
    (["task=cnf", "model=mlp"], ["task=cnf", "model=mlp", "model=planar_flow"]),
    (["task=cnf", "trainer.iterations=null"], ["trainer.iterations=null", ">= 1"]),
    (["task=cnf", "data.limit=3"], ["data.limit", "data=fashion_mnist"]),
    (["data=fashion_mnist", "profile=smoke"], ["embedded", "data.source=auto"]),
    # a backward solve that cannot be done
    (["gradient.solver=dopri6"], ["gradient.solver 'dopri6'", "dopri5?"]),
    (["gradient.controller=pid"], ["gradient.controller 'pid'", "constant, "]),
    (["gradient=direct", "gradient.solver=rk4"], ["gradient.solver", "gradient=adjoint"]),
    (["gradient.step_size=0.1"], ["gradient.step_size=0.1", "gradient.controller=constant"]),
    (
        ["solver=rk4", "gradient.solver=dopri5", "gradient.step_size=0.1"],
        ["gradient.controller=constant"],
    ),
    (["solver=lsoda", "gradient.step_size=0.1"], ["lsoda", "controller own"]),
    (["gradient.solver=rk4", "gradient.step_size=0"], ["gradient.step_size=0", "> 0"]),
    (
        ["gradient.solver=rk4", "gradient.controller=pi"],
        ["gradient.controller=pi", "error estimate", "gradient.solver=rk4"],
    ),
    (["gradient.solver=lsoda", "gradient.controller=pi"], ["remove gradient.controller="]),
    (["gradient.controller=own"], ["gradient.solver=dopri5"]),
    (["gradient.max_steps=0"], ["gradient.max_steps=0", ">= 1"]),
    # options without effect
    (["model=mlp", "solver=dopri5"], ["model=mlp", "remove solver="]),
    (["model=resnet", "gradient=direct"], ["model=resnet", "remove gradient="]),
    (["model=stem_only", "rtol=1e-4"], ["model=stem_only", "remove rtol="]),
    (["model=mlp", "solver.max_steps=3"], ["remove solver.max_steps="]),
    (["task=cnf", "model=planar_flow", "rtol=1e-3"], ["model=planar_flow", "remove rtol="]),
    (["experiment=fig5_moons_nf", "solver=rk4"], ["model=planar_flow", "remove solver="]),
    (["experiment=table1_rknet", "model=mlp"], ["remove gradient=", "experiment=table1_rknet"]),
    (["solver=rk4", "rtol=1e-3"], ["controller=constant", "remove rtol="]),
    (["profile=smoke", "trainer.epochs=2"], ["add trainer.iterations=null"]),
    (["profile=smoke", "trainer={epochs: 2}"], ["add trainer.iterations=null"]),
    (["data.root=/x", "profile=smoke"], ["data.source=embedded", "remove data.root="]),
    (["profile=smoke", "data.download=false"], ["remove data.download="]),
    (["solver=rk4", "gradient.rtol=1e-6"], ["remove gradient.rtol=", "gradient.solver="]),
    (["gradient.solver=rk4", "gradient.atol=1e-6"], ["remove gradient.atol="]),
    (["gradient.controller=constant", "gradient.rtol=1e-6"], ["remove gradient.rtol="]),
    (["solver=rk4", "gradient.solver=dopri5", "rtol=1e-6"], ["gradient.rtol is"]),
    (["solver=rk4", "gradient=adjoint_seminorm"], ["gradient=adjoint"]),
    (["gradient=adjoint_flat", "gradient.solver=euler"], ["remove gradient="]),
    (["solver=lsoda", "gradient=adjoint_flat"], ["LSODA", "gradient=adjoint"]),
    (["model=mlp", "engine=compiled"], ["model=mlp", "remove engine="]),
    (["solver=lsoda", "engine=compiled"], ["solver=lsoda", "remove engine=", "dopri5"]),
    (["solver=scipy_rk45", "engine=eager"], ["solver=scipy_rk45", "remove engine="]),
    (["engine=jitted"], ["engine 'jitted'", "auto, compiled, eager"]),
    (["engine.backend=inductor"], ["engine.backend", "engine=compiled"]),
    (["engine=compiled", "engine.backend=gcc"], ["engine.backend=gcc", "inductor"]),
    (["task=poisson", "task.mark_sd=1"], ["data.marks=false", "remove task.mark_sd="]),
    (["experiment=table2_rnn_30", "task.kl_warmup=9"], ["model=rnn", "remove task.kl_warmup="]),
    (["task=line", "trainer.eval_batch_size=9"], ["task=line", "all examples at once"]),
    (["experiment=demo_field_fit", "trainer.eval_batch_size=9"], ["task=field_fit"]),
    (["task=field_fit", "data.seed=1"], ["data=cubic_spiral", "remove data.seed="]),
    (
        ["schedule=step", "schedule.milestones=[]", "schedule.factor=0.5"],
        ["remove schedule.factor="],
    ),
    (["job=report", "seed=1"], ["profile=, outputs=, debug=", "remove seed="]),
    (["job=compare", "runs=[a,b]", "rtol=1e-5"], ["runs=, debug=", "remove rtol="]),
    (
        ["job=probe", "probe=memory", "runs=[a]", "experiment=table1_odenet"],
        ["probe=, device=", "remove experiment="],
    ),
]


@pytest.fixture(autouse=True)
def no_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def run(*_: object) -> int:
        pytest.fail("a wrong configuration was run")

    monkeypatch.setitem(sys.modules, "node_repro.training.run", SimpleNamespace(run=run))
    monkeypatch.chdir(tmp_path)


def fault(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    monkeypatch.setattr(sys, "argv", ["node-run", *words])
    assert cli.main() == 2
    err = capsys.readouterr().err
    assert err.startswith("node-run: ")
    assert err.count("\n") == 1 and err.endswith("\n"), err
    assert "Traceback" not in err
    assert list(Path.cwd().iterdir()) == []
    return err


@pytest.mark.parametrize(("words", "facts"), FAULTS, ids=[" ".join(words) for words, _ in FAULTS])
def test_fault_is_one_line_that_names_the_key(
    words: list[str],
    facts: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    err = fault(words, monkeypatch, capsys)
    assert all(fact in err for fact in facts), err


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        ("# @package _global_\nrtol: [1\n", ["mine.yaml, line 3"]),
        ("# @package _global_\na: 1\n  b: 2\n", ["mine.yaml, line 3"]),
        ("# @package _global_\nrotl: 1\n", ["'rotl'", "'rtol'?"]),
        ("# @package _global_\ndefaults:\n  - override /solver: nope\n", ["solver/nope"]),
        ("# @package _global_\ncontroller: {step_size: 1.0}\n", ["controller=constant"]),
        ("# @package _global_\ndefaults:\n  - override /model: mlp\nrtol: 1e-4\n", ["model=mlp"]),
        ("# @package _global_\nrtol: fast\n", ["rtol=fast", "a number"]),
        (
            "# @package _global_\ndefaults:\n  - override /solver: rk4\nrtol: 1e-4\n",
            ["remove rtol=", "experiment=mine"],
        ),
    ],
)
def test_fault_in_a_users_own_yaml_is_one_line(
    content: str,
    facts: list[str],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path_factory.mktemp("mine")
    (folder / "experiment").mkdir()
    (folder / "experiment" / "mine.yaml").write_text(content)
    err = fault(["--config-dir", str(folder), "experiment=mine"], monkeypatch, capsys)
    assert all(fact in err for fact in facts), err


def test_an_unknown_experiment_does_not_list_them_all(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["experiment=table1_odnet"], ["list", "experiment=table1_odnet"]):
        err = fault(words, monkeypatch, capsys)
        assert "table1_odenet" in err and "table1_rknet" not in err


@pytest.mark.parametrize("words", [["solver=rk4"], ["--help"], ["list"], ["reproduce"]])
def test_a_users_file_with_the_name_of_a_built_in_choice_is_refused(
    words: list[str],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path_factory.mktemp("mine") / "solver" / "rk4.yaml"
    file.parent.mkdir()
    file.write_text("# Mine.\nmethod: mine.RK4\n")
    err = fault(["--config-dir", str(file.parents[1]), *words], monkeypatch, capsys)
    assert all(fact in err for fact in (str(file), "solver=rk4", "rename"))


def test_the_projects_own_folder_may_be_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        sys, "argv", ["node-run", "--config-dir", str(CONF), "--cfg", "job", "solver=rk4"]
    )
    assert cli.main() == 0
    assert capsys.readouterr().err == ""
