"""Figure 4's last column, and one JSON of all flows: from the finished runs below a folder.

python scripts/collect_flows.py OUTPUTS [--out docs/results]

Writes flows.json (what every run's result.json says) and, for each target of density matching,
flows_<target>.png: the test loss over K or M, mean and single seeds, above its floor -log Z.
"""

import argparse
import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from node_repro.figures import png

KEPT = (
    "experiment task model data profile seed device version signature parameters iterations "
    "training selected_by last selected findings"
).split()


def collected(outputs: Path) -> list[dict]:
    """The finished runs of the two tasks, with the size of their model, in a fixed order."""
    rows = []
    for path in sorted(outputs.rglob("result.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        if result["task"] not in ("cnf", "density_match"):
            continue
        words = (path.parent / "overrides.txt").read_text(encoding="utf-8").split()
        environment = json.loads((path.parent / "environment.json").read_text(encoding="utf-8"))
        about: dict[str, Any] = {"size": size_of(path.parent)}
        about["overrides"] = [word for word in words if not word.startswith("outputs=")]
        about["commit"] = (environment.get("git") or {}).get("sha")
        rows.append({key: result[key] for key in KEPT} | about)
    return rows


def size_of(run: Path) -> int | None:
    """M or K: the model's units or maps."""
    for line in (run / "config.yaml").read_text(encoding="utf-8").splitlines():
        name, _, value = line.strip().partition(": ")
        if name in ("width", "depth"):
            return int(value)
    return None


def curves(rows: list[dict], target: str) -> bytes:
    """Test loss of the last model over K or M, by experiment."""
    losses: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    floor = float("nan")
    for row in rows:
        if row["task"] == "density_match" and row["data"] == target and row["size"]:
            label = f"{row['experiment'] or row['model']}, {row['iterations']:,} iterations"
            losses[label][row["size"]].append(row["last"]["test"]["loss_nats"])
            floor = row["findings"]["floor_nats"]
    figure = Figure(figsize=(5, 3.5), layout="constrained")
    ax = figure.subplots()
    for label, by_size in sorted(losses.items()):
        sizes = sorted(by_size)
        means = [statistics.mean(by_size[size]) for size in sizes]
        (line,) = ax.plot(sizes, means, "o-", label=label)
        single = [(size, loss) for size in sizes for loss in by_size[size]]
        ax.plot(*zip(*single, strict=True), ".", color=line.get_color(), alpha=0.5)
    ax.axhline(floor, color="black", linestyle=":", label="-log Z")
    ax.set(xlabel="K or M", ylabel="test loss, nats", title=target.upper())
    ax.legend(fontsize="small")
    return png(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("outputs", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    chosen = parser.parse_args()
    rows = collected(chosen.outputs)
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "flows.json").write_text(json.dumps(rows, indent=1) + "\n")
    for target in sorted({row["data"] for row in rows if row["task"] == "density_match"}):
        (chosen.out / f"flows_{target}.png").write_bytes(curves(rows, target))
    for row in rows:
        test = row["last"]["test"]
        print(*row["overrides"], f"KL {test['kl_nats']:.4f}", f"NFE {test.get('nfe_forward')}")


if __name__ == "__main__":
    main()
