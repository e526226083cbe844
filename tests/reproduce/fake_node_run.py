"""Stands for `node-run` in tests of what runs it: leaves the files that matter, at once.

$FAIL: words of which one in the command makes it fail. $WAIT: a run of this experiment waits for
SIGTERM, and is saved by it.
"""

import json
import os
import signal
import sys
from pathlib import Path

from node_repro.config.overrides import unquoted

words = sys.argv[1:]
given = dict(word.split("=", 1) for word in words)
outputs = Path(unquoted(given["outputs"]))
with (outputs / "calls.txt").open("a") as file:
    file.write(" ".join(words) + "\n")
with (outputs / "limits.txt").open("a") as file:
    file.write(os.environ.get("OMP_THREAD_LIMIT", "none") + "\n")
if given.get("job") == "report":
    (outputs / "report").mkdir(exist_ok=True)
    (outputs / "report" / "index.html").write_text("<p>")
    sys.exit()
if any(word in os.environ.get("FAIL", "").split() for word in words):
    print("data       some\nnode-run: it blew up")
    sys.exit(4)


def save() -> int:
    """What a run says that a signal stops."""
    print("stopped    after iteration 1 of 2; all is saved", flush=True)
    return 143


folder = outputs / given["experiment"] / f"{given['profile']}-some-0" / f"seed{given['seed']}"
folder.mkdir(parents=True, exist_ok=True)
if given["experiment"] == os.environ.get("WAIT"):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(save()))
    (folder / "status.json").write_text(json.dumps({"state": "RUNNING"}))
    signal.pause()
if "probe" in given:
    (folder / "probes").mkdir(exist_ok=True)
    (folder / "probes" / f"{given['probe']}.json").write_text("{}")
else:
    (folder / "result.json").write_text(json.dumps({"training": {"seconds": 60.0}}))
