"""What is read from the source of classes, without importing them."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from node_repro.config import ConfigError, source
from node_repro.config.compose import compose
from node_repro.training.imports import report_mistakes

SAMPLE = '''
"""A module that cannot be imported."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Optional

import torch_that_is_not_there as torch
from annotated_types import Ge, Gt, Le, Lt, MinLen

if TYPE_CHECKING:
    from torch_that_is_not_there import Tensor

MOST = 2**3
Count = Annotated[int, Ge(1), Le(MOST)]


class Kind:
    """What a task takes."""


@dataclass
class Base:
    """A base.

    Args:
        rate: The rate,
            in units of time. More about it.
        mode: How to do it; None: as usual.
    """

    rate: Annotated[float, Gt(0), Lt(1e2)]
    mode: Literal["fast", "exact"] | None
    needs: ClassVar[str] = "steps"


@dataclass
class Derived(Base):
    """A class.

    Args:
        sizes: The sizes.
    """

    sizes: Annotated[Sequence[Count], MinLen(2)] = (1, 2)
    threads: Literal["auto"] | Annotated[int, Ge(1)] = "auto"
    weight: "float | Tensor" = 1.0
    text: Optional[str] = None
    norm: torch.nn.Module | None = None

    def load(self) -> "Kind": ...


class Explicit(Kind):
    """A class with a constructor.

    Args:
        width: Units of a layer.
    """

    def __init__(self, *, width: Count, plain=3, **rest: object) -> None:
        raise AssertionError("executed")

    def loss(self, model: Kind | None, batch: torch.Tensor) -> None: ...


MADE = Derived(rate=1.0, mode=None)
'''


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module in the working directory."""
    name = f"sample_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(SAMPLE)
    monkeypatch.chdir(tmp_path)
    return name


def test_options_are_those_of_the_annotations(sample: str) -> None:
    options = source.options(f"{sample}.Derived")
    assert list(options) == ["rate", "mode", "sizes", "threads", "weight", "text", "norm"]
    assert options["rate"].allowed == "a number > 0 and < 100"
    assert options["mode"].allowed == "one of fast, exact, or null"
    assert options["sizes"].allowed == "a list of at least 2, each a whole number >= 1 and <= 8"
    assert options["threads"].allowed == "auto or a whole number >= 1"
    assert options["weight"].allowed == "a number"
    assert options["text"].allowed == "a text, or null"
    assert options["norm"].dotted and options["norm"].nullable


def test_meanings_are_those_of_the_docstrings_of_a_class_and_its_bases(sample: str) -> None:
    options = source.options(f"{sample}.Derived")
    assert options["rate"].summary == "The rate, in units of time"
    assert options["mode"].summary == "How to do it; null: as usual"
    assert options["sizes"].summary == "The sizes"


def test_a_constructor_is_read_without_running_anything(sample: str) -> None:
    options = source.options(f"{sample}.Explicit")
    assert options["width"].summary == "Units of a layer"
    assert options["plain"].free
    assert sample not in sys.modules


def test_types_attributes_and_classes_of_variables(sample: str) -> None:
    kind = f"{sample}.Kind"
    assert source.types_of((source.method_types(f"{sample}.Derived", "load") or [])[-1]) == {kind}
    assert source.types_of((source.method_types(f"{sample}.Explicit", "loss") or [])[0]) == {kind}
    assert source.method_types(f"{sample}.Derived", "loss") is None
    explicit = source.require(f"{sample}.Explicit")
    assert [one.path for one in source.ancestors(explicit)] == [f"{sample}.Explicit", kind]
    assert source.attribute(f"{sample}.Derived", "needs") == "steps"
    assert source.variable_class(f"{sample}.MADE") == f"{sample}.Derived"
    assert source.constant(f"{sample}.MOST") == 8


@pytest.mark.parametrize(
    ("path", "facts"),
    [
        ("no_such_module.Task", ["no_such_module", "this directory"]),
        ("node_repro.tasks.mnist.Minst", ["node_repro.tasks.mnist", "Minst"]),
        ("Task", ["'Task'"]),
    ],
)
def test_a_class_that_does_not_exist_is_an_error(path: str, facts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        source.options(path)
    assert all(fact in str(caught.value) for fact in facts)


def test_reading_all_of_it_imports_no_torch() -> None:
    code = (
        "import sys; from node_repro.config.signature import signed_keys; signed_keys(); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


USERS = {
    "my_house.py": '''
"""A user's task, data and model."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from node_repro.tasks import Loss, Task


class Ramp:
    name, description, notice = "ramp", "a ramp", None
    facts: Mapping[str, object] = {}

    def __init__(self, points: int) -> None:
        self.x = torch.linspace(0, 1, points)[:, None]


@dataclass(frozen=True)
class RampSource:
    """A ramp.

    Args:
        points: Number of points.
    """

    points: Annotated[int, Ge(2)]

    def load(self) -> Ramp:
        return Ramp(self.points)


class Rise(nn.Module):
    """Something that rises."""


class Linear(Rise):
    """A line.

    Args:
        scale: Factor of the first slope.
    """

    def __init__(self, *, scale: Annotated[float, Gt(0)]) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(scale))

    def forward(self, x: Tensor) -> Tensor:
        return self.slope * x


class RampTask(Task[Rise, Tensor]):
    """Learns a ramp.

    Args:
        weight: Factor of the loss.
    """

    loss_metric = selection_metric = "rmse_noisy"

    def __init__(self, *, data: Ramp, weight: Annotated[float, Gt(0)], **settings) -> None:
        super().__init__(**settings)
        self.data, self.weight = data, weight

    def training_batch(self, step: int) -> Tensor:
        return self.data.x

    def evaluation_batches(self, split: str) -> Iterator[Tensor]:
        yield self.data.x

    def loss(self, model: Rise, batch: Tensor) -> Loss:
        loss = self.weight * (model(batch) - batch).square().mean()
        return Loss(loss, {})

    def scores(self, model: Rise, batch: Tensor) -> Mapping[str, Tensor]:
        return {"rmse_noisy": (model(batch) - batch).square().mean(1)}
''',
    "conf/data/ramp.yaml": "# A ramp.\n_target_: my_house.RampSource\npoints: 9\n",
    "conf/model/rise.yaml": "# A line.\n_target_: my_house.Linear\nscale: 2.0\n",
    "conf/task/ramp.yaml": """# @package _global_
# A ramp, learned.
defaults:
  - override /data: ramp
  - override /model: rise
  - override /optimizer: adam
  - override /schedule: constant

task:
  _target_: my_house.RampTask
  weight: 1.0

budget:
  smoke: {iterations: 3}
  quick: {iterations: 30}

trainer:
  epochs: null
  iterations: ${budget.${profile}.iterations}
  evaluate_every: 3
""",
}


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a user's own task, data and model, and their yaml files."""
    for name, content in USERS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_users_own_classes_are_options_and_checked(house: Path) -> None:
    config = compose(["task=ramp", "model.scale=3"], [house / "conf"])
    assert config.task.options == {"weight": 1.0}
    assert config.model.options == {"scale": 3.0}
    assert config.ode is None and config.trainer.iterations == 30
    for words, facts in (
        (["task=ramp", "model.scale=0"], ["model.scale=0", "> 0", "first slope"]),
        (["task=ramp", "data.points=1"], ["data.points=1", ">= 2"]),
        (["task=ramp", "model=mlp"], ["task=ramp", "model=rise"]),
        (["task=ramp", "task.weigth=1"], ["'task.weight'?"]),
        (["task=ramp", "profile=paper"], ["budget.paper"]),
    ):
        with pytest.raises(ConfigError) as caught:
            compose(words, [house / "conf"])
        assert all(fact in str(caught.value) for fact in facts), caught.value


def test_a_users_own_task_runs(house: Path) -> None:
    words = ["--config-dir", "conf", "task=ramp", "profile=smoke", "progress=off", "device=cpu"]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "node_repro.cli", *words],
        capture_output=True,
        text=True,
        env=None,
        cwd=house,
    )
    assert done.returncode == 0, done.stderr
    assert list((house / "outputs" / "ramp_rise").glob("smoke-ramp-*/seed0/result.json"))


def _fail_at_import(source: str) -> str:
    return source.replace("class Rise(", 'SIZE = int("many")\n\n\nclass Rise(')


def _fail_in_constructor(source: str) -> str:
    return source.replace("torch.tensor(scale)", "torch.tensor(scale) + [1]")


@pytest.mark.parametrize(
    ("spoil", "line", "facts"),
    [
        (_fail_at_import, 'SIZE = int("many")', ["my_house.RampSource", "ValueError", "'many'"]),
        (_fail_in_constructor, "+ [1]", ["my_house.Linear", "TypeError"]),
        (lambda source: "import my_cellar\n" + source, "my_cellar", ["ModuleNotFoundError"]),
    ],
)
def test_a_mistake_in_a_users_own_code_is_named_with_its_line(
    spoil: Callable[[str], str], line: str, facts: list[str], house: Path
) -> None:
    source = spoil(USERS["my_house.py"])
    (house / "my_house.py").write_text(source)
    number = next(i for i, one in enumerate(source.splitlines(), 1) if line in one)
    words = ["--config-dir", "conf", "task=ramp", "profile=smoke", "progress=off", "device=cpu"]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "node_repro.cli", *words],
        capture_output=True,
        text=True,
        cwd=house,
    )
    assert done.returncode == 2, done.stderr
    message = done.stderr.splitlines()[-1]
    assert all(fact in message for fact in ("cannot load", f"my_house.py, line {number}", *facts))


def test_a_mistake_inside_of_node_repro_stays_an_internal_error() -> None:
    for path in ("node_repro.tasks.Task", "node_repro_mine.Task"):
        expected = ValueError if path == "node_repro.tasks.Task" else ConfigError
        with pytest.raises(expected), report_mistakes(path):
            raise ValueError("oops")


def test_an_argument_that_the_class_does_not_have_is_named(house: Path) -> None:
    (house / "conf/model/rise.yaml").write_text("# A.\n_target_: my_house.Linear\nscale: 1\nx: 2\n")
    with pytest.raises(ConfigError, match=r"rise.*my_house\.Linear.*'x'.*scale"):
        compose(["task=ramp"], [house / "conf"])
