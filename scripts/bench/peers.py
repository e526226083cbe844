"""Peers in environments of their own, with pinned versions, below the output folder.

torchode needs torch: its environment sees the packages of this project's, and adds to them.
"""

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from bench.program import Contender

SCRIPTS = Path(__file__).resolve().parents[1]


class Peer(NamedTuple):
    """A peer. with_project: its environment sees the packages of this project's."""

    name: str
    requirements: tuple[str, ...]
    with_project: bool = False


DIFFRAX = Peer("diffrax", ("diffrax==0.7.2", "jax==0.10.2", "jaxlib==0.10.2", "equinox==0.13.8"))
TORCHODE = Peer("torchode", ("torchode==1.0.1", "torchtyping==0.1.5", "typeguard==2.13.3"), True)
PEERS = (DIFFRAX, TORCHODE)


class NotInstalled(Exception):
    """A peer cannot be installed; the message is the reason."""


def interpreter(peer: Peer, folder: Path) -> str:
    """The Python of the peer's environment, which is made if it is not there.

    Raises:
        NotInstalled: The environment cannot be made.
    """
    home = (folder / f"env-{peer.name}").resolve()
    python, marker = home / "bin" / "python", home / "installed"
    wanted = "\n".join((*peer.requirements, sys.version))
    if marker.is_file() and marker.read_text() == wanted:
        return str(python)
    print(f"making {home}: {', '.join(peer.requirements)}", flush=True)
    _run([sys.executable, "-m", "venv", "--clear", str(home)])
    if peer.with_project:
        packages = Path(sysconfig.get_path("purelib", vars={"base": str(home)}))
        (packages / "project.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*install, *peer.requirements])
    marker.write_text(wanted)
    return str(python)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines() or [f"code {done.returncode}"]
        errors = [line for line in words if line.startswith("ERROR")] or words
        raise NotInstalled(f"cannot be installed: {errors[-1][:200]}")


class Program(Contender):
    """A module of this folder that runs in a peer's environment and ends in `serve`.

    Args:
        python: The interpreter.
        module: Its name in this package.
        arguments: Its arguments.
    """

    def __init__(self, python: str, module: str, *arguments: object) -> None:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        if environment.get("OMP_NUM_THREADS") == "1":
            environment["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
        self.complaints = tempfile.TemporaryFile("w+")  # a pipe that nobody reads would fill up
        self.process = subprocess.Popen(
            [python, "-m", f"bench.{module}", *map(str, arguments)],
            env=environment | {"PYTHONPATH": str(SCRIPTS), "JAX_PLATFORMS": "cpu"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.complaints,
            text=True,
        )

    def iterate(self) -> None:
        self.timed(1)

    def timed(self, repeats: int) -> float:
        return self._ask(f"time {repeats}")

    def report(self) -> dict[str, Any]:
        return self._ask("report")

    def _ask(self, line: str) -> Any:  # noqa: ANN401
        process = self.process
        assert process.stdin and process.stdout
        try:
            process.stdin.write(line + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            code = process.wait()
            self.complaints.seek(0)
            words = self.complaints.read().strip().splitlines()
            raise RuntimeError(words[-1] if words else f"ended with code {code}")
        return json.loads(answer)
