"""Drawing: functions from arrays to a `Figure`, or to the bytes of a PNG or GIF. Here only is
matplotlib imported.

A picture is made with `Figure` of its own, never with pyplot, so that nothing global is touched.
"""

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

DPI = 100


def png(figure: Figure) -> bytes:
    """The figure as a PNG file; without a date, so that equal figures are equal files."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def gif(figures: Sequence[Figure], seconds: float) -> bytes:
    """The figures as an endless animation that lasts so many seconds."""
    frames = [_frame(figure) for figure in figures]
    buffer = io.BytesIO()
    frames[0].save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=frames[1:],
        duration=round(1000 * seconds / len(frames)),
        loop=0,
    )
    return buffer.getvalue()


def _frame(figure: Figure) -> Image.Image:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("P")


def npz(**arrays: object) -> bytes:
    """Named arrays as a compressed .npz file: what a picture was drawn from."""
    buffer = io.BytesIO()
    plain: dict = {name: np.asarray(value) for name, value in arrays.items()}
    np.savez_compressed(buffer, **plain)
    return buffer.getvalue()
