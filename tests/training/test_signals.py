"""The first signal is kept, the second one kills, and afterwards all is as before."""

import os
import signal

import pytest

from node_repro.training.signals import EXIT_CODES, Signals


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 75)]
)
def test_first_signal_is_kept_with_its_exit_code(number: signal.Signals, code: int) -> None:
    with Signals() as signals:
        assert (signals.received, signals.exit_code) == (None, 0)
        os.kill(os.getpid(), number)
        assert (signals.received, signals.exit_code) == (number, code)


def test_second_signal_of_any_kind_meets_the_default_action() -> None:
    with Signals():
        os.kill(os.getpid(), signal.SIGUSR1)
        assert {signal.getsignal(number) for number in EXIT_CODES} == {signal.SIG_DFL}


def test_handlers_are_as_before_when_the_block_is_left() -> None:
    before = {number: signal.getsignal(number) for number in EXIT_CODES}
    with pytest.raises(KeyError), Signals():
        assert signal.getsignal(signal.SIGTERM) != before[signal.SIGTERM]
        os.kill(os.getpid(), signal.SIGTERM)
        raise KeyError
    assert {number: signal.getsignal(number) for number in EXIT_CODES} == before


def test_other_signals_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGHUP)
    with Signals():
        assert signal.getsignal(signal.SIGHUP) == before
