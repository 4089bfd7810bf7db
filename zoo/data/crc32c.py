"""CRC32C (Castagnoli) in NumPy, as TFRecord files use it.

The register of a CRC is linear over XOR: each byte adds a value that depends on the byte and on its distance from the
end only. So a block is one look-up per byte and an XOR of all of them, and blocks combine in pairs.
"""

from functools import cache

import numpy as np

_POLYNOMIAL = 0x82F63B78
_BLOCK = 1024
_ONES = 0xFFFFFFFF
_MASK_DELTA = 0xA282EAD8


def masked(data):
    """The masked CRC32C of some bytes: rotated right by 15 bits, plus a constant, as the format of TFRecords says.

    Args:
        data: Bytes.

    Returns:
        Whole number below 2^32.

    Example:

        >>> from zoo.data.crc32c import masked
        >>> hex(masked(b"123456789"))
        '0xc78ab0e5'
    """
    value = (_of_bytes(data) if len(data) >= 4 else _of_few(data)) ^ _ONES
    return (((value >> 15) | (value << 17)) + _MASK_DELTA) & _ONES


def masked_of_rows(rows):
    """The masked CRC32C of each row of an array.

    Args:
        rows: uint8 array (n, length), length 4 to 1024.

    Returns:
        uint32 array (n,).
    """
    first = rows.copy()
    first[:, :4] ^= 255
    values = (_of_rows(first) ^ np.uint32(_ONES)).astype(np.uint64)
    return ((((values >> 15) | (values << 17)) + _MASK_DELTA) & _ONES).astype(np.uint32)


def _of_bytes(data):
    """The register after 4 bytes or more, begun with ones."""
    message = np.frombuffer(data, np.uint8)
    blocks = -(-len(message) // _BLOCK)
    # Zeros in front leave an empty register empty; the ones that it starts with go to the first four bytes instead.
    padded = np.zeros(blocks * _BLOCK, np.uint8)
    padded[len(padded) - len(message) :] = message
    padded[len(padded) - len(message) :][:4] ^= 255
    values = _of_rows(padded.reshape(blocks, _BLOCK))
    level = 0
    while len(values) > 1:
        if len(values) % 2:
            values = np.concatenate([np.zeros(1, np.uint32), values])
        values = _shift(values[::2], _shift_tables(level)) ^ values[1::2]
        level += 1
    return int(values[0])


def _of_rows(rows):
    """Registers after each row, begun empty."""
    length = rows.shape[1]
    # Indices into the flat table: a single take is several times faster than indexing with two arrays.
    places = np.arange(length - 1, -1, -1, dtype=np.int32) * 256 + rows
    return np.bitwise_xor.reduce(_tables().reshape(-1).take(places), axis=1)


def _of_few(data):
    """The register after a few bytes, begun with ones, byte by byte."""
    value = _ONES
    for byte in data:
        value = (value >> 8) ^ int(_tables()[0][(value ^ byte) & 255])
    return value


@cache
def _tables():
    """uint32 (1024, 256): what a byte adds to the register, by its distance from the end."""
    first = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        first = (first >> 1) ^ np.where(first & 1, np.uint32(_POLYNOMIAL), np.uint32(0))
    tables = [first]
    while len(tables) < _BLOCK:
        tables.append((tables[-1] >> 8) ^ first[tables[-1] & 255])
    return np.stack(tables)


@cache
def _shift_tables(level):
    """uint32 (4, 256): the register after 1024 * 2^level zero bytes, by the bytes that it held before, lowest first."""
    if level == 0:
        return _tables()[::-1][:4]
    half = _shift_tables(level - 1)
    return _shift(half, half)


def _shift(values, tables):
    parts = [tables[byte][(values >> np.uint32(8 * byte)) & np.uint32(255)] for byte in range(4)]
    return parts[0] ^ parts[1] ^ parts[2] ^ parts[3]
