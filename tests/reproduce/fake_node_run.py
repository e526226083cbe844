"""Stands for `node-run` in tests of `node-run reproduce`: leaves the files that matter, at once.

$FAIL: words of which one in the command makes it fail. $WAIT: a run of this experiment waits for
SIGTERM, and is saved by it.
"""

import json
import os
import signal
import sys
from pathlib import Path

from node_repro.config.compose import compose
from node_repro.config.overrides import unquoted
from node_repro.config.signature import run_path, signature
from node_repro.reproduce.parent import stop_with_parent

stop_with_parent()
words = [word for word in sys.argv[1:] if not word.startswith("--")]
folders = [Path(word.partition("=")[2]) for word in sys.argv[1:] if word.startswith("--config-dir")]
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

config = compose(words, folders)
folder = run_path(config, "some")
folder.mkdir(parents=True, exist_ok=True)
(folder / "config.yaml").touch()
if given["experiment"] == os.environ.get("WAIT"):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    (folder / "status.json").write_text(json.dumps({"state": "RUNNING"}))
    signal.pause()
if config.probe is not None:
    (folder / "probes").mkdir(exist_ok=True)
    content = {"options": config.probe.options, "signature": signature(config, "some")}
    text = json.dumps(content | {"facts": {}, "rows": []})
    (folder / "probes" / f"{config.probe.name}.json").write_text(text)
else:
    result = {"profile": config.profile, "seed": config.seed, "data": "some", "device": "cpu"}
    result |= {"iterations": 1, "parameters": 1, "test_count": 1, "training": {"seconds": 60.0}}
    model = {"step": 1, "test": {}}
    text = json.dumps(result | {"last": model, "selected": model})
    (folder / "result.json").write_text(text)
