"""Checkpoints survive kills, full disks and flipped bits, and say so when they do not."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from node_repro.training import checkpoint
from node_repro.training.checkpoint import CheckpointError, Checkpoints, Loaded


def state_at(step: int) -> dict:
    generator = torch.Generator().manual_seed(step)
    weight = torch.rand(50, 40, generator=generator)
    return {"model": {"weight": weight}, "step": step, "random": (3, (2**32 - 1, 7), None)}


def equal(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and type(a) is type(b):
        assert isinstance(b, list | tuple)
        return len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and a == b


def saved(folder: Path, *steps: int) -> Checkpoints:
    checkpoints = Checkpoints(folder / "checkpoints", "s1")
    for step in steps:
        checkpoints.save(state_at(step), step)
    return checkpoints


def last(checkpoints: Checkpoints) -> Loaded:
    loaded = checkpoints.load_last()
    assert loaded is not None
    return loaded


def names(checkpoints: Checkpoints) -> list[str]:
    return sorted(os.listdir(checkpoints.directory))


def test_every_allowed_kind_of_value_comes_back_as_it_was(tmp_path: Path) -> None:
    state = {
        "tensors": [
            torch.rand(3, 4),
            torch.tensor(2.5, dtype=torch.float64),
            torch.arange(5),
            torch.tensor([True, False]),
            torch.rand(2, dtype=torch.bfloat16),
            torch.rand(2, dtype=torch.complex64),
            torch.empty(0, 3),
            torch.get_rng_state(),
        ],
        "random": random.getstate(),
        "plain": {"a": 1, 2: 2.5, "c": None, "d": True, "e": "ü\n", "f": float("inf"), "g": 2**70},
        "empty": [{}, [], ()],
    }
    checkpoints = Checkpoints(tmp_path, "s1")
    checkpoints.save(state, 7)
    loaded = last(checkpoints)
    assert equal(loaded.state, state) and loaded.step == 7 and loaded.notes == ()


def test_file_is_read_by_torch_alone_with_the_model_at_top_level(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.rand(5, 3)).sum().backward()
    optimizer.step()
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    Checkpoints(tmp_path, "s1").save(state, 12)
    file = torch.load(tmp_path / "step_000000012.pt", weights_only=True)
    assert list(file["header"]) == ["format", "signature", "step"]
    assert (file["header"]["signature"], file["header"]["step"]) == ("s1", 12)
    other = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    other.load_state_dict(file["model"])
    assert equal(dict(other.state_dict()), dict(model.state_dict()))
    torch.optim.SGD(other.parameters(), lr=0.5, momentum=0.9).load_state_dict(file["optimizer"])


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a": [0, {1, 2}]}, r"state\['a'\]\[1\] is a builtins.set"),
        ({"a": {"b": object()}}, r"state\['a'\]\['b'\] is a builtins.object"),
        ({"lr": __import__("numpy").float64(0.1)}, r"state\['lr'\] is a numpy.float64"),
        ({"s": torch.Size([1])}, r"state\['s'\] is a torch.Size"),
        ({"d": torch.float32}, r"state\['d'\] is a torch.dtype"),
        ({"b": b"x"}, r"state\['b'\] is a builtins.bytes"),
        ({"n": Loaded({}, 1, ())}, r"state\['n'\] is a node_repro.training.checkpoint.Loaded"),
        ({"t": torch.eye(2).to_sparse()}, r"state\['t'\] is a torch.Tensor"),
        ({"k": {(1, 2): 3}}, r"state\['k'\] has the key \(1, 2\)"),
        ({1.5: 3}, r"state has the key 1.5"),
    ],
)
def test_anything_else_is_refused_with_its_place(tmp_path: Path, value: dict, where: str) -> None:
    with pytest.raises(TypeError, match=where):
        Checkpoints(tmp_path / "c", "s1").save(value, 1)
    assert not (tmp_path / "c").exists()


def test_the_key_header_is_taken(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'header'"):
        Checkpoints(tmp_path, "s1").save({"header": 1}, 1)


def test_small_view_does_not_save_its_large_storage(tmp_path: Path) -> None:
    Checkpoints(tmp_path, "s1").save({"a": torch.rand(100_000)[:3]}, 1)
    assert (tmp_path / "step_000000001.pt").stat().st_size < 5_000


def test_nothing_saved_yet_is_none(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "none", "s1").load_last() is None
    assert Checkpoints(tmp_path / "none", "s1").load_best() is None


def test_last_two_and_the_best_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "s1")
    for step, best in ((10, False), (20, True), (30, False), (100, False)):
        checkpoints.save(state_at(step), step, best)
    assert names(checkpoints) == ["best.pt", "step_000000030.pt", "step_000000100.pt"]
    assert last(checkpoints).step == 100
    best = checkpoints.load_best()
    assert best is not None and best.step == 20 and equal(best.state, state_at(20))


def test_weights_that_are_kept_outlive_later_checkpoints(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 1)
    for step in (10, 2):
        checkpoints.keep_weights(state_at(step)["model"], step)
    for step in (11, 12, 13):
        checkpoints.save(state_at(step), step)
    assert checkpoints.kept_steps() == [2, 10]
    loaded = checkpoints.load_kept(10)
    assert loaded.step == 10 and equal(loaded.state, {"model": state_at(10)["model"]})
    assert last(checkpoints).step == 13
    (checkpoints.directory / "weights_000000002.pt").write_bytes(b"")
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoints.load_kept(2)


def test_saving_earlier_than_an_abandoned_checkpoint_makes_the_new_one_the_last(
    tmp_path: Path,
) -> None:
    checkpoints = saved(tmp_path, 10, 20)
    (checkpoints.directory / "step_000000020.pt").write_bytes(b"")
    assert last(checkpoints).step == 10
    checkpoints.save(state_at(15), 15)
    assert names(checkpoints) == ["step_000000010.pt", "step_000000015.pt"]
    assert last(checkpoints)[1:] == (15, ())


class Malicious:
    def __reduce__(self) -> tuple:
        return os.mkdir, (os.environ["MALICIOUS"],)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def flip_in_a_tensor(path: Path) -> None:
    data = bytearray(path.read_bytes())
    weight = torch.load(path, weights_only=True)["model"]["weight"].numpy().tobytes()
    data[data.index(weight) + 1000] ^= 1
    path.write_bytes(data)


def flip_in_the_signature(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"s1", b"s3"))


def no_header(path: Path) -> None:
    torch.save({"model": {}}, path)


def odd_header(path: Path) -> None:
    torch.save({"header": {"format": 1, "sha256": "x"}}, path)


def a_list(path: Path) -> None:
    torch.save([1, 2], path)


def malicious(path: Path) -> None:
    torch.save({"header": {"format": 1}, "model": Malicious()}, path)


def another_step(path: Path) -> None:
    path.write_bytes(path.with_name("step_000000010.pt").read_bytes())


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = [
    *(truncate, empty, zeros, flip_in_a_tensor, flip_in_the_signature, no_header, odd_header),
    *(a_list, malicious, another_step, a_directory),
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damaged_checkpoint_is_named_and_the_one_before_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: object
) -> None:
    monkeypatch.setenv("MALICIOUS", str(tmp_path / "harm"))
    checkpoints = saved(tmp_path, 10, 20)
    damage(checkpoints.directory / "step_000000020.pt")  # type: ignore[operator]
    loaded = last(checkpoints)
    assert loaded.step == 10 and equal(loaded.state, state_at(10))
    assert len(loaded.notes) == 1 and "step_000000020.pt is damaged (" in loaded.notes[0]
    assert not (tmp_path / "harm").exists()


def test_flipped_bit_anywhere_is_noticed_or_harmless(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 10, 20)
    path = checkpoints.directory / "step_000000020.pt"
    whole = path.read_bytes()
    noticed = 0
    for position in random.Random(0).sample(range(len(whole)), 150):
        data = bytearray(whole)
        data[position] ^= 1 << (position % 8)
        path.write_bytes(data)
        loaded = last(checkpoints)
        noticed += len(loaded.notes)
        assert equal(loaded.state, state_at(10 if loaded.notes else 20))
    assert noticed > 100


def test_all_damaged_is_one_sentence(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 10, 20)
    for path in checkpoints.directory.iterdir():
        truncate(path)
    with pytest.raises(CheckpointError, match=r"All .*damaged \(step_000000020.pt, .*10.pt\)"):
        checkpoints.load_last()


def test_damaged_best_is_one_sentence(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "s1")
    checkpoints.save(state_at(1), 1, best=True)
    truncate(tmp_path / "best.pt")
    with pytest.raises(CheckpointError, match=r"best.pt is damaged"):
        checkpoints.load_best()


def test_newer_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "FORMAT", 3)
        checkpoints = saved(tmp_path, 10)
    with pytest.raises(CheckpointError, match="has format 3, this program reads up to 2"):
        checkpoints.load_last()


def test_format_1_is_read(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 10)
    header = {"format": 1, "signature": "s1", "step": 20, "sha256": "00"}
    torch.save({"header": header} | state_at(20), checkpoints.directory / "step_000000020.pt")
    assert last(checkpoints).step == 20 and equal(last(checkpoints).state, state_at(20))


def test_checkpoint_of_another_configuration_is_refused(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 10)
    with pytest.raises(CheckpointError, match=r"another configuration .signature s1.*is s2"):
        Checkpoints(checkpoints.directory, "s2").load_last()


@pytest.mark.parametrize("call", ["fsync", "replace", "unlink"])
def test_failing_file_system_while_saving_leaves_a_loadable_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    checkpoints = saved(tmp_path, 10, 20)

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, call, fail)
        with pytest.raises(CheckpointError, match=r"Cannot save .*30.pt: the disk is full"):
            checkpoints.save(state_at(30), 30)
    loaded = last(checkpoints)
    assert equal(loaded.state, state_at(loaded.step)) and loaded.step in (20, 30)
    assert loaded.notes == ()


def test_file_size_limit_of_the_system_leaves_the_checkpoint_before_intact(tmp_path: Path) -> None:
    import resource

    checkpoints = saved(tmp_path, 10)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
    try:
        with pytest.raises(CheckpointError, match=r"intact"):
            checkpoints.save(state_at(20), 20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names(checkpoints) == ["step_000000010.pt"]
    assert last(checkpoints).step == 10


def test_run_directory_that_was_deleted_is_not_made_again(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        saved(tmp_path / "deleted", 10)
    assert not (tmp_path / "deleted").exists()


def test_kill_between_rename_and_prune_leaves_the_new_state_and_the_next_save_prunes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = saved(tmp_path, 10, 20)

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, "_prune", kill)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.save(state_at(30), 30)
    assert len(names(checkpoints)) == 3 and last(checkpoints)[1:] == (30, ())
    checkpoints.save(state_at(40), 40)
    assert names(checkpoints) == ["step_000000030.pt", "step_000000040.pt"]


def test_leftovers_of_killed_writers_are_removed_by_the_next_save(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 10)
    (checkpoints.directory / ".step_000000011.pt.77.tmp").write_bytes(b"half")
    assert last(checkpoints).step == 10
    checkpoints.save(state_at(20), 20)
    assert names(checkpoints) == ["step_000000010.pt", "step_000000020.pt"]


def test_ordered_dict_and_parameter_become_plain(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "s1")
    checkpoints.save({"a": OrderedDict(w=nn.Parameter(torch.ones(2)))}, 1)
    loaded = last(checkpoints).state["a"]
    assert type(loaded) is dict and type(loaded["w"]) is torch.Tensor
    assert not loaded["w"].requires_grad


def save_until_killed(folder: Path, kills: int) -> None:
    """In a process of its own: kills a forked writer at random instants, `kills` times."""
    torch.set_num_threads(1)
    checkpoints = Checkpoints(folder, "s1")
    instants = random.Random(0)
    for _ in range(kills):
        before = checkpoints.load_last()
        step = before.step if before else 0
        child = os.fork()
        if child == 0:
            while True:
                step += 1
                checkpoints.save(state_at(step), step, best=step % 3 == 0)
        time.sleep(instants.uniform(0.003, 0.04))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        after, best = checkpoints.load_last(), checkpoints.load_best()
        for loaded in (after, best):
            assert loaded is None or equal(loaded.state, state_at(loaded.step))
            assert loaded is None or loaded.notes == ()
        assert before is None or (after is not None and after.step >= before.step)
        print("killed after", after.step if after else None, flush=True)


@pytest.mark.parametrize("kills", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_writer_killed_at_random_instants_leaves_a_whole_last_checkpoint(
    tmp_path: Path, kills: int
) -> None:
    command = [sys.executable, __file__, str(tmp_path), str(kills)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    steps = [line.split()[-1] for line in done.stdout.splitlines()]
    assert len(steps) == kills and steps[-1] != "None"


if __name__ == "__main__":
    save_until_killed(Path(sys.argv[1]), int(sys.argv[2]))
