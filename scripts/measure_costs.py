"""Writes node_repro/reproduce/seconds.csv from the finished runs below some output folders.

    python scripts/measure_costs.py outputs [more folders]

Only runs, and probes of them, on one CPU thread and of the profiles quick, close and paper count (a
smoke run is all start); of several runs of an experiment the median is taken. What a process costs
beside its iterations is measured here and now.
"""

import resource
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from node_repro.runs.stored_run import find_runs

TABLE = Path(__file__).parents[1] / "node_repro" / "reproduce" / "seconds.csv"


def measured(folders: list[Path]) -> list[tuple[str, str, float]]:
    """The table's rows: kind, name, seconds."""
    iteration, probes = defaultdict(list), defaultdict(list)
    for run in (run for folder in folders for run in find_runs(folder)):
        result = run.result
        if result is None or result.device != "cpu" or result.threads != 1:
            continue
        if result.profile not in ("quick", "close", "paper") or not result.training_seconds:
            continue
        iteration[run.experiment].append(result.training_seconds / result.iterations)
        for name, content in run.probes.items():
            if content.get("device") == "cpu" and content.get("threads") == 1:
                probes[name].append(content["seconds"])
    rows = [("start", "", start_seconds())]
    rows += [("iteration", name, median(values)) for name, values in sorted(iteration.items())]
    return rows + [("probe", name, median(values)) for name, values in sorted(probes.items())]


def start_seconds() -> float:
    """CPU time of the smallest run there is: starting, testing, drawing."""
    words = ["experiment=demo_field_fit", "profile=smoke", "threads=1"]
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "node_repro.cli", *words, f"outputs={folder}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    found = measured([Path(folder) for folder in sys.argv[1:]])
    lines = [f"{kind},{name},{seconds:.3g}" for kind, name, seconds in found]
    TABLE.write_text("\n".join(["kind,name,seconds", *lines]) + "\n", encoding="utf-8")
    print(f"{TABLE}: {len(lines) - 1} experiments and probes")
