"""Durations as text."""


def format_duration(seconds: float) -> str:
    """ "40 s", "7 min" or "2.5 h", to about two digits."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
