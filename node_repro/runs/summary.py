"""The result of a run in a few lines."""

from collections.abc import Mapping

from node_repro.runs.metrics import METRICS, told
from node_repro.runs.result import RunResult


def summary(result: RunResult) -> str:
    """One line for the last and one for the selected model, and the notice on the data."""
    lines = []
    for name, model in result.models.items():
        shown = told_scores(model.test)
        first = result.selected_by
        words = [told(first, model.test[first], model.test_standard_error) + _unit(first)]
        words += [told(key, value) + _unit(key) for key, value in shown.items() if key != first]
        lines.append(
            f"{name:<10} test {', '.join(words)} (iteration {model.step}, "
            f"{result.test_count:,} examples of {result.data})"
        )
    if result.data_notice:
        lines.append(f"notice     {result.data_notice}")
    return "\n".join(lines)


def told_scores(scores: Mapping[str, float]) -> dict[str, float]:
    """Those that people are shown."""
    return {
        name: value for name, value in scores.items() if name in METRICS and METRICS[name].label
    }


def _unit(name: str) -> str:
    return f" {METRICS[name].unit}" if METRICS[name].unit == "nats" else ""
