"""The declared options, the yaml files, and the typed configuration made from both."""

import importlib
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from node_repro.config import Component, ConfigError, ObjectPath
from node_repro.config.choices import Choices, conf_folder, load, nearest
from node_repro.config.components import (
    controls_error,
    fits_task,
    is_reversible,
    load_solver,
    options_of,
    section,
)
from node_repro.config.components import load as load_component
from node_repro.config.compose import compose
from node_repro.config.option import Option
from node_repro.config.options import COMPONENTS, GROUPS, root_options
from node_repro.config.overrides import literal, quoted, unquoted
from node_repro.config.signature import (
    LEFT_OUT,
    harmless,
    plain,
    run_path,
    semantic,
    signature,
    signed_keys,
)
from node_repro.runs.json_values import flatten

CHOICES = Choices([conf_folder()])
EVERY_CHOICE = [(group, name) for group in GROUPS for name in CHOICES.names(group)]
WITH_TARGET = (*COMPONENTS, "probe")
OF_A_CLASS = [pair for pair in EVERY_CHOICE if pair[0] in (*WITH_TARGET, "solver")]
GLOBAL = ("task", "experiment")  # their yaml files lie at the root of the configuration


def found(path: str) -> Any:  # noqa: ANN401
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def company(group: str, name: str) -> list[str]:
    """What else must be chosen for a choice to fit, as overrides."""
    fitting = {
        ("controller", "constant"): ["controller=constant"],
        ("controller", "own"): ["solver=lsoda"],
        ("gradient", "reversible"): ["solver=reversible_dopri5"],
    }
    if group == "probe":
        return ["job=probe"]
    if (group, name) in fitting:
        return fitting[group, name]
    if group not in ("data", "model"):
        return []
    target = section(CHOICES, group, name)["_target_"]
    tasks = {task: section(CHOICES, "task", task)["_target_"] for task in CHOICES.names("task")}
    return [f"task={next(task for task in tasks if fits_task(group, target, tasks[task]))}"]


def test_every_group_has_a_folder_and_every_folder_is_a_group() -> None:
    folders = {path.name for path in conf_folder().iterdir() if path.is_dir()}
    assert folders | {"experiment"} == set(GROUPS)


@pytest.mark.parametrize(("group", "name"), OF_A_CLASS)
def test_every_key_of_a_choice_is_a_documented_option_of_its_class(group: str, name: str) -> None:
    options = options_of(CHOICES, group, name)
    keys = {f"{group}.{key}" for key in section(CHOICES, group, name) if not key.startswith("_")}
    assert options.keys() == keys
    for option in options.values():
        assert option.dotted or (option.summary and not option.free), option


@pytest.mark.parametrize(("group", "name"), [c for c in EVERY_CHOICE if c[0] in GLOBAL])
def test_every_key_of_a_task_and_of_an_experiment_is_an_option(group: str, name: str) -> None:
    for key in CHOICES.keys(group, name):
        assert key in root_options() or CHOICES.owners(key), key


@pytest.mark.parametrize("name", CHOICES.names("experiment"))
def test_every_experiment_says_what_it_is_for(name: str) -> None:  # test_pinned composes it
    assert CHOICES.comment("experiment", name)


@pytest.mark.parametrize(("group", "name"), [one for one in EVERY_CHOICE if one[0] != "experiment"])
def test_every_choice_says_what_it_is_and_composes(group: str, name: str) -> None:
    assert CHOICES.comment(group, name)
    config = compose([f"{group}={name}", *company(group, name)])
    if group in ("solver", "controller", "gradient", "engine"):
        assert config.ode is not None
        assert getattr(config.ode, group).name == name
    elif group in WITH_TARGET:
        assert getattr(config, group).name == name
    else:
        assert getattr(config, group) == name


@pytest.mark.parametrize("name", CHOICES.names("solver"))
def test_what_is_read_from_the_source_of_a_solver_is_true(name: str) -> None:
    solver = load_solver(CHOICES, name)
    assert (solver.method is None) != (solver.target is None)
    if solver.method is not None:
        method = found(solver.method)
        assert method.adaptive is solver.adaptive
        assert is_reversible(solver.method) is hasattr(method, "unstep")


@pytest.mark.parametrize("name", CHOICES.names("controller"))
def test_every_controller_but_the_constant_one_controls_errors(name: str) -> None:
    assert controls_error(load_component(CHOICES, "controller", name)) is (name != "constant")


def test_the_keys_of_config_yaml_are_the_declared_ones() -> None:
    content = load(conf_folder() / "config.yaml")
    keys = set(flatten(content)) - {"defaults"}
    assert {key for key in keys if not key.startswith("hydra.")} == root_options().keys()


def test_values_below_the_door_are_plain() -> None:
    config = compose(["schedule=step", "rtol=1", "data.root=/a"])
    assert config.ode is not None
    assert type(config.ode.rtol) is float
    assert type(config.trainer.checkpoint_seconds) is float
    assert config.schedule.options["milestones"] == (0.375, 0.625, 0.875)
    assert type(config.data.options) is dict
    assert all(
        type(value) in (str, bool, int, type(None)) for value in config.data.options.values()
    )


def test_a_component_has_the_options_of_its_class() -> None:
    config = compose([])
    assert config.ode is not None
    assert config.model == Component(
        "odenet",
        "node_repro.models.odenet.ODENet",
        {"stem": "residual", "channels": 64, "activation": "relu", "augment": 0},
    )
    assert set(config.ode.controller.options) == {
        "safety",
        "factor_min",
        "factor_max",
        "first_step",
    }


def test_atol_and_the_adjoints_tolerances_follow_rtol_unless_given() -> None:
    followed = compose(["rtol=1e-5"]).ode
    given = compose(["rtol=1e-5", "atol=1e-6", "gradient.rtol=1e-4"]).ode
    assert followed is not None and given is not None
    assert (followed.atol, followed.gradient.options["rtol"]) == (1e-5, 1e-5)
    assert (given.atol, given.gradient.options["rtol"]) == (1e-6, 1e-4)
    assert given.gradient.options["atol"] == 1e-6


@pytest.mark.parametrize("model", ["mlp", "resnet", "stem_only"])
def test_model_without_an_ode_has_no_solver(model: str) -> None:
    assert compose([f"model={model}"]).ode is None


def test_fixed_step_solver_brings_the_constant_controller() -> None:
    fixed, adaptive = compose(["solver=rk4"]).ode, compose(["solver=tsit5"]).ode
    assert fixed is not None and adaptive is not None
    assert fixed.controller.name == "constant"
    assert adaptive.controller.name == "integral"


def test_adaptive_method_may_take_constant_steps() -> None:
    ode = compose(["solver=dopri5", "controller=constant", "controller.step_size=0.05"]).ode
    assert ode is not None
    assert ode.controller.options == {"step_size": 0.05}
    assert ode.solver.adaptive and not ode.error_controlled


def test_profile_says_how_much_work_and_the_command_line_has_the_last_word() -> None:
    smoke, paper = compose(["profile=smoke"]), compose(["profile=paper"])
    assert (smoke.trainer.iterations, smoke.data.options["limit"]) == (4, 512)
    assert smoke.data.options["source"] == "embedded"
    assert (paper.trainer.epochs, paper.schedule.name) == (160, "step")
    assert compose(["profile=paper", "schedule=cosine"]).schedule.name == "cosine"
    assert compose(["profile=smoke", "trainer.iterations=7"]).trainer.iterations == 7
    assert compose(["profile=smoke", "data.source=full"]).data.options["source"] == "full"


@pytest.mark.parametrize(
    ("experiment", "model", "gradient", "blocks"),
    [
        ("table1_mlp", "mlp", None, None),
        ("table1_resnet", "resnet", None, 6),
        ("table1_resnet1", "resnet", None, 1),
        ("table1_stem_only", "stem_only", None, None),
        ("table1_rknet", "odenet", "direct", None),
        ("table1_odenet", "odenet", "adjoint", None),
    ],
)
def test_experiment_chooses_the_row(
    experiment: str, model: str, gradient: str | None, blocks: int | None
) -> None:
    config = compose([f"experiment={experiment}"])
    assert config.model.name == model
    assert (config.ode.gradient.name if config.ode else None) == gradient
    assert config.model.options.get("blocks") == blocks


def test_experiment_yields_to_the_command_line() -> None:
    config = compose(["experiment=table1_odenet", "gradient=checkpointed", "solver=rk4"])
    assert config.ode is not None
    assert (config.ode.gradient.name, config.ode.solver.name) == ("checkpointed", "rk4")


def test_path_holds_name_profile_data_signature_and_seed() -> None:
    config = compose(["seed=3"])
    mark = signature(config, "mnist")
    assert run_path(config, "mnist") == Path(f"outputs/mnist_odenet/quick-mnist-{mark}/seed3")
    config = compose(["experiment=table1_rknet", "outputs=/o"])
    assert run_path(config, "mnist").parent.parent == Path("/o/table1_rknet")
    assert run_path(compose(["name=mine"]), "mnist") == Path("outputs/mine/seed0")


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "device=cpu",
        "outputs=/tmp/o",
        "name=other",
        "progress=off",
        "debug=true",
        "threads=1",
        "engine=eager",
        "engine=compiled",
        "trainer.checkpoint_seconds=1",
        "trainer.log_every=1",
        "data.root=/tmp/d",
        "data.download=false",
        "data.source=full",
        "experiment=table1_odenet",
        "atol=0.001",
        "gradient=adjoint",
    ],
)
def test_signature_ignores_what_does_not_change_results(override: str) -> None:
    assert signature(compose([override]), "mnist") == signature(compose([]), "mnist")


@pytest.mark.parametrize(
    "override",
    [
        "model=resnet",
        "model.stem=conv",
        "solver=tsit5",
        "solver.max_steps=9",
        "controller=pi",
        "controller.safety=0.8",
        "gradient=direct",
        "gradient=adjoint_seminorm",
        "data=fashion_mnist",
        "data.limit=100",
        "optimizer.lr=0.2",
        "schedule=step",
        "trainer.epochs=4",
        "trainer.iterations=4",
        "trainer.batch_size=64",
        "trainer.clip=1",
        "precision=float64",
        "rtol=1e-4",
        "atol=1e-4",
        "deterministic=true",
        "task.crop_padding=0",
    ],
)
def test_signature_changes_with_what_changes_results(override: str) -> None:
    assert signature(compose([override]), "mnist") != signature(compose([]), "mnist")


@pytest.mark.parametrize(
    ("words", "key", "changed", "former"),
    [
        ("task=latent_ode model=rnn_dt", "model.rollout", "0.5", "0"),
        ("task=latent_ode", "task.noise_annealing", "9", "0"),
        ("task=poisson data=poisson_marked", "task.poisson_term", "false", "true"),
        ("task=poisson data=poisson_marked", "data.mark_sd", "2", "0.1"),
        ("", "trainer.clip", "1", "null"),
    ],
)
def test_a_later_option_is_signed_unless_it_keeps_the_former_behaviour(
    words: str, key: str, changed: str, former: str
) -> None:
    assert key in LEFT_OUT
    before, same, other = (
        signature(compose([*words.split(), *given]), "data")
        for given in ((), (f"{key}={former}",), (f"{key}={changed}",))
    )
    assert before == same != other


def test_signature_tells_the_embedded_digits_from_the_full_set() -> None:
    config = compose([])
    assert signature(config, "mnist") != signature(config, "mnist-embedded")
    assert len(signature(config, "mnist")) == 8


def test_epochs_do_not_count_where_iterations_decide() -> None:
    config = compose(["trainer.iterations=9"])
    longer = replace(config, trainer=replace(config.trainer, epochs=99))
    assert signature(config, "mnist") == signature(longer, "mnist")
    assert "trainer.epochs" not in semantic(config, "mnist")


def test_plain_configuration_has_the_keys_that_are_typed() -> None:
    content = plain(compose(["schedule=step", "rtol=1e-4"]))
    assert (content["rtol"], content["trainer"]["epochs"], content["profile"]) == (1e-4, 3, "quick")
    assert content["solver"]["choice"] == "dopri5"
    assert content["schedule"]["milestones"] == [0.375, 0.625, 0.875]
    typed = set(flatten(content)) - {f"{group}.choice" for group in GROUPS}
    assert typed <= root_options().keys() | {"profile", "experiment"} | {
        key for key in typed if CHOICES.owners(key)
    }
    assert "rtol" not in plain(compose(["model=mlp"]))


def test_harmless_keys_are_those_that_the_signature_leaves_out() -> None:
    config = compose([])
    everything = {key for key in flatten(plain(config)) if not key.endswith(".choice")}
    signed = {key for key in everything if not {key, key.partition(".")[0]} & harmless()}
    assert signed == semantic(config, "mnist").keys() - {"data"}
    signed = {key for key in semantic(config, "mnist") if "._" not in key} - {"data"}
    assert signed - {"solver.method", "gradient.norm"} <= signed_keys().keys()


NUMBER, COUNT = Option("x", value_type=float), Option("x", value_type=int)
SWITCH = Option("x", words=("on", "off"))
AUTO = Option("x", value_type=int, words=("auto",), limits=((">=", 1),))
NUMBERS = replace(NUMBER, many=True, least=1)


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        (replace(NUMBER, limits=((">=", 0),)), 1, 1.0),
        (replace(COUNT, nullable=True), None, None),
        (Option("x", value_type=bool), True, True),
        (NUMBERS, [1, 0.5], (1.0, 0.5)),
        (SWITCH, "on", "on"),
        (AUTO, "auto", "auto"),
        (AUTO, 3, 3),
        (Option("x", free=True), "any", "any"),
    ],
)
def test_option_returns_the_value_in_its_type(
    option: Option, value: object, expected: object
) -> None:
    result = option.check(value)
    assert result == expected and type(result) is type(expected)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        (replace(NUMBER, limits=((">", 0),)), 0),
        (replace(NUMBER, limits=(("<", 1),)), 1),
        (NUMBER, float("nan")),
        (NUMBER, True),
        (NUMBER, "1"),
        (COUNT, True),
        (COUNT, 1.0),
        (Option("x", value_type=bool), 1),
        (Option("x", value_type=str), " "),
        (SWITCH, True),
        (SWITCH, "up"),
        (AUTO, "many"),
        (AUTO, 0),
        (NUMBERS, ["a"]),
        (NUMBERS, []),
        (NUMBER, {"a": 1}),
        (Option("x", dotted=True), "SEMI"),
    ],
)
def test_option_refuses_other_values(option: Option, value: object) -> None:
    with pytest.raises(ConfigError, match=r"^x=.* must be"):
        option.check(value)


def test_only_an_option_that_is_an_object_is_read_as_a_dotted_path() -> None:
    path = "node_repro.ode.norm.SEMI"
    assert type(Option("x", dotted=True).check(path)) is ObjectPath
    assert type(Option("x", value_type=str).check(path)) is str


def test_nearest_name_may_be_in_another_section() -> None:
    assert nearest("solver.rotl", ["rtol", "solver.max_steps"]) == "rtol"
    assert nearest("zzz", ["rtol"]) is None


@pytest.mark.parametrize(
    "value",
    [
        *("out", "/a/b-c_0.1", "a b", "a,b", "a (1)", "x=[y]", "~/x", "it's", 'a"b', "é #$"),
        *("a\\", '\\"', "C:\\x", "a\\\\b", "1.5", "null", "True", "inf", " a "),
    ],
)
def test_hydra_reads_a_literal_as_the_text_that_it_is(value: str) -> None:
    override = OverridesParser.create().parse_override(literal("outputs", value))
    assert override.value() == value
    assert unquoted(literal("outputs", value).partition("=")[2]) == value
    (typed,) = shlex.split(quoted(f"outputs={value}"))
    assert OverridesParser.create().parse_override(typed).value() == value
