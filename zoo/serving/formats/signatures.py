"""Signatures of an export as plain dicts: `{name: {"inputs": {name: (dtype, shape)}, "outputs": ...}}`."""

from google.protobuf.message import DecodeError

from zoo.serving.formats.dtypes import DTYPES
from zoo.serving.formats.protos import saved_model_pb2


def describe_signatures(meta_graph):
    """Return the signatures of a `MetaGraphDef` or a `SignatureDefMap`, as `zoo.serving.SavedModel.signatures`.

    Example:

        describe_signatures(meta_graph)["sample"]["inputs"]  # {"seed": ("int64", (None,))}
    """
    return {
        name: {
            "inputs": {key: _describe(value) for key, value in sorted(definition.inputs.items())},
            "outputs": {key: _describe(value) for key, value in sorted(definition.outputs.items())},
        }
        for name, definition in sorted(meta_graph.signature_def.items())
        if not name.startswith("__saved_model")  # TensorFlow's own initialization hooks
    }


def read_signatures(folder):
    """Return the signatures of an export, without loading it.

    Args:
        folder: Version folder.

    Returns:
        As `describe_signatures`.

    Raises:
        ValueError: `saved_model.pb` is missing or damaged.

    Example:

        read_signatures(Path("exports/wgan_gp/1"))["sample"]["inputs"]
    """
    try:
        saved_model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
        return describe_signatures(saved_model.meta_graphs[0])
    except (FileNotFoundError, DecodeError, IndexError):
        raise ValueError(f"`{folder}` holds no readable saved_model.pb.") from None


def as_json(signatures):
    """Return signatures in the form of the model card: plain dicts and lists.

    Example:

        as_json({"sample": {"inputs": {"seed": ("int64", (None,))}, "outputs": {}}})
    """
    return {
        key: {
            side: {
                tensor: {"dtype": dtype, "shape": None if shape is None else list(shape)}
                for tensor, (dtype, shape) in tensors.items()
            }
            for side, tensors in sides.items()
        }
        for key, sides in signatures.items()
    }


def names_of(names):
    """Return names as a message lists them.

    Example:

        names_of({"sample": function, "encode": function})  # '`encode`, `sample`'
    """
    return ", ".join(f"`{name}`" for name in sorted(names)) or "none"


def _describe(info):
    shape = info.tensor_shape
    dimensions = None if shape.unknown_rank else tuple(None if d.size < 0 else d.size for d in shape.dim)
    return DTYPES.get(info.dtype, "invalid"), dimensions
