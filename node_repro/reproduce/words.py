"""Durations in the words that people use."""


def duration(seconds: float) -> str:
    """ "40 s", "7 min", "2.5 h": to about two digits."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
