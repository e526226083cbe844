"""The result of a run in a few lines, made of nothing but its result.json."""

from node_repro.runs.metrics import METRICS, told


def summary(result: dict) -> str:
    """One line for the last and one for the selected model, and the notice on the data."""
    lines = []
    for name in ("last", "selected"):
        model = result[name]
        shown = told_scores(model["test"])
        first = result["selected_by"]
        spread = model["test_standard_error"]
        words = [told(first, model["test"][first], spread) + _unit(first)]
        words += [told(key, value) + _unit(key) for key, value in shown.items() if key != first]
        lines.append(
            f"{name:<10} test {', '.join(words)} (iteration {model['step']}, "
            f"{result['test_count']:,} examples of {result['data']})"
        )
    if result["data_notice"]:
        lines.append(f"notice     {result['data_notice']}")
    return "\n".join(lines)


def told_scores(scores: dict[str, float]) -> dict[str, float]:
    """Those that people are shown."""
    return {
        name: value for name, value in scores.items() if name in METRICS and METRICS[name].label
    }


def _unit(name: str) -> str:
    return f" {METRICS[name].unit}" if METRICS[name].unit == "nats" else ""
