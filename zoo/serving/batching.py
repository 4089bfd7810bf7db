"""`batching.config`: how TF Serving joins requests, a text protocol buffer whose definition no package ships."""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

BATCHING_FILE = "batching.config"
_FIELD = descriptor_pb2.FieldDescriptorProto
# BatchingParameters of tensorflow_serving/servables/tensorflow/session_bundle_config.proto: the field numbers.
_WRAPPED = {
    "max_batch_size": (1, "Int64Value"),
    "batch_timeout_micros": (2, "Int64Value"),
    "max_enqueued_batches": (3, "Int64Value"),
    "num_batch_threads": (4, "Int64Value"),
    "thread_pool_name": (5, "StringValue"),
}


def read_batching(path):
    """Read a batching configuration.

    Args:
        path: `Path` of the file.

    Returns:
        A `BatchingParameters` message.

    Raises:
        ValueError: The file is no `BatchingParameters`, or its sizes contradict each other.

    Example:

        read_batching(Path("exports/batching.config")).max_batch_size.value
    """
    parameters = batching_parameters()
    try:
        text_format.Parse(path.read_text(encoding="utf-8"), parameters)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path.name} does not parse as BatchingParameters, so TF Serving does not start: {error}. Correct it."
        ) from None
    sizes = list(parameters.allowed_batch_sizes)
    if sizes and (sizes != sorted(set(sizes)) or sizes[-1] != parameters.max_batch_size.value):
        raise ValueError(
            f"{path.name} has the allowed_batch_sizes {sizes}. Expected: increasing, the last equal to max_batch_size."
        )
    return parameters


def batching_parameters():
    """Return an empty `BatchingParameters` message.

    Example:

        text_format.Parse("max_batch_size { value: 128 }", batching_parameters())
    """
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name="batching.proto", package="zoo", syntax="proto3", dependency=["google/protobuf/wrappers.proto"]
    )
    message = file.message_type.add(name="BatchingParameters")
    for name, (number, kind) in _WRAPPED.items():
        message.field.add(
            name=name,
            number=number,
            type=_FIELD.TYPE_MESSAGE,
            label=_FIELD.LABEL_OPTIONAL,
            type_name=f".google.protobuf.{kind}",
        )
    repeated, boolean = (_FIELD.TYPE_INT64, _FIELD.LABEL_REPEATED), (_FIELD.TYPE_BOOL, _FIELD.LABEL_OPTIONAL)
    for name, number, (kind, label) in (
        ("allowed_batch_sizes", 6, repeated),
        ("pad_variable_length_inputs", 7, boolean),
    ):
        message.field.add(name=name, number=number, type=kind, label=label)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("zoo.BatchingParameters"))()
