"""When Python looks for garbage: not while a program starts, as its imports make none."""

import gc


def leave() -> None:
    """No more. Imports make a million objects; looking through them is a quarter of a start."""
    gc.disable()


def collect_all() -> None:
    """Again, and in everything: what a job of a sweep leaves, the next one does not need."""
    collect()
    gc.unfreeze()


def collect() -> None:
    """Again, but never in what was made meanwhile. Nothing where it is looked for already."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
