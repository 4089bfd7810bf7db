"""Turn signatures into concrete functions, refusing every one that TF Serving could not serve."""

import contextlib
import inspect
from collections.abc import Callable, Mapping

import tensorflow as tf
from keras.src import backend

from zoo.rows import never_empty
from zoo.serving.checking import rules
from zoo.serving.formats.signatures import names_of


def trace(signatures):
    """Turn signatures into concrete functions; those of numbers take a batch of no rows too.

    Args:
        signatures: `{name: (function, {input name: tf.TensorSpec})}`, as `zoo.serving.write`.

    Returns:
        `{name: concrete function}`.

    Raises:
        TypeError, ValueError: A signature cannot be served; the message lists every reason.

    Example:

        functions = trace(model.signatures())
    """
    inputs = _check_specs(signatures)
    _refuse(rules.signature_problems({name: {"inputs": side} for name, side in inputs.items()}))
    functions = {}
    for name, (function, specs) in signatures.items():
        named = {key: tf.TensorSpec(spec.shape, spec.dtype, name=key) for key, spec in specs.items()}
        endpoint = tf.function(_by_keyword(of_any_rows(function, specs)), autograph=False)
        with without_xla():
            functions[name] = endpoint.get_concrete_function(**named)
        _check_outputs(name, functions[name].structured_outputs)
    problems = rules.signature_problems({name: describe(function) for name, function in functions.items()})
    for function in functions.values():
        problems += rules.graph_problems(function.graph.as_graph_def(), dir(tf.raw_ops))
    _refuse(dict.fromkeys(problems))
    return functions


@contextlib.contextmanager
def without_xla():
    """Within it, a grouped convolution is one convolution for each group, which every server runs.

    Keras has XLA compile it, since TensorFlow has not all of it on CPUs: no gradients, none of volumes, and none that
    is fused with a bias, as a server's optimizer makes of it.

    Example:

        with without_xla():
            function.get_concrete_function(tf.TensorSpec((None, 8, 8, 4)))
    """
    compiled = backend.nn.conv

    def conv(inputs, kernel, strides=1, padding="valid", data_format=None, dilation_rate=1):
        axis = 1 if backend.standardize_data_format(data_format) == "channels_first" else -1
        options = (strides, padding, data_format, dilation_rate)
        if inputs.shape[axis] in (None, kernel.shape[-2]):
            return compiled(inputs, kernel, *options)
        groups = inputs.shape[axis] // kernel.shape[-2]
        pairs = zip(tf.split(inputs, groups, axis), tf.split(kernel, groups, -1), strict=True)
        return tf.concat([compiled(*pair, *options) for pair in pairs], axis)

    backend.nn.conv = conv
    try:
        yield
    finally:
        backend.nn.conv = compiled


def of_any_rows(function, specs):
    """The function of a signature for batches of no rows too, if it takes numbers alone.

    Example:

        of_any_rows(*model.signatures()["serving_default"])
    """
    # What stands for no text or file at all, only the function could know.
    is_of_numbers = all(spec.dtype != tf.string for spec in specs.values())
    return never_empty(function) if is_of_numbers else function


def _by_keyword(function):
    def endpoint(**inputs):
        return function(**inputs)

    return endpoint


def _check_specs(signatures):
    for name, signature in signatures.items():
        if not (isinstance(signature, tuple) and len(signature) == 2 and isinstance(signature[1], Mapping)):
            received = type(signature).__name__
            raise TypeError(
                f"Signature `{name}` must be (function, {{input name: tf.TensorSpec}}). Received: {received}."
            )
        if not isinstance(signature[0], Callable):
            raise TypeError(f"The function of signature `{name}` cannot be called. Received: {signature[0]!r}.")
        for key, spec in signature[1].items():
            if not isinstance(spec, tf.TensorSpec):
                raise TypeError(
                    f"Input `{key}` of signature `{name}` must be a tf.TensorSpec: a dense tensor. Received: {spec!r}."
                )
            if not (isinstance(key, str) and key.isidentifier()):
                raise ValueError(f"Input {key!r} of signature `{name}` must be a Python name; it is a keyword.")
        _check_parameters(name, *signature)
    return {
        name: {key: (spec.dtype.name, _shape(spec)) for key, spec in specs.items()}
        for name, (_, specs) in signatures.items()
    }


def _check_parameters(name, function, specs):
    with contextlib.suppress(ValueError):  # some functions of C tell nothing of what they take
        parameters = inspect.signature(function)
        try:
            parameters.bind(**specs)
        except TypeError:
            raise TypeError(
                f"Signature `{name}` names the inputs {names_of(specs)}; the function takes "
                f"{names_of(parameters.parameters)}. Give both the same names."
            ) from None


def _check_outputs(name, outputs):
    if not isinstance(outputs, Mapping):
        kind = type(outputs).__name__
        raise ValueError(
            f"Signature `{name}` must return a dict of named tensors, such as {{'images': images}}. Received: {kind}."
        )
    for key, output in outputs.items():
        if not isinstance(output, tf.Tensor | tf.TensorSpec):
            raise ValueError(
                f"Output `{key}` of signature `{name}` must be a dense tensor, with a length beside it where rows "
                f"differ; TF Serving refuses others. Received: {type(output).__name__}."
            )


def _refuse(problems):
    if problems:
        raise ValueError("TF Serving could not serve these signatures. " + " ".join(problems))


def describe(function):
    """Return the dtypes and shapes of a concrete function, as `zoo.serving.SavedModel.signatures` gives them.

    Example:

        describe(functions["sample"])["inputs"]  # {"seed": ("int64", (None,))}
    """
    inputs = function.structured_input_signature[1]
    return {
        "inputs": {key: (spec.dtype.name, _shape(spec)) for key, spec in inputs.items()},
        "outputs": {key: (output.dtype.name, _shape(output)) for key, output in function.structured_outputs.items()},
    }


def _shape(spec):
    return None if spec.shape.rank is None else tuple(spec.shape.as_list())
