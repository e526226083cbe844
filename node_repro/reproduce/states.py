"""How far a run is, from its files: done, running, interrupted, failed, or missing."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from node_repro.config.overrides import unquoted
from node_repro.reproduce import Ask, Experiment
from node_repro.runs.lock import Owner

DONE, RUNNING, INTERRUPTED, FAILED, MISSING = "done running interrupted failed missing".split()


class State(NamedTuple):
    """What became of one experiment with one seed.

    folder: the run's, None where it is missing. seconds: that training took, None unless done.
    """

    word: str
    folder: Path | None
    seconds: float | None


def state(ask: Ask, experiment: Experiment, seed: int, *, embedded: bool) -> State:
    """The state of the newest run of this profile, experiment and seed.

    Whether its configuration is still the one in conf/ only `node-run` itself can say: a run of
    another configuration has a folder of its own. embedded: digits are the embedded ones.
    """
    found: list[State] = []
    for folder in _newest_first(Path(ask.outputs), ask.profile, experiment.name, seed):
        if "mnist" in folder.parent.name and ("embedded" in folder.parent.name) != embedded:
            continue
        found.append(_of(folder))
        if found[-1].word == DONE:
            return found[-1]
    return found[0] if found else State(MISSING, None, None)


def is_probed(folder: Path, probe: str) -> bool:
    """Whether a run's directory holds what a probe measured."""
    return (folder / "probes" / f"{probe}.json").is_file()


def has_digits(extra: Sequence[str], environment: Mapping[str, str] = os.environ) -> bool:
    """Whether data=mnist would find files: in data.root=, $NODE_REPRO_DATA, or the cache folder."""
    words = (word.split("=", 1) for word in extra)
    given = {key: unquoted(value) for key, value in words}
    if given.get("data.source") == "embedded":
        return False
    cache = Path(environment.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "node_repro"
    named = given.get("data.root") or environment.get("NODE_REPRO_DATA")
    root = Path(named).expanduser() if named else cache
    places = (root, root / "MNIST" / "raw")
    return any(next(place.glob("train-images*"), None) is not None for place in places)


def _newest_first(outputs: Path, profile: str, name: str, seed: int) -> list[Path]:
    folders = (outputs / name).glob(f"{profile}-*/seed{seed}")
    return sorted(folders, key=lambda folder: folder.stat().st_mtime_ns, reverse=True)


def _of(folder: Path) -> State:
    result = _read(folder / "result.json")
    if result is not None:
        training = result.get("training")
        seconds = training.get("seconds") if isinstance(training, dict) else None
        return State(DONE, folder, seconds if isinstance(seconds, int | float) else None)
    word = str((_read(folder / "status.json") or {}).get("state", "INTERRUPTED")).lower()
    if word == RUNNING and not _is_alive(folder / "lock"):
        word = INTERRUPTED
    return State(word if word in (RUNNING, FAILED) else INTERRUPTED, folder, None)


def _is_alive(lock: Path) -> bool:
    try:
        owner = Owner.parse(lock.read_bytes())
    except OSError:
        return False
    return owner is not None and (owner.host != os.uname().nodename or owner.is_alive())


def _read(path: Path) -> dict | None:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
