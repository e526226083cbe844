"""Writes node_repro/reproduce/seconds.yaml from the finished runs below some output folders.

    python scripts/measure_costs.py outputs [more folders]

Only runs, and probes of them, on one CPU thread and of the profiles quick, close and paper count (a
smoke run is all start); of several runs of an experiment the median is taken. What a process costs
beside its iterations is measured here and now.
"""

import json
import resource
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import yaml

TABLE = Path(__file__).parents[1] / "node_repro" / "reproduce" / "seconds.yaml"
HEAD = """\
# Seconds on one CPU thread, as `node-run list` expects them: medians of finished runs, which shared
# their machine with other work, so they are rough. Written by scripts/measure_costs.py.
# start: CPU seconds of `node-run experiment=demo_field_fit profile=smoke threads=1`.
"""


def measured(folders: list[Path]) -> dict:
    """The table's content: start, iteration, probes."""
    iteration, probes = defaultdict(list), defaultdict(list)
    kinds: dict[str, dict[str, str]] = {}
    for path in sorted(p for folder in folders for p in folder.glob("*/*/seed*/result.json")):
        result, environment = _json(path), _json(path.with_name("environment.json"))
        name, training = result["experiment"], result["training"]
        if name is None or result["device"] != "cpu" or environment["torch"]["threads"] != 1:
            continue
        if result["profile"] not in ("quick", "close", "paper") or not training:
            continue
        iteration[name].append(training["seconds"] / result["iterations"])
        kinds[name] = {"task": result["task"], "model": result["model"]}
        for content in map(_json, path.parent.glob("probes/*.json")):
            if content.get("device") == "cpu" and content.get("threads") == 1:
                probes[content["probe"]].append(content["seconds"])
    rows = {
        name: kinds[name] | {"seconds": float(f"{median(values):.3g}"), "runs": len(values)}
        for name, values in sorted(iteration.items())
    }
    return {
        "start": float(f"{start_seconds():.2g}"),
        "iteration": rows,
        "probes": {name: float(f"{median(v):.3g}") for name, v in sorted(probes.items())},
    }


def start_seconds() -> float:
    """CPU time of the smallest run there is: starting, testing, drawing."""
    words = ["experiment=demo_field_fit", "profile=smoke", "threads=1"]
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "node_repro.cli", *words, f"outputs={folder}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _json(path: Path) -> dict:
    return json.loads(path.read_bytes())


if __name__ == "__main__":
    content = measured([Path(folder) for folder in sys.argv[1:]])
    TABLE.write_text(HEAD + yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    print(f"{TABLE}: {len(content['iteration'])} experiments, {len(content['probes'])} probes")
