"""`RunResult`: the content of a run's result.json, typed."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from node_repro.runs.json_values import encode, restore
from node_repro.runs.metrics import get_metric, shown_scores

SCHEMA = 1
"""Version of the file's layout. Files without a version have the layout of version 1."""

Which = Literal["selected", "last"]


@dataclass(frozen=True)
class ModelResult:
    """Scores of one model of a run: the last one, or the one selected by its validation score.

    Attributes:
        step: Training iterations done.
        test: Scores on the test set, by metric.
        test_standard_error: Standard error of the selection metric on the test set; None for
            a metric that is not a mean over examples.
        validation_score: The selection metric on the validation set; None for the last model.
    """

    step: int
    test: Mapping[str, float]
    test_standard_error: float | None = None
    validation_score: float | None = None


@dataclass(frozen=True)
class TimeEstimate:
    """Estimated and measured training time of the process that finished a run.

    Attributes:
        iterations: Iterations done by this process.
        first: First estimate of their time, in seconds.
        last: Last estimate, in seconds.
        taken: Measured time, in seconds.
    """

    iterations: int
    first: float
    last: float
    taken: float


@dataclass(frozen=True)
class EngineUse:
    """The engine that ran the solves of a training.

    Attributes:
        name: Name of the choice in conf/engine.
        reason: Why engine=auto chose it; empty if it was configured.
        eager_seconds, compiled_seconds: Time of a training iteration, where it was measured.
        graphs: Graphs compiled by the process that finished the run.
        compile_seconds: Time that this took.
    """

    name: str
    reason: str
    eager_seconds: float | None
    compiled_seconds: float | None
    graphs: int
    compile_seconds: float


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """Result of a finished run.

    Attributes:
        task, model, experiment: Names of the choices; experiment is None for a run without one.
        data: Name of the data set, which distinguishes full from embedded digits.
        data_notice: A limitation of the data that the report must mention, or None.
        data_facts: Facts recorded by the data set: checksums, entropies, ...
        test_count: Examples in the test set.
        profile, seed, device, processes, threads, version, signature: Settings of the run.
        parameters: Number of trained parameters.
        iterations, epochs: Length of the training; epochs is None for infinite data.
        training: Means over the last epoch, by metric, and `seconds`, the time of the training.
        estimate: Time estimates; None if the run was too short for one.
        selection_metric: The metric that selects a model; lower is better.
        last, selected: The two models that were tested.
        diagnostics: Numbers about the selected model that the task computed, possibly nested.
        engine: The engine; None for a run whose solves have none, or of an earlier version.
    """

    task: str = ""
    model: str = ""
    experiment: str | None = None
    data: str
    data_notice: str | None = None
    data_facts: Mapping[str, Any] = field(default_factory=dict)
    test_count: int
    profile: str
    seed: int
    device: str
    processes: int = 1
    threads: int | None = None
    version: str = ""
    signature: str = ""
    parameters: int
    iterations: int
    epochs: float | None = None
    training: Mapping[str, float]
    estimate: TimeEstimate | None = None
    selection_metric: str = ""
    last: ModelResult
    selected: ModelResult
    diagnostics: Mapping[str, Any] = field(default_factory=dict)
    engine: EngineUse | None = None

    @property
    def models(self) -> Mapping[Which, ModelResult]:
        """The tested models by name."""
        return {"last": self.last, "selected": self.selected}

    @property
    def training_seconds(self) -> float | None:
        """Time of training and evaluations, summed over restarts."""
        return self.training.get("seconds")

    def summary(self) -> str:
        """The test scores of the two models, one line each, and the notice on the data."""
        lines = []
        for name, model in self.models.items():
            first = self.selection_metric
            shown = {first: model.test[first]} | shown_scores(model.test)
            scores = ", ".join(
                f"{get_metric(key).label} "
                + get_metric(key).format(value, model.test_standard_error if key == first else None)
                for key, value in shown.items()
            )
            lines.append(
                f"{name:<10} test {scores} (iteration {model.step}, {self.test_count:,} examples "
                f"of {self.data})"
            )
        if self.data_notice:
            lines.append(f"notice     {self.data_notice}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The content of result.json, keys in order. NaN and infinities are strings."""
        content: dict[str, Any] = {}
        for name in RunResult.__dataclass_fields__:
            value = getattr(self, name)
            if name == "data_facts":
                content |= {f"data_{fact}": item for fact, item in value.items()}
            elif isinstance(value, ModelResult):
                content[name] = _model_to_json(value, self.selection_metric)
            else:
                content[_KEYS.get(name, name)] = (
                    asdict(value) if isinstance(value, TimeEstimate | EngineUse) else value
                )
        return {key: encode(value) for key, value in content.items()} | {"schema": SCHEMA}

    @classmethod
    def from_json(cls, content: object) -> "RunResult":
        """The inverse of `to_json`; `content` is the parsed result.json.

        Raises:
            ValueError: The content is not a result, lacks a field, has a value of the wrong type or
                was written by a later version of this program.
        """
        content = restore(content)
        if not isinstance(content, dict):
            raise ValueError("it is not a JSON object")
        if (schema := content.get("schema", SCHEMA)) != SCHEMA:
            raise ValueError(f"its schema is {schema!r}, but this program reads schema {SCHEMA}")
        _refuse_unless_complete(content)
        facts = {
            key.removeprefix("data_"): value
            for key, value in content.items()
            if key.startswith("data_") and key != "data_notice"
        }
        values: dict[str, Any] = {
            name: content[_KEYS.get(name, name)]
            for name in cls.__dataclass_fields__
            if _KEYS.get(name, name) in content
        }
        metric = str(content.get("selected_by", ""))
        values |= {name: _model_from_json(content[name], metric) for name in ("last", "selected")}
        if values.get("estimate") is not None:
            values["estimate"] = TimeEstimate(**values["estimate"])
        if values.get("engine") is not None:
            values["engine"] = EngineUse(**values["engine"])
        values["data_facts"] = facts
        return cls(**values)

    @classmethod
    def read(cls, path: Path) -> "RunResult":
        """Read a result.json. Raises OSError, or ValueError like `from_json`."""
        return cls.from_json(json.loads(path.read_bytes()))


_KEYS = {
    "estimate": "estimate_seconds",
    "selection_metric": "selected_by",
    "diagnostics": "findings",
}
"""Attributes whose key in the file differs from their name."""

_REQUIRED: Mapping[str, type | tuple[type, ...]] = {
    "profile": str,
    "seed": int,
    "data": str,
    "device": str,
    "iterations": int,
    "parameters": int,
    "test_count": int,
    "training": dict,
}


def _refuse_unless_complete(content: Mapping[str, Any]) -> None:
    missing = [name for name in _REQUIRED if name not in content]
    for name in ("last", "selected"):
        scores = content.get(name)
        if not isinstance(scores, dict) or not isinstance(scores.get("test"), dict):
            missing.append(f"{name}.test")
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}")
    for name, kind in _REQUIRED.items():
        if not isinstance(content[name], kind):
            raise ValueError(f"{name} is {content[name]!r}")
    for name in ("estimate_seconds", "engine"):
        if not isinstance(content.get(name), dict | None):
            raise ValueError(f"{name} is {content[name]!r}")


def _model_to_json(model: ModelResult, metric: str) -> dict[str, Any]:
    content = {
        "step": model.step,
        "test": model.test,
        "test_standard_error": model.test_standard_error,
    }
    if model.validation_score is not None:
        content[f"validation_{metric}"] = model.validation_score
    return content


def _model_from_json(content: Mapping[str, Any], metric: str) -> ModelResult:
    return ModelResult(
        step=content.get("step", 0),
        test=content["test"],
        test_standard_error=content.get("test_standard_error"),
        validation_score=content.get(f"validation_{metric}"),
    )
