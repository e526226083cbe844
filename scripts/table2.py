"""Table 2 and figure 10 from finished runs: mean and standard deviation over seeds, beside the
paper's two versions of the table.

    node-run -m experiment=table2_latent_ode_30,table2_rnn_30,... seed=0,1,2
    python scripts/table2.py outputs --profile quick

Reads result.json and pictures/figure8_predictions.npz of the runs of the experiments table2_*;
writes table2.json, table2.md and figure10.png.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np

from node_repro.figures.spirals import by_observations

MODELS = {"rnn": "RNN", "rnn_dt": "RNN with time gaps", "latent_ode": "latent ODE"}
COUNTS = (30, 50, 100)
PAPER_RMSE = {"rnn": (0.3937, 0.3202, 0.1813), "latent_ode": (0.1642, 0.1502, 0.1346)}
EARLIER_LOG_LIKELIHOOD = {
    "rnn": (-165.26, -97.51, -153.49),
    "rnn_dt": (-133.78, -98.88, -145.15),
    "latent_ode": (-5.39, -5.21, -4.78),
}
SCORES = ("rmse_noisy", "rmse_clean", "rmse_sample", "rmse_window", "log_likelihood_nats")
PROBES = ("direction_probe_accuracy", "direction_probe_accuracy_with_products")


def runs(outputs: Path, profile: str, model: str, count: int) -> list[tuple[Path, dict]]:
    """The finished runs of one cell, by seed."""
    folders = sorted(outputs.glob(f"table2_{model}_{count}/{profile}-*/seed*"))
    found = [(f, json.loads((f / "result.json").read_text())) for f in folders if done(f)]
    if len({result["signature"] for _, result in found}) > 1:
        raise SystemExit(f"table2_{model}_{count} holds runs of several configurations: keep one")
    return found


def done(folder: Path) -> bool:
    """Whether a run is complete."""
    return (folder / "result.json").is_file()


def spread(values: list[float]) -> dict[str, float | None]:
    """Mean and standard deviation, None of one value."""
    sd = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.mean(values), "sd": sd}


def cell(found: list[tuple[Path, dict]]) -> dict[str, Any]:
    """What a cell of the table knows: the selected model's scores, over seeds."""
    results = [result for _, result in found]
    record: dict[str, Any] = {
        "seeds": [result["seed"] for result in results],
        "iterations": results[0]["iterations"],
        "data": results[0]["data"],
        "device": results[0]["device"],
    }
    for which in ("selected", "last"):
        scores = [result[which]["test"] for result in results]
        record[which] = {name: spread([one[name] for one in scores]) for name in SCORES}
    for name in PROBES:
        values = [r["findings"][name] for r in results if name in r["findings"]]
        if values:
            record[name] = spread(values)
    return record


def markdown(table: dict[str, dict[int, dict]]) -> str:
    """The two tables, ours beside the paper's."""
    lines = ["| RMSE of the 100 points ahead | 30/100 | 50/100 | 100/100 |", "|---|---|---|---|"]
    for model, name in MODELS.items():
        for score, words in (("rmse_noisy", "noisy"), ("rmse_clean", "clean")):
            cells = [shown(table[model].get(n), score, 3) for n in COUNTS]
            lines.append(f"| {name}, against {words} points | {' | '.join(cells)} |")
        if model in PAPER_RMSE:
            lines.append(f"| {name}, paper | {' | '.join(map(str, PAPER_RMSE[model]))} |")
    lines += ["", "| log-likelihood | 30/100 | 50/100 | 100/100 |", "|---|---|---|---|"]
    for model, name in MODELS.items():
        cells = [shown(table[model].get(n), "log_likelihood_nats", 2) for n in COUNTS]
        lines.append(f"| {name}, nats a point | {' | '.join(cells)} |")
        earlier = map(str, EARLIER_LOG_LIKELIHOOD[model])
        lines.append(f"| {name}, earlier slides, unit unknown | {' | '.join(earlier)} |")
    return "\n".join(lines) + "\n"


def shown(record: dict | None, score: str, digits: int) -> str:
    """ "0.133 ± 0.004 (3)" of the selected models, with the number of seeds."""
    if record is None:
        return "not run"
    value, seeds = record["selected"][score], len(record["seeds"])
    sd = "" if value["sd"] is None else f" ± {value['sd']:.{digits}f}"
    return f"{value['mean']:.{digits}f}{sd} ({seeds})"


def main() -> None:
    """Collect, write, print."""
    parser = argparse.ArgumentParser(description="table 2 and figure 10 from finished runs")
    parser.add_argument("outputs", type=Path)
    parser.add_argument("--profile", default="quick")
    parser.add_argument("--out", type=Path, default=Path("outputs/report"))
    parser.add_argument("--trajectory", type=int, default=0, help="of figure 10")
    chosen = parser.parse_args()
    table: dict[str, dict[int, dict]] = {}
    arrays: dict[tuple[str, int], dict[str, np.ndarray]] = {}
    for model, name in MODELS.items():
        table[model] = {}
        for count in COUNTS:
            found = runs(chosen.outputs, chosen.profile, model, count)
            if not found:
                continue
            table[model][count] = cell(found)
            with np.load(found[0][0] / "pictures" / "figure8_predictions.npz") as file:
                arrays[name, count] = dict(file)
    chosen.out.mkdir(parents=True, exist_ok=True)
    record = {"profile": chosen.profile, "table": table}
    (chosen.out / "table2.json").write_text(json.dumps(record, indent=1) + "\n")
    (chosen.out / "table2.md").write_text(markdown(table))
    picture = by_observations(COUNTS, list(MODELS.values()), arrays, chosen.trajectory)
    (chosen.out / "figure10.png").write_bytes(picture)
    print(markdown(table))


if __name__ == "__main__":
    main()
