"""Faults of configuration and usage: each is one line on stderr and exit code 2."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from node_repro import cli

CONF = Path(__file__).parents[1] / "conf"


def choices(group: str) -> str:
    """As a message lists them."""
    return ", ".join(sorted(file.stem for file in (CONF / group).glob("*.yaml")))


FAULTS = [
    # a name that is not there
    (
        ["solver=dopri6"],
        rf"unknown solver 'dopri6'; did you mean solver=dopri5\?.*{choices('solver')}",
    ),
    (["experiment=x"], r"unknown experiment 'x'.*table1_odenet"),
    (["experiment=table1_odnet"], r"did you mean experiment=table1_odenet\?"),
    (["model=resnt"], r"did you mean model=resnet\?"),
    (["solver=null"], r"unknown solver 'null'"),
    (["solver=[dopri5,rk4]"], r"unknown solver"),
    (["solvr=dopri5"], r"unknown key 'solvr'; did you mean 'solver'\?"),
    (["-m", "solver=dopri5,dopri6"], r"unknown solver 'dopri6'"),
    (["--config-name", "nothing"], r"nothing"),
    (["--config-dir", "/not/there"], r"/not/there"),
    # a key that is not there
    (["solver.rotl=3"], r"unknown key 'solver.rotl'; did you mean 'rtol'\?"),
    (["+solver.rotl=3"], r"unknown key 'solver.rotl'; did you mean 'rtol'\?"),
    (["+typo=1"], r"unknown key 'typo'"),
    (["++x=1"], r"unknown key 'x'"),
    (["--cfg", "job", "+typo=1"], r"unknown key 'typo'"),
    (["trainer={epochs: 3, foo: 2}"], r"unknown key 'trainer.foo'"),
    (["+trainer.foo=2"], r"unknown key 'trainer.foo'"),
    (["trainer=3"], r"unknown key 'trainer'"),
    (["lr=0.1"], r"did you mean 'optimizer.lr'\?"),
    (["epochs=3"], r"did you mean 'trainer.epochs'\?"),
    (["batch_size=3"], r"did you mean 'trainer.batch_size'\?"),
    (["model@foo=mlp"], r"unknown key 'model@foo'"),
    (["~seed"], r"'~seed'"),
    (["~solver"], r"'~solver'"),
    (["~solver.max_steps"], r"nothing can be taken away"),
    (["+seed=1"], r"the key exists"),
    (["++seed=1"], r"the key exists"),
    (["+model=mlp"], r"write it without '\+'"),
    # a job without what it is about
    (["job=trian"], r"job=trian must be one of train, probe, report, compare"),
    (["job=compare"], r"needs two runs or more"),
    (["job=compare", "runs=[a]"], r"needs two runs or more"),
    (["runs=[a,b]"], r"job=train reads no runs="),
    (["job=compare", "runs=a"], r"runs=a must be a list"),
    (["job=probe"], r"job=probe and probe=... need each other"),
    (
        ["job=probe", "probe=memory", "experiment=table1_odenet", "probe.steps=[]"],
        r"probe.steps=\[\] must be a list of at least 1, each a whole number >= 1",
    ),
    # a key of another choice
    (["solver=dopri5", "controller.step_size=0.1"], r"step_size.*belongs to controller=constant"),
    (["+controller.step_size=0.1"], r"controller=integral has no key.*controller=constant"),
    (["solver.step_size=0.1"], r"'controller.step_size'\? It belongs to controller=constant"),
    (["step_size=0.1"], r"belongs to controller=constant"),
    (["model=mlp", "model.stem=conv"], r"belongs to model=odenet or model=resnet"),
    (["solver.method=x"], rf"choose another solver: {choices('solver')}"),
    (["gradient.norm=semi"], rf"choose another gradient: {choices('gradient')}"),
    (["model._target_=os.system"], r"choose another model"),
    # a wrong value
    (["rtol=abc"], r"rtol=abc must be a number >= 0"),
    (["rtol=true"], r"rtol=true must be a number"),
    (["rtol=null"], r"rtol=null must be a number"),
    (["rtol=-1"], r"rtol=-1 must be"),
    (["rtol=nan"], r"rtol=nan must be"),
    (["rtol=inf"], r"rtol=inf must be"),
    (["rtol=[1,2]"], r"rtol=\[1, 2\] must be"),
    (["rtol=0"], r"rtol and atol are both zero"),
    (["rtol=1e-9"], r"at least 4.77e-07, or use precision=float64"),
    (["rtol=1e-17", "precision=float64"], r"at least 8.88e-16"),
    (["rtol=0", "atol=1e-9"], r"atol=1e-09 is below.*4.77e-07"),
    (["gradient.rtol=1e-9"], r"gradient.rtol=1e-09 is below"),
    (["atol=-1"], r"atol=-1 must be"),
    (["seed=-1"], r"seed=-1 must be a whole number >= 0"),
    (["seed=true"], r"seed=true must be a whole number"),
    (["seed=1e3"], r"seed=1000.0 must be a whole number"),
    (["trainer.epochs=1.5"], r"trainer.epochs=1.5 must be a whole number >= 1"),
    (["trainer.epochs=null"], r"trainer.epochs=null must be"),
    (["trainer.batch_size=0"], r"trainer.batch_size=0 must be a whole number >= 1"),
    (["trainer.batch_size=-4"], r"trainer.batch_size=-4 must be"),
    (["device=gpu"], r"device=gpu must be one of auto, cpu, cuda"),
    (["deterministic=1"], r"deterministic=1 must be true or false"),
    (["deterministic=maybe"], r"must be true or false"),
    (["model.channels=48"], r"at most 32 or a multiple of it"),
    (["model.stem=wide"], r"one of residual, conv"),
    (["schedule=step", "schedule.milestones=0.5"], r"must be a list"),
    (["schedule=step", "schedule.milestones=[0.5,0.2]"], r"they must increase"),
    (["schedule=step", "schedule.milestones=[0.5,1.5]"], r"each a number > 0 and < 1"),
    # no value, or one that cannot be worked out
    (["rtol="], r"rtol= has no value; allowed: a number >= 0"),
    (["solver="], r"solver= has no value; allowed: adaptive_heun"),
    (["name="], r"name= has no value"),
    (["atol=${atol}"], r"atol: Recursive interpolation"),
    (["rtol=${atol}", "atol=${rtol}"], r"Recursive interpolation"),
    (["atol=${nope}"], r"atol: Interpolation key 'nope' not found"),
    (["atol=${nope:1}"], r"Unsupported interpolation type nope"),
    (["seed=???"], r"seed has no value|cannot read|must be a whole number"),
    # quoting
    (["data.root=/tmp/a=b"], r"'data.root=\"/tmp/a=b\"'"),
    (["data.root=/tmp/ü"], r"'data.root=\"/tmp/ü\"'"),
    (["rtol=[1"], r"cannot read 'rtol=\[1'"),
    (["name=a,b"], r"add -m.*'name=\"a,b\"'"),
    (["name=a b"], r"names a folder"),
    (['name="a=b"'], r"names a folder"),
    (["name=../x"], r"names a folder"),
    (["name=" + 101 * "x"], r"at most 100"),
    # usage
    (["mnist"], r"'mnist' has no '='.*task=mnist or data=mnist"),
    (["dopri5"], r"did you mean solver=dopri5\?"),
    (["-m"], r"-m runs one job for each value"),
    (["--foo"], r"unrecognized arguments: --foo"),
    (["--cfg", "nothing"], r"invalid choice: 'nothing'"),
    (["--resolve"], r"--resolve"),
    # things that do not go together
    (["solver=rk4", "controller=pi"], r"controller=pi needs an error estimate.*solver=rk4"),
    (["solver=euler", "controller=integral"], r"use controller=constant or another solver"),
    (["data.root=/x", "profile=smoke"], r"data.source=embedded .*remove data.root=, or add"),
    (["threads=100000"], r"threads=100000 must be auto or a whole number >= 1 and <= 1024"),
    (["threads=many"], r"threads=many must be auto or a whole number"),
    (["threads=0"], r"threads=0 must be auto or a whole number >= 1"),
    (["solver=rk4", "rtol=1e-3"], r"controller=constant controls no error: remove rtol="),
    (["model=mlp", "solver=dopri5"], r"model=mlp solves no ODE: remove solver="),
    (["model=resnet", "gradient=direct"], r"model=resnet solves no ODE: remove gradient="),
    (["model=stem_only", "rtol=1e-4"], r"model=stem_only solves no ODE: remove rtol="),
    (["model=mlp", "solver.max_steps=3"], r"remove solver.max_steps="),
    (["experiment=table1_rknet", "model=mlp"], r"gradient= \(asked for by experiment=table1_rknet"),
    (["profile=smoke", "trainer.epochs=2"], r"add trainer.iterations=null"),
    (["profile=smoke", "trainer={epochs: 2}"], r"add trainer.iterations=null"),
    (
        ["data=u1"],
        r"takes data of the kind 'images'.*data=fashion_mnist or data=mnist",
    ),
    (
        ["task=cnf", "data=u1"],
        r"kind 'density'.*data=u1 is of the kind 'energy'.*=two_moons",
    ),
    (["task=cnf", "model=mlp"], r"model of the kind 'flow'.*model=mlp is of the kind 'classifier'"),
    (["task=cnf", "trainer.iterations=null"], r"trainer.epochs=null must be a whole number >= 1"),
    (["task=cnf", "data.limit=3"], r"no key 'data.limit'|belongs to data=fashion_mnist"),
    (["task=cnf", "model=planar_flow", "rtol=1e-3"], r"model=planar_flow solves no ODE"),
    (
        ["experiment=fig5_moons_nf", "solver=rk4"],
        r"planar_flow solves no ODE: remove solver=",
    ),
    (["data=fashion_mnist", "profile=smoke"], r"no embedded images"),
    # a backward solve that cannot be
    (["gradient.solver=dopri6"], r"unknown gradient.solver 'dopri6'.*did you mean .*dopri5"),
    (["gradient.controller=pid"], r"unknown gradient.controller 'pid'.*There are: constant, "),
    (["gradient=direct", "gradient.solver=rk4"], r"gradient.solver.*belongs to gradient=adjoint"),
    (["gradient.step_size=0.1"], r"step_size=0.1 is for steps of one size.*dopri5 has.*integral"),
    (
        ["solver=rk4", "gradient.solver=dopri5", "gradient.step_size=0.1"],
        r"add gradient.controller",
    ),
    (["solver=lsoda", "gradient.step_size=0.1"], r"backward solve by lsoda has the controller own"),
    (["gradient.solver=rk4", "gradient.step_size=0"], r"gradient.step_size=0 must be a number > 0"),
    (
        ["gradient.solver=rk4", "gradient.controller=pi"],
        r"gradient.controller=pi needs an error estimate, which gradient.solver=rk4 has not",
    ),
    (["gradient.solver=lsoda", "gradient.controller=pi"], r"remove gradient.controller="),
    (["gradient.controller=own"], r"gradient.solver=dopri5 has no steps of its own control"),
    (["gradient.max_steps=0"], r"gradient.max_steps=0 must be a whole number >= 1"),
    # what nothing would read
    (["solver=rk4", "gradient.rtol=1e-6"], r"steps of one size.*remove gradient.rtol=, or choose"),
    (["gradient.solver=rk4", "gradient.atol=1e-6"], r"remove gradient.atol="),
    (["gradient.controller=constant", "gradient.rtol=1e-6"], r"remove gradient.rtol="),
    (["solver=rk4", "gradient.solver=dopri5", "rtol=1e-6"], r"gradient.rtol is for an adjoint's"),
    (["solver=rk4", "gradient=adjoint_seminorm"], r"steps of one size, which judge none"),
    (["gradient=adjoint_flat", "gradient.solver=euler"], r"judge none: remove gradient="),
    (["solver=lsoda", "gradient=adjoint_flat"], r"LSODA judges every element"),
    (["task=poisson", "task.mark_sd=1"], r"data=poisson_events has no marks.*remove task.mark_sd="),
    (["experiment=table2_rnn_30", "task.kl_warmup=9"], r"model=rnn has no posterior"),
    (["task=line", "trainer.eval_batch_size=9"], r"task=line evaluates all examples at once"),
    (["experiment=demo_field_fit", "trainer.eval_batch_size=9"], r"task=field_fit evaluates all"),
    (["task=field_fit", "data.seed=1"], r"data=cubic_spiral draws nothing but noise"),
    (["profile=smoke", "data.download=false"], r"reads no files: remove data.download="),
    (["schedule=step", "schedule.milestones=[]", "schedule.factor=0.5"], r"the rate never falls"),
    (["profile.mnist.epochs=2"], r"unknown key.*did you mean 'trainer.epochs'"),
    (["budget.quick.epochs=2"], r"unknown key.*did you mean 'trainer.epochs'"),
    (["job=report", "seed=1"], r"job=report reads profile=, outputs=, debug= alone: remove seed="),
    (["job=compare", "runs=[a,b]", "rtol=1e-5"], r"job=compare reads runs=, debug= alone"),
    (
        ["job=probe", "probe=memory", "runs=[a]", "experiment=table1_odenet"],
        r"job=probe with runs= reads .*probe=, device=.*remove experiment=",
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


@pytest.mark.parametrize(("words", "reason"), FAULTS, ids=[" ".join(words) for words, _ in FAULTS])
def test_fault_is_one_line_that_names_the_key(
    words: list[str],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    err = fault(words, monkeypatch, capsys)
    assert re.search(reason, err), err


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("# @package _global_\nrtol: [1\n", r"malformed yaml in .*mine.yaml, line 3"),
        ("# @package _global_\na: 1\n  b: 2\n", r"malformed yaml in .*mine.yaml, line 3"),
        ("# @package _global_\nrotl: 1\n", r"unknown key 'rotl'; did you mean 'rtol'"),
        ("# @package _global_\ndefaults:\n  - override /solver: nope\n", r"solver/nope"),
        ("# @package _global_\ncontroller: {step_size: 1.0}\n", r"belongs to controller=constant"),
        ("# @package _global_\ndefaults:\n  - override /model: mlp\nrtol: 1e-4\n", r"no ODE"),
        ("# @package _global_\nrtol: fast\n", r"rtol=fast must be a number"),
        (
            "# @package _global_\ndefaults:\n  - override /solver: rk4\nrtol: 1e-4\n",
            r"controls no error: remove rtol= \(asked for by experiment=mine\)",
        ),
    ],
)
def test_fault_in_a_users_own_yaml_is_one_line(
    content: str,
    reason: str,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path_factory.mktemp("mine")
    (folder / "experiment").mkdir()
    (folder / "experiment" / "mine.yaml").write_text(content)
    err = fault(["--config-dir", str(folder), "experiment=mine"], monkeypatch, capsys)
    assert re.search(reason, err), err
