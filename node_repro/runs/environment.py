"""The environment of a run: interpreter, machine, versions, git state.

This module does not import torch and does not create a CUDA context; torch's information on CUDA
is added if torch is imported already. Facts that cannot be determined are None.
"""

import functools
import hashlib
import importlib.metadata
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from datetime import datetime
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent
_VERSIONED = (
    "torch torchvision numpy scipy hydra-core omegaconf tensorboard matplotlib scikit-learn mlxtend"
).split()
EXIT_DELAY = 5
"""Seconds that a process waits before it exits after an error. torchrun kills the other processes
as soon as one exits, and the one that failed may still be printing its message.
"""

_DIFF_LIMIT = 1_000_000


def environment() -> dict:
    """The environment as JSON values. Takes about 0.2 s the first time."""
    installed = _installed()
    listing = sorted(f"{name}=={version}" for name, version in installed.items())
    return {
        "recorded": datetime.now().astimezone().isoformat(timespec="seconds"),
        "package_version": installed.get("node-repro"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "hostname": socket.gethostname(),
        "cpu_model": _cpu_model(),
        "cpu_count": os.cpu_count(),
        "cpu_usable": usable_cores(),
        "processes": processes(),
        "versions": {name: installed.get(name) for name in _VERSIONED},
        "git": _git(_PACKAGE),
        "gpu": {"names": _gpu_names(), "driver": _gpu_driver()},
        "torch": _torch(),
        "distributions_sha256": hashlib.sha256("\n".join(listing).encode()).hexdigest(),
        "distributions": listing,
    }


def processes() -> int:
    """Number of processes that train this run together, as set by torchrun; 1 without it."""
    names = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    return int(os.environ["WORLD_SIZE"]) if all(name in os.environ for name in names) else 1


def changes(before: dict, now: dict) -> list[str]:
    """Differences that may change results, in the form `torch 2.12 -> 2.13`."""

    def facts(record: dict) -> dict:
        git = record.get("git") or {}
        own = {key: record.get(key) for key in ("package_version", "python", "cpu_model")}
        own["processes"] = record.get("processes", 1)
        return own | (record.get("versions") or {}) | {"git": git.get("sha")}

    old, new = facts(before), facts(now)
    return [f"{k} {old.get(k)} -> {new[k]}" for k in new if old.get(k) != new[k]]


@functools.cache
def _installed() -> dict[str, str]:
    """Normalised name -> version of every distribution; the first one on the path, as imported."""
    versions: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if name and distribution.version:
            versions.setdefault(re.sub(r"[-_.]+", "-", name).lower(), distribution.version)
    return versions


@functools.cache
def _cpu_model() -> str | None:
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        text = ""
    match = re.search(r"^(?:model name|Model|cpu model)\s*:\s*(.+)$", text, re.MULTILINE)
    return match.group(1).strip() if match else platform.processor() or None


def usable_cores() -> int:
    """Number of CPU cores available to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def _git(package: Path) -> dict | None:
    """sha, dirty and diff if the package is tracked in a git checkout, else None.

    Cached, because the imported code is that of the start of the process.
    """
    if shutil.which("git") is None:
        return None
    if _run_git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    changed = _run_git(package, "status", "--porcelain")
    diff = _run_git(package, "diff", "HEAD", "--no-ext-diff", "--no-textconv", "--no-color") or ""
    if len(diff) > _DIFF_LIMIT:
        diff = f"{diff[:_DIFF_LIMIT]}\n(cut: {len(diff)} characters in all)\n"
    sha = (_run_git(package, "rev-parse", "HEAD") or "").strip() or None
    return {"sha": sha, "dirty": None if changed is None else bool(changed), "diff": diff}


def _run_git(package: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(package), *arguments],
            capture_output=True,
            timeout=10,
            check=True,
            stdin=subprocess.DEVNULL,
            env=os.environ | {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace")


def _gpu_names() -> list[str]:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    names = []
    for file in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        match = re.search(r"^Model:\s*(.+)$", file.read_text(errors="replace"), re.MULTILINE)
        names += [match.group(1).strip()] if match else []
    return names


def _gpu_driver() -> str | None:
    try:
        text = Path("/proc/driver/nvidia/version").read_text(errors="replace")
    except OSError:
        return None
    match = re.search(r"\b\d{3}\.\d+(?:\.\d+)*\b", text)
    return match.group(0) if match else None


def _torch() -> dict | None:
    """Versions of torch, CUDA and cuDNN, and the threads, if torch is imported already."""
    torch = sys.modules.get("torch")
    if torch is None or "get_num_threads" not in vars(torch):  # not imported, or partially
        return None
    return {
        "version": str(torch.__version__),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "threads": torch.get_num_threads(),
    }
