"""`batching.config`: how TF Serving joins requests, a text protocol buffer whose definition no package ships."""

import os
from dataclasses import dataclass

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

BATCHING_FILE = "batching.config"
_FIELD = descriptor_pb2.FieldDescriptorProto
# Of BatchingParameters in tensorflow_serving/servables/tensorflow/session_bundle_config.proto: the fields, with their
# numbers, that hold an integer in a wrapper.
_WRAPPED = {"max_batch_size": 1, "batch_timeout_micros": 2, "max_enqueued_batches": 3, "num_batch_threads": 4}


@dataclass(frozen=True)
class BatchingParameters:
    """TF Serving's `BatchingParameters`, with its defaults, except that it has as many threads as cores.

    Attributes:
        max_batch_size: Most rows in one run.
        batch_timeout_micros: How long the first request of a batch may wait for company, in microseconds.
        max_enqueued_batches: Longest queue of a signature, in batches; beyond it requests are refused.
        num_batch_threads: Batches that run at the same time; each uses several cores.
        allowed_batch_sizes: Sizes that batches are padded to, in increasing order; the last is `max_batch_size`.
        pad_variable_length_inputs: Pad requests of different shapes into one batch; the development server cannot.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = max(1, (os.cpu_count() or 1) // 2)
    allowed_batch_sizes: tuple = ()
    pad_variable_length_inputs: bool = False

    def __post_init__(self):
        """Refuse what TF Serving refuses."""
        for name in _WRAPPED:
            value, least = getattr(self, name), 0 if name == "batch_timeout_micros" else 1
            if value < least:
                raise ValueError(f"{name} must be at least {least}. Received: {value}.")
        sizes = self.allowed_batch_sizes
        if sizes and (list(sizes) != sorted(set(sizes)) or sizes[-1] != self.max_batch_size):
            raise ValueError(
                f"allowed_batch_sizes must go up and end in max_batch_size, {self.max_batch_size}. "
                f"Received: {list(sizes)}."
            )


def read_batching(path):
    """Read a `BatchingParameters` text protocol buffer.

    Args:
        path: `Path` of the file, such as `exports/batching.config`.

    Returns:
        `BatchingParameters`.

    Raises:
        ValueError: It does not parse, or its values contradict each other; TF Serving would not start.

    Example:

        read_batching(Path("exports/batching.config")).max_batch_size  # 128
    """
    message = _empty_message()
    try:
        text_format.Parse(path.read_text(encoding="utf-8-sig"), message)
        values = {name: getattr(message, name).value for name in _WRAPPED if message.HasField(name)}
        return BatchingParameters(
            **values,
            allowed_batch_sizes=tuple(message.allowed_batch_sizes),
            pad_variable_length_inputs=message.pad_variable_length_inputs,
        )
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(f"`{path}` does not parse as BatchingParameters: {error}") from None
    except ValueError as error:
        raise ValueError(f"`{path}`: {error}") from None


def _empty_message():
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name="batching.proto", package="zoo", syntax="proto3", dependency=["google/protobuf/wrappers.proto"]
    )
    message = file.message_type.add(name="BatchingParameters")
    wrappers = {**dict.fromkeys(_WRAPPED, "Int64Value"), "thread_pool_name": "StringValue"}
    for name, kind in wrappers.items():
        message.field.add(
            name=name,
            number=_WRAPPED.get(name, 5),
            type=_FIELD.TYPE_MESSAGE,
            label=_FIELD.LABEL_OPTIONAL,
            type_name=f".google.protobuf.{kind}",
        )
    message.field.add(name="allowed_batch_sizes", number=6, type=_FIELD.TYPE_INT64, label=_FIELD.LABEL_REPEATED)
    message.field.add(name="pad_variable_length_inputs", number=7, type=_FIELD.TYPE_BOOL, label=_FIELD.LABEL_OPTIONAL)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("zoo.BatchingParameters"))()
