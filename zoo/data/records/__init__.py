"""Data sets larger than memory: TFRecord and ArrayRecord files of `tf.train.Example`s, read by row number.

    python -m zoo.data.records SOURCE_NAME_OR_FOLDER OUT --image-size N

writes any set of images as TFRecord files, both splits. Reading needs no shuffle buffer: where each record begins is
found once, by walking over the lengths, and kept as one int64 number; then any row can be read at any time.
"""

from zoo.data.records.files import find
from zoo.data.records.pictures import Records
from zoo.data.records.reading import load
from zoo.data.records.writing import write

__all__ = ["Records", "find", "load", "write"]
