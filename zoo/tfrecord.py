"""TFRecord files: where their records begin, and any one of them by its number.

The format, record after record: length (8 bytes, little-endian), its masked CRC32C (4), data, their masked CRC32C (4).
https://www.tensorflow.org/tutorials/load_data/tfrecord
"""

import struct
from array import array

import google_crc32c
import numpy as np

_HEAD = struct.Struct("<QI")
_TAIL = struct.Struct("<I")


class TFRecordFile:
    """The records of one file, read one at a time.

    Args:
        path: `Path` of the file.
        report: Function that is called now and then with the number of records found so far, or None.

    Raises:
        ValueError: If the file is truncated, damaged or of another kind; the message names it.
    """

    def __init__(self, path, report=None):
        """Walks over the heads of all records, without reading their data."""
        self.path = path
        self._bounds = _bounds(path, report)

    def __len__(self):
        """Number of records."""
        return len(self._bounds) - 1

    def read(self, number):
        """The data of record `number` as bytes, checked against their CRC.

        Raises:
            ValueError: If they do not match it; the message names file and record.
            OSError: If the file cannot be read.
        """
        start, end = self._bounds[number : number + 2].tolist()
        # Opened each time: nothing is shared between threads, and a thousand files need no thousand handles.
        with open(self.path, "rb", buffering=0) as file:
            file.seek(start)
            content = file.read(end - start)
        if len(content) != end - start:
            raise self._damaged(number, f"{end - start} bytes were there before and {len(content)} are now")
        data = content[_HEAD.size : -_TAIL.size]
        if _HEAD.unpack_from(content)[0] != len(data):
            raise self._damaged(number, "its length has changed since the file was opened")
        if _TAIL.unpack_from(content, len(content) - _TAIL.size)[0] != masked_crc32c(data):
            raise self._damaged(number, "the checksum of its data does not match")
        return data

    def _damaged(self, number, reason):
        return ValueError(f"Record {number} of {self.path} is damaged: {reason}. Fetch or write the file again.")


def _bounds(path, report):
    """int64 array of where the records of a file begin and where the last ends, the structure checked."""
    starts, heads, position = array("q"), bytearray(), 0
    size = path.stat().st_size
    with path.open("rb", buffering=0) as file:
        while position + _HEAD.size <= size:
            file.seek(position)
            starts.append(position)
            heads += file.read(_HEAD.size)
            position += int.from_bytes(heads[-_HEAD.size : -_HEAD.size + 8], "little") + _HEAD.size + _TAIL.size
            if report and len(starts) % 1000 == 0:
                report(len(starts))
    bad = _first_bad(bytes(heads))
    if bad is not None:
        kind = "is compressed with gzip" if heads[:2] == b"\x1f\x8b" else "is damaged, or no TFRecord file"
        raise ValueError(
            f"The file {path} {kind}: the checksum of the length of record {bad}, at byte {starts[bad]}, does not "
            "match. Expected an uncompressed TFRecord file. Fetch or write it again."
        )
    if position != size:
        whole = len(starts) - (position > size)
        raise ValueError(
            f"The file {path} is truncated: it ends within record {whole}, at byte {size}. Expected a whole TFRecord "
            f"file. Received: {whole} whole records. Fetch or write it again."
        )
    starts.append(size)
    return np.array(starts, np.int64)


def write_records(path, records):
    """Writes a file of records.

    Args:
        path: `Path` of the file.
        records: Iterable of bytes.
    """
    with path.open("wb") as file:
        for data in records:
            length = struct.pack("<Q", len(data))
            file.write(length + _TAIL.pack(masked_crc32c(length)) + data + _TAIL.pack(masked_crc32c(data)))


def masked_crc32c(data):
    """The CRC32C of some bytes as TFRecords keep it: rotated right by 15 bits, plus a constant.

    Args:
        data: Bytes.

    Returns:
        Whole number below 2^32.
    """
    value = google_crc32c.value(data)
    return (((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _first_bad(heads):
    """Number of the first head whose CRC does not match its length, or None; heads are bytes, 12 for each."""
    for number, (length, crc) in enumerate(struct.iter_unpack("<8sI", heads)):
        if crc != masked_crc32c(length):
            return number
    return None
