"""How many threads `threads=auto` takes, by the kernels of a forward pass; nothing is timed."""

import pytest
import torch

from node_repro.config.compose import compose
from node_repro.config.signature import signature
from node_repro.ode.solution import SolverError
from node_repro.training import build, threads
from node_repro.training.threads import (
    KERNELS,
    LARGE,
    Threads,
    available_threads,
    choose,
    largest_kernel,
)

CPU = torch.device("cpu")
SIDE = 512  # two such matrices take 2 SIDE^3 operations, more than LARGE


@pytest.fixture(autouse=True)
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of eight cores where nobody has set a number; torch keeps its own."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "available_threads", lambda: 8)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)


def product(side: int) -> torch.Tensor:
    return torch.ones(side, side) @ torch.ones(side, side)


def test_a_large_kernel_takes_all_cores_and_small_ones_take_one() -> None:
    assert 2 * SIDE**3 >= LARGE > 2 * 64**3
    large = choose("auto", lambda: product(SIDE), CPU)
    assert large == Threads(8, "since a kernel has 268,435,456 operations, enough to share")
    small = choose("auto", lambda: [product(64) for _ in range(1000)], CPU)
    assert small == Threads(1, "since no kernel has more than 524,288 operations, too few to share")


def test_a_process_of_several_has_its_part_of_the_batch() -> None:
    assert choose("auto", lambda: product(SIDE), CPU, parts=2).count == 8
    assert choose("auto", lambda: product(SIDE), CPU, parts=3).count == 1


def test_a_number_and_the_users_environment_have_the_word(monkeypatch: pytest.MonkeyPatch) -> None:
    def unasked() -> object:
        pytest.fail("nothing has to be measured")

    assert choose(3, unasked, CPU) == Threads(3, "")
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert choose("auto", unasked, CPU) == Threads(8, "set by OMP_NUM_THREADS")
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert choose("auto", unasked, torch.device("cuda")) == Threads(8, "")
    monkeypatch.setattr(threads, "available_threads", lambda: 1)
    assert choose("auto", unasked, CPU) == Threads(1, "the only one available")


def test_there_are_no_more_threads_than_openmp_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    counts = {}
    for limit in ("", "4", "100", "0", "many"):
        monkeypatch.setenv("OMP_THREAD_LIMIT", limit)
        available_threads.cache_clear()
        counts[limit] = available_threads()
    available_threads.cache_clear()
    assert counts == {"": 6, "4": 4, "100": 6, "0": 6, "many": 6}


def test_looking_draws_no_random_numbers_and_ends_early() -> None:
    torch.manual_seed(0)
    before, calls = torch.random.get_rng_state(), []

    def forward() -> None:
        for _ in range(2 * KERNELS):
            calls.append(torch.randn(3))

    assert largest_kernel(forward, LARGE) == 0
    assert torch.equal(torch.random.get_rng_state(), before)
    assert len(calls) < KERNELS


def test_a_solve_that_fails_is_left_to_the_training_to_tell() -> None:
    def forward() -> None:
        product(8)
        raise SolverError("max_steps", "too many")

    assert largest_kernel(forward, LARGE) == 2 * 8**3


SMALL = ["task=cnf", "task=cnf model=planar_flow", "task=density_match", "task=latent_ode"]
SMALL += ["task=poisson", "task=regression", "task=classification", "task=line", "task=field_fit"]
SMALL += ["task=latent_ode model=rnn", "task=field_fit solver=lsoda", "task=mnist model=mlp"]


@pytest.mark.parametrize(
    ("words", "count"),
    [*((words, 1) for words in SMALL), ("task=mnist", 8), ("task=mnist model=resnet", 8)],
)
def test_flows_series_and_toys_take_one_thread_and_convolutions_all(words: str, count: int) -> None:
    config = compose([*words.split(), "profile=smoke"])
    machine = build.Machine(CPU, torch.float32)
    task = build.task(config, build.data(config), machine)
    model = build.model(config, task.sizes, machine)
    batch = next(task.training_batches(0, 0))
    assert choose("auto", lambda: task.loss(model, batch), CPU).count == count


def test_threads_are_no_part_of_a_runs_signature() -> None:
    marks = {signature(compose(words), "x") for words in ([], ["threads=auto"], ["threads=3"])}
    assert len(marks) == 1
    assert compose([]).threads == "auto"
