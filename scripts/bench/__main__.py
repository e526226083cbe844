"""Measure the speed of this project beside its peers, and write the page about it.

    make bench                          measure what has not been measured, and show the goals
    make bench ARGS=--again             measure everything again
    make bench ARGS='--only flow,solver --again'
    make bench ARGS=--record            also write docs/performance.md, its figures and records, and
                                        the README's table

Every subject writes its record to the output folder when it is done, and a repeated call measures
only what is missing. Times are valid on a machine that does nothing else.
"""

import argparse
import os
import shutil
import sys
import time
import traceback
from pathlib import Path

os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # torch.profiler writes to the output otherwise

import torch
from pages import fill

from bench import subjects
from bench.goals import judged
from bench.page import parts, summary
from bench.peers import PEERS
from bench.plots import drawn
from bench.setting import Setting
from bench.subjects import SUBJECTS, Subject

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs" / "results" / "performance"


def options() -> argparse.Namespace:
    names = ", ".join(subject.name for subject in SUBJECTS)
    parser = argparse.ArgumentParser(
        prog="make bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", help=f"subjects, separated by commas: {names}")
    parser.add_argument("--again", action="store_true", help="measure what is recorded already")
    parser.add_argument("--record", action="store_true", help="write the documentation")
    parser.add_argument("--rounds", type=int, help="rounds of every comparison (smaller is faster)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path, default=Path("outputs/bench"))
    return parser.parse_args()


def chosen(names: str | None, device: str) -> list[Subject]:
    """The subjects that are named, or all that the device has."""
    known = {subject.name: subject for subject in SUBJECTS}
    if names is None:
        return [subject for subject in SUBJECTS if device in subject.devices]
    unknown = [name for name in names.split(",") if name not in known]
    if unknown:
        raise SystemExit(f"unknown subject {', '.join(unknown)}: take some of {', '.join(known)}")
    return [known[name] for name in names.split(",")]


def main() -> int:
    """Measure, show the goals, and write the documentation if asked for."""
    given = options()
    given.out.mkdir(parents=True, exist_ok=True)
    setting = Setting(given.out, torch.device(given.device), given.rounds)
    wanted = chosen(given.only, given.device)
    left = [
        subject
        for subject in wanted
        if given.again or not subjects.path(given.out, subject, given.device).is_file()
    ]
    minutes = sum(subject.minutes for subject in left)
    print(
        f"{len(wanted)} subjects, {len(left)} to measure, about {minutes:.0f} minutes", flush=True
    )
    if left:
        for peer in PEERS:
            python, reason = setting.python(peer)
            print(f"{peer.name}: {python or reason}", flush=True)
    failed = [subject.name for subject in left if not measured(subject, setting)]
    records = subjects.read(given.out, given.device)
    if given.device == "cpu" and records:
        show(records, given)
    if failed:
        print(f"failed: {', '.join(failed)}; the same command tries again", file=sys.stderr)
    return bool(failed)


def measured(subject: Subject, setting: Setting) -> bool:
    """Measure a subject; False if it failed, which is no reason not to measure the next."""
    print(f"{subject.name}: {subject.title}, about {subject.minutes:g} minutes", flush=True)
    began = time.perf_counter()
    try:
        file = subjects.measure(subject, setting)
    except Exception:
        traceback.print_exc()
        return False
    print(f"  {file} in {(time.perf_counter() - began) / 60:.1f} minutes", flush=True)
    return True


def show(records: dict, given: argparse.Namespace) -> None:
    """Print the goals, and write the page: beside the records, or as the documentation."""
    for goal in judged(records):
        print(f"{goal.name:4} {goal.verdict:13} {'; '.join(map(str, goal.checks))}")
    page = ROOT / "docs" / "performance.md"
    if not given.record:
        (given.out / "performance.md").write_text(fill(page.read_text(), parts(records)))
        print(f"written to {given.out / 'performance.md'}; --record writes the documentation")
        return
    DOCS.mkdir(parents=True, exist_ok=True)
    for name in records:
        file = f"{name}_{given.device}.json"
        shutil.copyfile(given.out / file, DOCS / file)
    records = subjects.read(DOCS, given.device)
    drawn(records, DOCS)
    page.write_text(fill(page.read_text(), parts(records)))
    readme = ROOT / "README.md"
    readme.write_text(fill(readme.read_text(), {"performance": summary(records)}))
    print("written to docs/performance.md, docs/results/performance and README.md")


if __name__ == "__main__":
    raise SystemExit(main())
