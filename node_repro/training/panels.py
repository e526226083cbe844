"""What a run shows in TensorBoard: curves, distributions, pictures, texts, its row in HPARAMS."""

from collections.abc import Mapping, Sequence

from node_repro.config import Config
from node_repro.config.options import COMPONENTS
from node_repro.config.signature import plain, signed_keys
from node_repro.runs.dashboard import Dashboard, code, flat, table
from node_repro.runs.metrics import read_metrics
from node_repro.runs.result import RunResult
from node_repro.runs.run_directory import RunDirectory
from node_repro.runs.summary import summary, told_scores

_OF_THE_SEED = {"seed": int, "device": str}
"""Keys without effect on the signature that tell runs apart all the same."""


class Panels:
    """The dashboard of a run that is at iteration `start`."""

    def __init__(self, config: Config, directory: RunDirectory, start: int) -> None:
        """Says what is run. Raises OutputError, as everything here that writes."""
        earlier = read_metrics(directory.path / "metrics.jsonl") if directory.resumed else ()
        purge_step = start + 1 if directory.resumed else None
        self._dashboard = Dashboard(directory.path, purge_step, earlier)
        self._nfe: list[float] = []
        configuration = plain(config)
        commands = (directory.path / "command.txt").read_text(encoding="utf-8")
        self._dashboard.text("run/command", start, code(commands))
        self._dashboard.text("run/configuration", start, table(configuration))
        keys, values = _keys(), flat(configuration)
        row = {key: value for key, value in values.items() if key in keys}
        self._dashboard.started(start, row, keys)

    def log(self, split: str, step: int, metrics: Mapping[str, float]) -> None:
        """One line of metrics.jsonl; with an epoch comes the distribution of its NFE."""
        self._dashboard.scalars(split, step, metrics)
        if split == "train" and "nfe_forward" in metrics:
            self._nfe.append(metrics["nfe_forward"])
        if split == "epoch":
            meaning = "NFE forward in the lines logged since the last evaluation"
            self._dashboard.histogram("solver/nfe_forward", step, self._nfe, meaning)
            self._nfe = []

    def steps(self, step: int, sizes: Sequence[float]) -> None:
        """The accepted steps |h| of a solve."""
        meaning = "accepted steps |h| of the last batch of an evaluation"
        self._dashboard.histogram("solver/h", step, sizes, meaning)

    def picture(self, file: str, step: int, content: bytes) -> None:
        """A file of the run's pictures, if TensorBoard can show it."""
        name, _, kind = file.rpartition(".")
        if kind in ("png", "gif"):
            self._dashboard.image(f"pictures/{name}", step, content)

    def result(self, result: RunResult) -> None:
        """The final numbers, as scalars, in words and in the run's row."""
        step = result.iterations
        for name, model in result.models.items():
            self._dashboard.scalars(f"test/{name}", step, told_scores(model.test))
        cost: dict[str, float] = {"parameters": result.parameters}
        if result.training_seconds is not None:
            cost["training_seconds"] = result.training_seconds
        self._dashboard.scalars("final", step, cost)
        values = flat(result.to_json())
        told = {key: value for key, value in values.items() if not isinstance(value, list)}
        self._dashboard.text("run/result", step, f"{code(summary(result))}\n\n{table(told)}")
        self._dashboard.finished()

    def close(self) -> None:
        """Closes the event file; closing twice is harmless."""
        self._dashboard.close()


def _keys() -> dict[str, type]:
    """Every key in which results of different runs may differ, with the type of its values."""
    keys: dict[str, type] = {"experiment": str, "profile": str}
    keys |= {f"{group}.choice": str for group in (*COMPONENTS, "solver")}
    return keys | dict(_OF_THE_SEED) | signed_keys()
