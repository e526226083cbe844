"""The measured parts of docs/performance.md, and the table of the README, from the records."""

from collections.abc import Callable
from statistics import median

from pages import table

from bench.goals import MET, NOT_MEASURED, NOT_MET, judged
from bench.rows import Records, Row, case, fastest, find, number, per_step, ratio, rows_of

CONTENDERS = ("ours", "ours compiled", "torchdiffeq", "torchode", "diffrax")
ITERATIONS = {
    "odenet": "ODE-Net, conv stem, batch 128, 1e-3",
    "flow": "continuous flow, 64 units, batch 512, 1e-5",
    "latent": "latent ODE, 1,000 series of 100 times, 5e-7 / 1e-9",
}


def parts(records: Records) -> dict[str, str]:
    """The measured parts of the page, by the names of their markers."""
    found = {
        "solver": _solver, "odenet": _odenet, "flow": _iteration("flow"),
        "latent": _iteration("latent"), "times": _times, "memory": _memory,
        "discrete": _discrete, "reads": _reads, "starts": _starts, "detest": _detest,
    }  # fmt: skip
    texts = {name: make(records) if name in records else "Not run." for name, make in found.items()}
    return {"conditions": _conditions(records), "goals": _goals(records)} | texts


def summary(records: Records) -> str:
    """The table of the README, and how many goals are met."""
    heads = (
        "", "ours, eager", "ours, compiled", "torchdiffeq, adjoint", "torchdiffeq, backprop",
        "torchode", "diffrax",
    )  # fmt: skip
    body = []
    for size in (4, 4_000, 300_000):
        rows = case(records, size, 40.0)
        found = (find(rows, name) for name in CONTENDERS)
        eager, compiled, *peers = (f"{number(median(per_step(r)))} µs" if r else "–" for r in found)
        step = f"one dopri5 step, N = {size:,}, 1e-6"
        body.append((step, eager, compiled, peers[0], "–", peers[1], peers[2]))
    for subject, title in ITERATIONS.items():
        rows = rows_of(records, subject)
        same_f = find(rows, "torchdiffeq, same f") or find(rows, "torchdiffeq, adjoint")
        picked = (
            fastest(rows, "ours,"), fastest(rows, "ours compiled"), same_f,
            find(rows, "torchdiffeq, backprop"), None, fastest(rows, "diffrax"),
        )  # fmt: skip
        body.append((title, *(_milliseconds(row) if row else "–" for row in picked)))
    verdicts = [goal.verdict for goal in judged(records)]
    met = f"{verdicts.count(MET)} of {len(verdicts)} goals are met"
    return f"{table(heads, body)}\n\n{_machine(records)} {met}."


def _milliseconds(row: Row) -> str:
    """The time of an iteration, with the gradient method behind one of ours."""
    time = f"{number(1e3 * median(row['seconds']))} ms"
    return f"{time} ({row['name'].split(', ')[1]})" if row["name"].startswith("ours") else time


def _machine(records: Records) -> str:
    """The machine of the records, in a sentence."""
    record = next(iter(records.values()))
    facts = record["environment"]
    return f"Measured on {facts['cores']} cores of {facts['cpu']}, torch {facts['torch']}."


def _conditions(records: Records) -> str:
    rows = []
    for name, record in records.items():
        facts, minutes = record["environment"], record["took_seconds"] / 60
        commit = (facts["commit"] or "–")[:10] + (" and changes" if facts["changed"] else "")
        cpu = f"{facts['cores']} × {facts['cpu']}"
        rows.append((name, record["began"], f"{minutes:.1f} min", cpu, facts["torch"], commit))
    heads = ("subject", "measured", "took", "CPU", "torch", "commit")
    return table(heads, rows, left=6)


def _goals(records: Records) -> str:
    goals = judged(records)
    rows = [
        (
            goal.name, goal.what, goal.target,
            "; ".join(map(str, goal.checks)) or NOT_MEASURED,
            f"**{goal.verdict}**" if goal.verdict == MET else goal.verdict,
        )
        for goal in goals
    ]  # fmt: skip
    text = table(("goal", "what", "target", "measured", ""), rows, left=5) + "\n"
    open_ones = [goal for goal in goals if goal.verdict != MET]
    for verdict, title in ((NOT_MET, "Not met"), (NOT_MEASURED, "Not measured")):
        lines = [f"* **{one.name}**: {one.reason}" for one in open_ones if one.verdict == verdict]
        if lines:
            text += f"\n{title}, and what the records say of it:\n\n" + "\n".join(lines) + "\n"
    return text.rstrip()


def _spread(values: list[float], unit: float = 1.0) -> str:
    low, middle, high = (number(unit * f(values)) for f in (min, median, max))
    return f"{middle} ({low} – {high})"


def _solver(records: Records) -> str:
    steps, details = [], []
    for one in records["solver"]["cases"]:
        place = f"{one['size']:,}", f"{one['end']:g}"
        rows = {row["name"]: row for row in one["rows"]}
        times = (_or_reason(rows[name], lambda r: _spread(per_step(r))) for name in CONTENDERS)
        steps.append((*place, *times))
        for name, row in rows.items():
            if "not_run" not in row:
                numbers = row["attempted"], row["rejected"], row["nfe"]
                error, first = f"{row['error']:.1e}", f"{row['first_seconds']:.3g}"
                details.append((*place, name, *map(str, numbers), error, first))
    heads = ("N", "t1", "contender", "attempted", "rejected", "NFE", "error", "first solve, s")
    text = f"{table(('N', 't1', *CONTENDERS), steps)}\n\n{table(heads, details, left=3)}"
    rows = [row for one in records["solver"]["cases"] for row in one["rows"]]
    return text + _warnings(rows)


def _or_reason(row: Row, text: Callable[[Row], str]) -> str:
    return f"not run: {row['not_run']}" if "not_run" in row else text(row)


def _iteration(subject: str) -> Callable[[Records], str]:
    """A function that makes the table of a training iteration."""

    def content(records: Records) -> str:
        rows, body = rows_of(records, subject), []
        first = next((row for row in rows if "not_run" not in row), {})
        for row in rows:
            if "not_run" in row:
                body.append((row["name"], f"not run: {row['not_run']}", *[""] * 4))
                continue
            nfe = " / ".join("–" if n is None else str(n) for n in row["nfe"])
            error, cold = f"{row['gradient_error']:.1e}", f"{row['first_seconds']:.3g}"
            times = _spread(row["seconds"], 1e3), f"{ratio(row, first):.2f}"
            body.append((row["name"], *times, nfe, error, cold))
        heads = (
            "contender", "ms (min – max)", "ratio", "NFE forward / backward", "gradient error",
            "first iteration, s",
        )  # fmt: skip
        return table(heads, body) + _warnings(rows)

    return content


def _warnings(rows: list[Row]) -> str:
    """What the contenders warned of, as a list below their table."""
    lines = [f"* `{row['name']}`: {text}" for row in rows for text in row.get("warnings", ())]
    return "\n\nWarnings:\n\n" + "\n".join(lines) if lines else ""


def _odenet(records: Records) -> str:
    pieces = [row for row in records["odenet"]["parts"] if "not_run" not in row]
    rows = [(row["name"], _spread(row["seconds"], 1e3)) for row in pieces]
    alone = table(("piece of an iteration, alone", "ms (min – max)"), rows)
    return f"{_iteration('odenet')(records)}\n\n{alone}"


def _times(records: Records) -> str:
    cases = records["times"]["cases"]
    counts = [row["name"] for row in cases[0]["rows"]]
    body = []
    for one in cases:
        times = [_or_reason(row, lambda r: _spread(r["seconds"], 1e3)) for row in one["rows"]]
        few, many = (find(one["rows"], count) for count in (counts[0], counts[-1]))
        compared = ("–", "–")
        if few and many:
            compared = f"{ratio(many, few):.2f}", f"{few['nfe'][1]} / {many['nfe'][1]}"
        body.append((one["contender"], *times, *compared))
    titles = [f"{int(count):,} times, ms" for count in counts]
    text = table(("contender", *titles, "last / first", "backward NFE"), body)
    rows = [row | {"name": one["contender"]} for one in cases for row in one["rows"][-1:]]
    return text + _warnings(rows)


def _memory(records: Records) -> str:
    body = []
    for one in records["memory"]["cases"]:
        if "not_run" in one:
            body.append((one["contender"], f"not run: {one['not_run']}", *[""] * 3))
            continue
        rows = sorted(one["rows"], key=lambda row: row["nfe"])
        few, many = rows[0], rows[-1]
        sizes = [
            f"{number(few[k] / 1e6)} – {number(many[k] / 1e6)}" for k in ("saved", "allocated")
        ]
        grown = max(many[k] / few[k] for k in ("saved", "allocated"))
        body.append((one["contender"], f"{few['nfe']} – {many['nfe']}", *sizes, f"{grown:.3g}"))
    text = table(("contender", "NFE forward", "saved, MB", "allocated, MB", "growth"), body)
    cases = records["memory"]["cases"]
    return text + _warnings([one | {"name": one["contender"]} for one in cases])


def _discrete(records: Records) -> str:
    rows = [
        (*(row[key] for key in ("engine", "gradient", "method")), _or_reason(row, _difference))
        for row in rows_of(records, "discrete")
    ]
    text = table(("engine", "gradient", "method", "largest relative difference"), rows, left=3)
    keys = ("engine", "gradient", "method")
    named = [
        row | {"name": ", ".join(row[k] for k in keys)} for row in rows_of(records, "discrete")
    ]
    return text + _warnings(named)


def _difference(row: Row) -> str:
    return f"{row['difference']:.1e}"


def _reads(records: Records) -> str:
    rows = []
    for row in rows_of(records, "reads"):
        reads = _or_reason(row, lambda r: f"{r['reads'] + r['uploads']}")
        rows.append((row["name"], f"{row['tolerance']:.0e}", str(row.get("attempted", "")), reads))
    return table(("contender", "tolerance", "attempted steps", "waits for the device"), rows)


def _starts(records: Records) -> str:
    rows = [(row["name"], _spread(row["seconds"])) for row in rows_of(records, "starts")]
    runs = []
    for run in records["starts"]["runs"]:
        first = _or_reason(run, lambda r: f"{r['first']:.3g}")
        runs.append((run["engine"], first, _spread(run["seconds"]) if "seconds" in run else "–"))
    commands = table(("command", "s (min – max)"), rows)
    return f"{commands}\n\n{table(('engine', 'first start, s', 'later starts, s'), runs)}"


def _detest(records: Records) -> str:
    rows = [
        (name, f"{pair['end_mean']:.2f}", f"{pair['outputs_mean']:.2f}", str(len(pair["end"])))
        for name, pair in records["detest"]["pairs"].items()
    ]
    heads = ("ours / torchdiffeq's", "error at t = 20", "error at t = 1, 2, …, 20", "problems")
    return table(heads, rows)
