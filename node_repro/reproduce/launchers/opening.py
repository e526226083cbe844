"""Open the launcher that a request names."""

from collections.abc import Mapping
from pathlib import Path

from node_repro.reproduce.launchers import Launcher
from node_repro.reproduce.launchers.processes import Processes
from node_repro.reproduce.launchers.ray import Ray
from node_repro.reproduce.launchers.slurm import Slurm


def open_launcher(
    name: str, options: Mapping[str, str], jobs: int | None, folder: Path
) -> Launcher:
    """The launcher of that name.

    Args:
        name: One of LAUNCHERS.
        options: The options `launcher.KEY=VALUE` of the command line, by key.
        jobs: Largest number of concurrent jobs; None for as many as the cluster takes.
        folder: Folder of the logs.

    Raises:
        ConfigError: The launcher is not available on this machine, or an option does not fit it.
    """
    if name == "slurm":
        return Slurm(options, folder)
    if name == "ray":
        return Ray(options, folder)
    return Processes(jobs or 1)
