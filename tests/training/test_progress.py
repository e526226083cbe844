"""What a person sees: lines and a log, a bar only where there is a terminal, an estimate."""

import io
import re
import sys
from pathlib import Path

import pytest

from node_repro.runs import OutputError
from node_repro.training import progress
from node_repro.training.forecast import MEASURED, WARM_UP
from node_repro.training.progress import Progress, about

METRICS = {"loss_nats": 0.25, "error": 0.0312, "nfe_forward": 26.0, "nfe_backward": 31.5}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(folder: Path, bar: str = "off", total: int = 20, per_epoch: int = 10) -> Progress:
    return Progress(folder / "train.log", bar=bar, total=total, per_epoch=per_epoch)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time now; it stands still unless a test moves it."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_line_goes_to_stdout_and_to_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for line in ("first", "zweite ±"):
        shown(tmp_path).say(line)
    assert capsys.readouterr().out == "first\nzweite ±\n"
    assert (tmp_path / "train.log").read_text(encoding="utf-8") == "first\nzweite ±\n"


def test_log_that_cannot_be_written_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "train.log").symlink_to("/dev/full")
    with pytest.raises(OutputError, match=r"Cannot write .*train\.log: the disk is full"):
        shown(tmp_path).say("a line")


@pytest.mark.parametrize(("bar", "terminal"), [("auto", False), ("off", False), ("off", True)])
def test_without_a_terminal_or_a_wish_there_is_no_bar(
    bar: str, terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    assert list(shown(tmp_path, bar).steps(range(20), 0)) == list(range(20))
    assert stderr.getvalue() == ""


@pytest.mark.parametrize(("bar", "terminal"), [("auto", True), ("on", True), ("on", False)])
def test_bar_starts_where_the_run_stands_and_shows_the_last_numbers(
    bar: str, terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setenv("COLUMNS", "200")
    view = shown(tmp_path, bar)
    for step in view.steps(range(5, 20), 5):
        view.show("train", step, METRICS)
        assert view._bar is not None
        view._bar.refresh()
    assert "| 5/20 [" in stderr.getvalue()
    assert "loss 0.2500 nats error 3.12 % NFE 26.0/31.5" in stderr.getvalue()


def test_closed_stderr_is_no_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert not shown(tmp_path, "auto")._shown


def test_equal_iterations_have_one_estimate_from_the_first_after_the_warm_up(
    tmp_path: Path, clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    for done, _ in enumerate(shown(tmp_path, total=1007).steps(range(1007), 0)):
        clock[0] += 60.0 if done < WARM_UP else 0.5
    assert WARM_UP + MEASURED == 7
    assert capsys.readouterr().out == (
        "estimate   about 8 min of training at 0.50 s per iteration, evaluations not counted\n"
        "trained    in about 10 min; the first estimate was about 10 min\n"
    )


def grown(step: int) -> float:
    """Seconds of an iteration, which become eight times as many within 1,000."""
    return 0.05 + 0.35 * step / 1000


def trained(view: Progress, clock: list[float], *, every: int, evaluation: float) -> None:
    """1,000 iterations that grow more expensive, with evaluations and their pictures."""
    for step in view.steps(range(1000), 0):
        clock[0] += grown(step)
        if (step + 1) % every == 0:
            clock[0] += evaluation / 2
            view.show("epoch", step + 1, METRICS | {"step_seconds": grown(step)})
            view.show("validation", step + 1, METRICS | {"evaluation_seconds": evaluation / 2})
            clock[0] += evaluation / 2


def said_left(line: str) -> float:
    """In seconds."""
    number, unit = re.search(r"about ([\d.]+) (s|min)(?: of training| left)", line).groups()  # type: ignore[union-attr]
    return float(number) * {"s": 1, "min": 60}[unit]


def test_an_estimate_is_corrected_where_iterations_grow_more_expensive(
    tmp_path: Path, clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    view = shown(tmp_path, total=1000)
    steps: list[int] = []
    for step in view.steps(range(1000), 0):
        clock[0] += grown(step)
        if capsys.readouterr().out.startswith("estimate"):
            steps.append(step)
    assert steps[0] == 7  # the whole takes 225 s, of which the first iterations say 52
    assert 3 <= len(steps) <= 8 and steps[-1] < 500
    estimate = view.time_estimate
    assert estimate is not None
    assert estimate.first == pytest.approx(52, abs=5)
    assert estimate.last == pytest.approx(225, rel=0.3)
    assert estimate.taken == pytest.approx(sum(map(grown, range(1000))))


def test_every_evaluation_says_what_is_left_with_the_evaluations_to_come(
    tmp_path: Path, clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    view = Progress(
        tmp_path / "train.log", bar="off", total=1000, per_epoch=None, evaluate_every=100
    )
    trained(view, clock, every=100, evaluation=20.0)
    lines = capsys.readouterr().out.splitlines()
    at = {int(line.split()[1].split("/")[0]): line for line in lines if "validation" in line}
    for done in (500, 600, 700, 900):
        true = sum(map(grown, range(done, 1000))) + (1000 - done) / 100 * 20
        assert said_left(at[done]) == pytest.approx(true, rel=0.05, abs=31)
    assert "left" not in at[1000]
    assert lines[-1].startswith("trained    in about 7 min; the first estimate was about ")


def test_a_short_training_says_nothing_of_its_time(
    tmp_path: Path, clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    view = shown(tmp_path, total=7)
    for _ in view.steps(range(7), 0):
        clock[0] += 1.0
    assert (view.time_estimate, capsys.readouterr().out) == (None, "")


def test_estimate_of_a_resumed_run_is_for_what_is_left(
    tmp_path: Path, clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in shown(tmp_path, total=1007).steps(range(980, 1007), 980):
        clock[0] += 1.0
    assert capsys.readouterr().out.startswith("estimate   about 20 s ")


@pytest.mark.parametrize(
    ("step", "epoch"), [(10, "epoch 1/3"), (20, "epoch 2/3"), (25, "epoch 3/3")]
)
def test_validation_is_a_line_with_the_epochs_means(
    step: int, epoch: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    view = shown(tmp_path, total=25)
    view.show("train", step, METRICS)
    view.show("epoch", step, METRICS | {"step_seconds": 0.256})
    assert capsys.readouterr().out == ""
    view.show("validation", step, {"loss_nats": 0.5, "error": 0.1, "nfe_forward": 20.0})
    assert capsys.readouterr().out == (
        f"{epoch}  train loss 0.2500 nats error 3.12 % NFE 26.0/31.5  0.26 s/it  "
        "validation loss 0.5000 nats error 10.00 % NFE 20.0\n"
    )


def test_network_without_an_ode_shows_no_evaluations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    view = shown(tmp_path)
    view.show("epoch", 10, {"loss_nats": 0.5, "error": 0.25, "step_seconds": 0.5})
    view.show("validation", 10, {"loss_nats": 0.5, "error": 0.25})
    assert "NFE" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "about 1 s"),
        (89, "about 89 s"),
        (91, "about 2 min"),
        (3600, "about 60 min"),
        (9000, "about 2.5 h"),
    ],
)
def test_durations_are_in_words(seconds: float, words: str) -> None:
    assert about(seconds) == words
