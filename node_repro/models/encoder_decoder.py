"""Linear encoder and decoder around a deep map: z(0) = encoder(x), y = decoder(z).

Both are linear (or the identity), so that everything nonlinear happens along the depth.
"""

from typing import NamedTuple

from torch import nn


class EncoderDecoder(NamedTuple):
    """`dimensions` is the number of components of the state that is decoded."""

    encoder: nn.Module
    decoder: nn.Module
    dimensions: int


def encoder_decoder(
    features: int, dimensions: int | None, outputs: int, augment: int = 0
) -> EncoderDecoder:
    """Build both ends of a deep map.

    Args:
        features: Components of x.
        dimensions: Components of the state. None starts the state at x itself; then y is the final
            state if it has as many components.
        outputs: Components of y.
        augment: Components that are appended to the encoded state before it changes.
    """
    encoder = nn.Identity() if dimensions is None else nn.Linear(features, dimensions)
    size = (features if dimensions is None else dimensions) + augment
    starts_at_x = dimensions is None and size == outputs
    decoder = nn.Identity() if starts_at_x else nn.Linear(size, outputs)
    return EncoderDecoder(encoder, decoder, size)
