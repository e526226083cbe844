"""Small run directories with the files of real runs, and the report's sections made of them."""

import csv
import json
from pathlib import Path
from typing import Any

from node_repro.config.choices import Choices, conf_folder
from node_repro.config.compose import compose
from node_repro.report.artifact import Artifact, Claim
from node_repro.report.job import report
from node_repro.report.section import find_sections
from node_repro.report.selection import Selection, select_runs


def result(experiment: str, seed: int, **facts: Any) -> dict[str, Any]:
    """A result.json, its scores and training as given by name."""
    test, training = facts.pop("test"), facts.pop("training", {})
    scores = {"step": 10, "test": test, "test_standard_error": 0.001}
    shared: dict[str, Any] = {"experiment": experiment, "seed": seed, "training": training}
    shared |= {"data": "mnist", "data_notice": None, "profile": "quick", "device": "cpu"}
    shared |= {"task": "mnist", "model": "odenet", "version": "0.1.0", "signature": "0000aaaa"}
    shared |= {"parameters": 232970, "iterations": 10, "epochs": 1.0, "selected_by": "error"}
    shared |= {"test_count": 10_000, "last": scores, "selected": scores, "findings": {}}
    return shared | facts


def place(outputs: Path, content: dict[str, Any], since: str = "2026-01-02T03:04:05+00:00") -> Path:
    """A finished run's directory."""
    folder = f"{content['profile']}-{content['data']}-{content['signature']}"
    path = outputs / content["experiment"] / folder / f"seed{content['seed']}"
    (path / "pictures").mkdir(parents=True)
    environment = {
        "package_version": "0.1.0",
        "python": "3.11.7",
        "cpu_model": "a processor",
        "versions": {"torch": "2.13.0+cpu"},
        "git": {"sha": "0123456789abcdef", "dirty": False},
        "torch": {"threads": 1},
    }
    for name, value in (
        ("result.json", content),
        ("status.json", {"state": "COMPLETED", "since": since}),
        ("environment.json", environment),
    ):
        (path / name).write_text(json.dumps(value))
    (path / "config.yaml").write_text("# signature: 0000aaaa\nseed: 0\n")
    lines = [
        {"step": step, "split": split, "seconds": step / 10, "loss_nats": 1 / step, "error": 0.1}
        for step in (1, 2, 3, 4)
        for split in ("train", "validation")
    ]
    (path / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def made(outputs: Path, profile: str = "quick") -> Path:
    """The report's folder."""
    assert report(compose(["job=report", f"outputs={outputs}", f"profile={profile}"])) == 0
    return outputs / "report"


def read(outputs: Path, profile: str = "quick") -> Selection:
    return select_runs(outputs, profile, Choices([conf_folder()]).names("experiment"))


def artifacts(outputs: Path) -> list[Artifact]:
    selection = read(outputs)
    return [section(selection) for section in find_sections()]


def artifact(outputs: Path, name: str, profile: str = "quick") -> Artifact:
    (section,) = (section for section in find_sections() if section.name == name)
    return section(read(outputs, profile))


def claim(outputs: Path, name: str, *words: str, profile: str = "quick") -> Claim:
    """The claim of a section whose text has all these words."""
    claims = artifact(outputs, name, profile).claims
    (found,) = (c for c in claims if all(word in c.text for word in words))
    return found


def row_of(folder: Path, table: str, heading: str) -> dict[str, str]:
    with open(folder / "tables" / f"{table}.csv", encoding="utf-8") as file:
        (row,) = (r for r in csv.DictReader(file) if heading in r.values())
    return row
