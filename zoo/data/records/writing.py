"""From a `Source` to a folder of records."""

import io
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from zoo.checks import check_folder
from zoo.data import progress
from zoo.data.checks import check_images
from zoo.data.records.files import LABEL_NAMES, find, split_of
from zoo.files import read_text, write_text

_WRITTEN = 2000


def write(source, folder, split, *, shard_bytes=128 * 2**20):
    """Writes the images of a `Source` as TFRecord files of PNG examples, which `data.load(folder)` reads.

    The files have the names of TensorFlow Datasets, <name>-<split>.tfrecord-00000-of-00001, and get them only when all
    are written. Labels go with the images, names of classes into label.labels.txt.

    Args:
        source: `Source` of images.
        folder: `Path` to write to; made if need be.
        split: "train" or "test"; which split `source` is.
        shard_bytes: Size from which on a new file is begun.

    Returns:
        List of the `Path`s written.

    Raises:
        FileExistsError: If the folder holds records of this split already, or other names of classes.
        NotADirectoryError: If the folder is a file.
        ValueError: If the examples are no images, or one cannot be read.

    Example:

        >>> from zoo import data
        >>> from zoo.data import records
        >>> for split in ("train", "test"):
        ...     files = records.write(data.load("digits", split=split), "digits_records", split)
        >>> data.load("./digits_records").shape
        (8, 8, 1)
    """
    folder = Path(folder)
    check_images(source)
    check_folder("folder", folder)
    there = [path for path in find(folder) if split_of(path) == split]
    if there:
        raise FileExistsError(
            f"The folder {folder} holds records of the {split} split already, such as {there[0].name}. They are kept. "
            "Give another folder, or remove them."
        )
    folder.mkdir(parents=True, exist_ok=True)
    if source.is_labelled:
        _write_names(source.class_names or map(str, range(source.num_classes)), folder / LABEL_NAMES)
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", source.name)
    unfinished = []
    try:
        _write_shards(source, folder / f"writing-{name}-{split}", shard_bytes, unfinished)
        count = len(unfinished)
        named = [folder / f"{name}-{split}.tfrecord-{index:05}-of-{count:05}" for index in range(count)]
        for old, new in zip(unfinished, named, strict=True):
            os.replace(old, new)
    finally:
        for path in unfinished:
            path.unlink(missing_ok=True)
    return named


def _write_names(names, path):
    text = "".join(f"{name}\n" for name in names)
    if path.exists():
        if read_text(path) != text:
            raise FileExistsError(f"{path} holds other names of classes, and is kept. Give another folder.")
        return
    write_text(path, text)


def _write_shards(source, prefix, shard_bytes, paths):
    """Writes all images; each file's path is in `paths` from its beginning."""
    import tensorflow as tf

    done, shown, size, writer = 0, 0, shard_bytes, None
    labels = source.labels if source.is_labelled else [None] * source.size
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for pixels in source.pixels():
            for example in pool.map(_example, pixels, labels[done : done + len(pixels)]):
                if size >= shard_bytes:
                    if writer:
                        writer.close()
                    paths.append(prefix.with_name(f"{prefix.name}-{len(paths)}"))
                    writer, size = tf.io.TFRecordWriter(str(paths[-1])), 0
                writer.write(example)
                size += len(example) + 16
            done += len(pixels)
            if done - shown >= _WRITTEN or done == source.size:
                shown = done
                progress.show(f"Wrote {done} of {source.size} images to {prefix.parent}", last=done == source.size)
    finally:
        pool.shutdown(cancel_futures=True)
        if writer:
            writer.close()


def _example(image, label):
    """One image and its label as a serialized `tf.train.Example`, named as TensorFlow Datasets does."""
    import tensorflow as tf
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "png")
    example = tf.train.Example()
    example.features.feature["image"].bytes_list.value.append(file.getvalue())
    if label is not None:
        example.features.feature["label"].int64_list.value.append(int(label))
    return example.SerializeToString()
