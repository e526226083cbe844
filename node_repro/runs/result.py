"""The result.json of a finished run, as those read it who show its numbers."""

import json
from pathlib import Path
from typing import Any

from node_repro.runs.metrics import restore

_FACTS = ("profile", "seed", "data", "device", "iterations", "parameters", "test_count")


def read_result(path: Path) -> dict[str, Any]:
    """The content of a result.json, with its numbers. ValueError says what is wrong with it."""
    result = restore(json.loads(path.read_bytes()))
    if not isinstance(result, dict):
        raise ValueError("it is no result of a run")
    lacking = [fact for fact in _FACTS if fact not in result]
    lacking += [] if isinstance(result.get("training"), dict) else ["training"]
    for model in ("last", "selected"):
        scores = result.get(model)
        if not isinstance(scores, dict) or not isinstance(scores.get("test"), dict):
            lacking.append(f"{model}.test")
    if lacking:
        raise ValueError(f"it lacks {', '.join(lacking)}")
    return result
