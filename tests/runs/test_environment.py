"""What is written down about where a run took place."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from node_repro.runs import environment as module
from node_repro.runs.environment import changes, environment


def test_environment_names_versions_machine_and_packages() -> None:
    facts = environment()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["python"] == ".".join(map(str, sys.version_info[:3]))
    assert torch.__version__.startswith(facts["versions"]["torch"])
    assert facts["versions"]["hydra-core"] and facts["cpu_count"] >= facts["cpu_usable"] >= 1
    listing = facts["distributions"]
    assert any(line.startswith("numpy==") for line in listing) and listing == sorted(listing)
    assert facts["distributions_sha256"] == hashlib.sha256("\n".join(listing).encode()).hexdigest()
    assert facts["torch"]["threads"] == torch.get_num_threads()  # torch is imported here


def test_no_cuda_context_is_made_for_it() -> None:
    before = torch.cuda.is_initialized()
    environment()
    assert torch.cuda.is_initialized() == before


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("a = 1\n")
    git(tmp_path, "init")
    monkeypatch.setattr(module, "_PACKAGE", package)
    return package


def test_clean_checkout_has_a_sha_and_no_diff(checkout: Path) -> None:
    git(checkout, "add", ".")
    git(checkout, "commit", "-m", "first")
    facts = environment()["git"]
    assert len(facts["sha"]) == 40 and not facts["dirty"] and facts["diff"] == ""


def test_changed_checkout_is_dirty_and_its_diff_is_kept(checkout: Path) -> None:
    git(checkout, "add", ".")
    git(checkout, "commit", "-m", "first")
    (checkout / "__init__.py").write_text("a = 2\n")
    facts = environment()["git"]
    assert facts["dirty"] and "+a = 2" in facts["diff"]


def test_package_installed_inside_a_checkout_of_something_else_has_no_git_state(
    checkout: Path,
) -> None:
    assert environment()["git"] is None


def test_without_git_there_is_no_git_state(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(checkout, "add", ".")
    monkeypatch.setenv("PATH", "")
    assert environment()["git"] is None


def test_changes_name_versions_and_python_but_not_the_clock() -> None:
    now = environment()
    assert changes(now, environment()) == []
    before = {**now, "python": "3.11.0", "versions": now["versions"] | {"torch": None}}
    assert changes(before, now) == [
        f"python 3.11.0 -> {now['python']}",
        f"torch None -> {now['versions']['torch']}",
    ]
