"""Why a goal is not met or not measured, from the records."""

from statistics import median
from typing import Any

from bench.rows import Records, Row, best, case, fastest, find, growth, number, per_step, rows_of

EMPTY = "an empty Python process"
"""A row of the commands that is there for comparison."""

SUBJECT = {
    "P1": "solver", "P2": "solver", "P3": "reads", "P4": "odenet", "P5": "flow", "P6": "latent",
    "P7": "times", "P8": "memory", "P9": "discrete", "P10": "starts", "P11": "detest",
    "P12": "starts",
}  # fmt: skip
"""The subject that a goal is measured in."""


def missing(goal: str, records: Records) -> str:
    """Why a number of a goal is missing."""
    record = records.get(SUBJECT[goal])
    if record is None:
        return f"subject {SUBJECT[goal]}: not run"
    found: list[str] = []

    def search(part: Any, name: str = "") -> None:  # noqa: ANN401
        if isinstance(part, list):
            for one in part:
                search(one, name)
        elif isinstance(part, dict):
            name = str(part.get("name") or part.get("contender") or part.get("engine") or name)
            if "not_run" in part:
                found.append(f"{name} not run: {part['not_run']}")
            for one in part.values():
                search(one, name)

    search({key: record[key] for key in ("rows", "cases", "runs") if key in record})
    return "; ".join(dict.fromkeys(found)) or "not measured"


def reason(goal: str, records: Records) -> str:
    """Why a goal is not met."""
    if goal in ("P1", "P2"):
        return _solver(records, (4, 4_000) if goal == "P1" else (300_000,))
    texts = {
        "P4": _odenet,
        "P5": lambda r: _iteration(r, "flow", "diffrax"),
        "P6": lambda r: _iteration(r, "latent", "torchdiffeq, adjoint"),
        "P7": _times,
        "P8": _memory,
        "P9": _discrete,
        "P10": _commands,
        "P11": _evaluations,
        "P12": _second_start,
    }
    return texts[goal](records) if goal in texts else "the numbers above say all that is recorded"


def _solver(records: Records, sizes: tuple[int, ...]) -> str:
    parts = []
    for size in sizes:
        rows = [row for row in case(records, size, 40.0) if "not_run" not in row]
        each = ", ".join(f"{row['name']} {number(median(per_step(row)))}" for row in rows)
        if each:
            parts.append(f"µs an attempted step at N = {size:,}: {each}.")
    once = _paid_once(records)
    if once and 4 in sizes:
        parts.append(once)
    return " ".join(parts)


def _paid_once(records: Records) -> str:
    """What a solve costs beside its steps, from two solves of different length."""
    parts = []
    for name in ("ours compiled", "diffrax"):
        short, long = (find(case(records, 4, end), name) for end in (40.0, 400.0))
        if short is None or long is None:
            return ""
        times = [1e6 * median(row["seconds"]) for row in (short, long)]
        step = (times[1] - times[0]) / (long["attempted"] - short["attempted"])
        parts.append(f"{name} {step:.2g} µs a step and {times[0] - step * short['attempted']:.0f}")
    return f"Beside a solve of ten times the length, N = 4: {' and '.join(parts)} µs once a solve."


def _odenet(records: Records) -> str:
    record = records["odenet"]
    parts = {row["name"]: median(row["seconds"]) for row in record["parts"] if "seconds" in row}
    found = best(record["rows"], "torchdiffeq, same f", "adjoint")
    peer = find(record["rows"], "torchdiffeq, same f")
    if found is None or peer is None or len(parts) < 5:
        return missing("P4", records)
    row, (forward, backward) = found.row, found.row["nfe"]
    seconds = median(row["seconds"])
    vjp = parts["f and vjp"]  # a backward evaluation is f with its vjp
    f, around = forward * parts["f"], parts["stem and head"]
    floor = f + backward * vjp + around
    alone = (
        forward * parts["convolutions of f"]
        + backward * parts["convolutions of f and vjp"]
        + around
    )
    ceiling = median(peer["seconds"]) / floor
    return (
        f"`{row['name']}` takes {1e3 * seconds:.0f} ms. Its {forward} evaluations of f, alone, "
        f"take {1e3 * f:.0f} ms, its {backward} vjps with f {1e3 * backward * vjp:.0f}, stem and "
        f"head {1e3 * around:.0f}: {1e3 * floor:.0f} ms, so that a solver that costs nothing would "
        f"be {ceiling:.2g}x torchdiffeq with the same f. Of f, the convolutions alone, with stem "
        f"and head, would take {1e3 * alone:.0f} ms."
    )


def _each(row: Row) -> str:
    nfe = "/".join("–" if n is None else str(n) for n in row["nfe"])
    milliseconds, error = number(1e3 * median(row["seconds"])), row["gradient_error"]
    return f"{row['name']} {milliseconds} ms (NFE {nfe}, error {error:.1e})"


def _iteration(records: Records, subject: str, peer: str) -> str:
    rows = rows_of(records, subject)
    found = best(rows, peer)
    shown = [
        row
        for row in (found.row if found else None, fastest(rows, "ours"), find(rows, peer))
        if row is not None
    ]
    texts = dict.fromkeys(_each(row) for row in shown)
    failed = missing(subject_goal(subject), records)
    return "; ".join(texts) + ("" if failed == "not measured" else f"; {failed}")


def subject_goal(subject: str) -> str:
    """The goal that is measured in a subject."""
    return next(goal for goal, name in SUBJECT.items() if name == subject)


def _times(records: Records) -> str:
    texts = []
    for one in records["times"]["cases"]:
        few, many = find(one["rows"], "20"), find(one["rows"], "2000")
        if few and many and "adjoint" not in one["contender"]:
            a, b = (number(1e3 * median(row["seconds"])) for row in (few, many))
            texts.append(f"{one['contender']} {a} and {b} ms")
    return "With 20 and 2,000 times: " + ", ".join(texts)


def _memory(records: Records) -> str:
    texts = []
    for one in records["memory"]["cases"]:
        grown = growth(one, 50)
        if grown is not None and one["contender"].startswith("ours"):
            texts.append(f"{one['contender']} {grown[1]:.3g}x at {grown[0]:.0f}x the evaluations")
    return ", ".join(texts)


def _discrete(records: Records) -> str:
    rows = [row for row in rows_of(records, "discrete") if row.get("difference", 0.0) > 1e-12]
    texts = [
        f"{row['engine']} {row['gradient']}, {row['method']} {row['difference']:.1e}, and "
        f"{row['without_times']:.1e} where no time is differentiated"
        for row in rows
    ]
    return (
        f"{'; '.join(texts)}. Differentiated times are tensors, whose rounding moves the steps "
        "that an adaptive solver chooses."
    )


def _evaluations(records: Records) -> str:
    pairs = records["detest"]["pairs"]
    end = pairs["dopri5 / dopri5"]["end"]
    above = sorted((key for key in end if end[key] > 0.85), key=lambda key: -end[key])
    worst = ", ".join(f"{key} {end[key]:.2f}" for key in above[:3])
    others = ", ".join(f"{pair} {one['end_mean']:.2f}" for pair, one in pairs.items())
    return (
        f"{len(above)} of {len(end)} problems are above 0.85, most of all {worst}. The two solvers "
        f"have the same method, and differ in the control of the steps. Means by pair: {others}."
    )


def _commands(records: Records) -> str:
    seconds = {row["name"]: median(row["seconds"]) for row in rows_of(records, "starts")}
    nothing = seconds.pop(EMPTY, None)
    slow = ", ".join(f"{name} {value:.2f} s" for name, value in seconds.items() if value > 0.6)
    beside = f"; a Python process that does nothing takes {nothing:.2f} s" if nothing else ""
    return f"Above the limit: {slow}{beside}."


def _second_start(records: Records) -> str:
    runs = {run["engine"]: run for run in records["starts"]["runs"]}
    if "seconds" not in runs["eager"] or "seconds" not in runs["compiled"]:
        return missing("P12", records)
    eager, compiled = (median(runs[engine]["seconds"]) for engine in ("eager", "compiled"))
    return (
        f"An eager run needs {eager:.3g} s to its first iteration, so that tracing the loops and "
        f"reading their code back takes {compiled - eager:.3g} s; compiling takes "
        f"{runs['compiled']['first'] - eager:.3g} s."
    )
