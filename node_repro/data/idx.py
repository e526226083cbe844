"""Reader of the IDX file format of MNIST.

An IDX file has two zero bytes, a type byte, the number of dimensions, the sizes as big-endian
32-bit integers, and the values in row-major order. Only unsigned bytes (type 8) are supported.
"""

import hashlib
import math
import os
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from node_repro.data import DataError

UNSIGNED_BYTE = 8
PIECE = 1 << 16
GZIP = 31  # zlib's wbits for a gzip member with a CRC-32 check


class IdxFile(NamedTuple):
    """Values, uint8 (*sizes), and the sha256 of the uncompressed file in hexadecimal."""

    values: Tensor
    sha256: str


def read_idx(path: Path) -> IdxFile:
    """Read an IDX file, gzip-compressed if its name ends in .gz.

    Raises DataError if the file cannot be read, decompressed or parsed.
    """
    try:
        with path.open("rb") as file:
            content = bytearray(os.fstat(file.fileno()).st_size)
            del content[file.readinto(content) :]
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}.") from error
    if not content:
        raise DataError(f"{path} is empty: delete it and download it again.")
    if path.suffix == ".gz":
        content = _decompress(content, path)
    return IdxFile(parse_idx(content, path), hashlib.sha256(content).hexdigest())


def parse_idx(content: bytearray, path: Path) -> Tensor:
    """The values of an uncompressed IDX file as a uint8 tensor (*sizes) on the same memory.

    `path` is for messages. Raises DataError if the header or the length is not that of an IDX file.
    """
    if len(content) < 4 or content[:3] != bytes((0, 0, UNSIGNED_BYTE)) or content[3] == 0:
        raise DataError(
            f"{path} is not an IDX file of unsigned bytes (it starts with "
            f"{content[:4].hex(' ')}, not 00 00 08): delete it and download it again."
        )
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise DataError(f"{path} is truncated within its header: delete it and download it again.")
    sizes = struct.unpack_from(f">{content[3]}I", content, 4)
    expected = start + math.prod(sizes)
    if len(content) != expected:
        raise DataError(
            f"{path} has {len(content)} bytes, but its header announces {expected}: "
            "delete it and download it again."
        )
    if expected == start:
        return torch.empty(sizes, dtype=torch.uint8)
    return torch.frombuffer(content, dtype=torch.uint8, offset=start).view(sizes)


def _decompress(content: bytearray, path: Path) -> bytearray:
    if content[:2] != b"\x1f\x8b":
        what = "a web page" if content.lstrip()[:1] == b"<" else "something else"
        raise DataError(f"{path} is not a gzip file but {what}: delete it and download it again.")
    unpacker = zlib.decompressobj(GZIP)
    unpacked = bytearray()
    try:
        for start in range(0, len(content), PIECE):  # in pieces, to avoid a second copy
            unpacked += unpacker.decompress(content[start : start + PIECE])
    except zlib.error:
        unpacked.clear()
    if not unpacker.eof:
        raise DataError(
            f"{path} is truncated or damaged (gzip cannot decompress it): "
            "delete it and download it again."
        )
    return unpacked
