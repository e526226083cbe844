"""`node-run list`: experiments and probes, what they cost, what they are for, how far they are."""

from collections import Counter
from statistics import mean

from node_repro.config.choices import Choices
from node_repro.reproduce import Ask, Experiment
from node_repro.reproduce.cost import probe_seconds, training_seconds
from node_repro.reproduce.experiments import Experiments
from node_repro.reproduce.plan import is_embedded, is_smallest, probed
from node_repro.reproduce.states import (
    DONE,
    FAILED,
    INTERRUPTED,
    RUNNING,
    State,
    is_probed,
    state,
)
from node_repro.reproduce.words import duration


def listing(ask: Ask, choices: Choices) -> str:
    """The table as text. A cost is that of one seed on one thread: estimated (~), or measured here
    where the run is finished."""
    reader, embedded = Experiments(choices, ask.profile), is_embedded(ask, choices)
    found = [reader.read(name) for name in ask.experiments]
    states = {
        one.name: {seed: state(ask, one, seed, embedded=embedded) for seed in ask.seeds}
        for one in found
    }
    width = max((len(one.name) for one in found), default=0) + 2
    lines = [f"{'experiment':<{width}}{'cost':>8}  {'state':<26}what it is for"]
    to_go = 0.0
    for one in found:
        guess = training_seconds(one, embedded=embedded)
        done = [s for s in states[one.name].values() if s.word == DONE]
        to_go += guess * (len(ask.seeds) - len(done))
        cost = _cost([s.seconds for s in done if s.seconds is not None], guess)
        told = _told(states[one.name])
        lines.append(f"{one.name:<{width}}{cost:>8}  {told:<26}{one.feeds}")
    lines += ["", f"{'probe':<{width}}{'cost':>8}  {'state':<26}what it is for"]
    probe_lines, probes_to_go = _probes(ask, choices, found, states, width)
    lines += probe_lines
    total = len(found) * len(ask.seeds)
    words = Counter(s.word for by_seed in states.values() for s in by_seed.values())
    digits = "the 5,000 embedded digits" if embedded else "all digits"
    lines += [
        "",
        f"profile={ask.profile}, {digits}: {words[DONE]} of {total} runs done ({len(found)} "
        f"experiments, {len(ask.seeds)} seeds); about {duration(to_go + probes_to_go)} of one core "
        "to go",
        "~: estimated for one thread from finished runs that shared their machine; rough",
    ]
    return "\n".join(lines) + "\n"


def _probes(
    ask: Ask,
    choices: Choices,
    found: list[Experiment],
    states: dict[str, dict[int, State]],
    width: int,
) -> tuple[list[str], float]:
    lines, to_go = [], 0.0
    pairs = list(probed(found, choices))
    for probe in choices.names("probe"):
        runs = [states[one.name][ask.seeds[0]] for name, one in pairs if name == probe]
        done = sum(run.folder is not None and is_probed(run.folder, probe) for run in runs)
        seconds = probe_seconds(probe, smallest=is_smallest(ask))
        to_go += seconds * (len(runs) - done)
        told = f"{done} of {len(runs)} runs" if runs else "of no run here"
        cost = f"~{duration(seconds)}"
        comment = choices.comment("probe", probe)
        lines.append(f"{probe:<{width}}{cost:>8}  {told:<26}{comment}")
    return lines, to_go


def _cost(measured: list[float], guess: float) -> str:
    return duration(mean(measured)) if measured else f"~{duration(guess)}"


def _told(states: dict[int, State]) -> str:
    """ "2 of 3 done, 1 failed"; a single seed's state alone."""
    words = Counter(one.word for one in states.values())
    if len(states) == 1:
        return next(iter(words))
    rest = "".join(_also(words, word) for word in (RUNNING, INTERRUPTED, FAILED))
    return f"{words[DONE]} of {len(states)} done{rest}"


def _also(words: Counter[str], word: str) -> str:
    return f", {words[word]} {word}" if words[word] else ""
