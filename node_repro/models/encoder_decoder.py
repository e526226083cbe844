"""Linear encoder and decoder around a deep map: z(0) = encoder(x), y = decoder(z).

Both are linear (or the identity), so that everything nonlinear happens along the depth.
"""

from typing import NamedTuple

from torch import nn


class EncoderDecoder(NamedTuple):
    """`dimensions` is the number of components of the state between the two."""

    encoder: nn.Module
    decoder: nn.Module
    dimensions: int


def encoder_decoder(features: int, dimensions: int | None, outputs: int) -> EncoderDecoder:
    """Build both ends of a deep map.

    Args:
        features: Components of x.
        dimensions: Components of the state. None starts the state at x itself; then y is the final
            state if it has as many components.
        outputs: Components of y.
    """
    if dimensions is not None:
        return EncoderDecoder(
            nn.Linear(features, dimensions), nn.Linear(dimensions, outputs), dimensions
        )
    decoder = nn.Identity() if features == outputs else nn.Linear(features, outputs)
    return EncoderDecoder(nn.Identity(), decoder, features)
