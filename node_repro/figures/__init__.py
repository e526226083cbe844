"""Pictures: functions from arrays to a `Figure` or to the bytes of a PNG or GIF.

This is the only package that imports matplotlib. Pictures use `Figure` directly and not pyplot,
which would change global state. All have the same style (see `style`).
"""

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from node_repro.figures.style import in_style

DPI = 150
GIF_COLOURS = 128


@in_style
def png(figure: Figure) -> bytes:
    """The figure as a PNG file. It contains no date, so equal figures give equal files."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


@in_style
def gif(figures: Sequence[Figure], seconds: float) -> bytes:
    """The figures as an animated GIF that repeats every `seconds`."""
    images = [_image(figure) for figure in figures]
    film = Image.fromarray(np.concatenate([np.asarray(image) for image in images]))
    palette = film.quantize(GIF_COLOURS, kmeans=1)
    frames = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
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


def _image(figure: Figure) -> Image.Image:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def npz(**arrays: object) -> bytes:
    """Named arrays as a compressed .npz file, to store the data of a picture."""
    buffer = io.BytesIO()
    plain: dict = {name: np.asarray(value) for name, value in arrays.items()}
    np.savez_compressed(buffer, **plain)
    return buffer.getvalue()
