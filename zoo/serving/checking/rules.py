"""What TF Serving asks of signatures and graphs, as functions that return problems: one sentence each."""

import re

from zoo.serving.formats.dtypes import SENT
from zoo.serving.formats.signatures import names_of

_PYTHON_OPS = frozenset(["PyFunc", "PyFuncStateless", "EagerPyFunc"])
_UNNAMED = {"inputs": re.compile(r"args_\d+(_\d+)?|inputs_\d+"), "outputs": re.compile(r"output_\d+")}


def signature_problems(signatures):
    """Check names, dtypes and shapes of signatures.

    Args:
        signatures: `{name: {"inputs": {name: (dtype, shape)}, "outputs": {name: (dtype, shape)}}}`, as
            `zoo.serving.SavedModel.signatures`.

    Returns:
        List of sentences; empty if all is well.

    Example:

        signature_problems({"sample": {"inputs": {"seed": ("int64", ())}, "outputs": {}}})
    """
    problems = []
    if "serving_default" not in signatures:
        problems.append(
            f"There is no signature `serving_default`, which clients call unless they name one; TF Serving would say "
            f"'Serving signature key \"serving_default\" not found'; there are: {names_of(signatures)}."
        )
    for name, sides in signatures.items():
        for side, tensors in sides.items():
            if not tensors:
                problems.append(f"Signature `{name}` has no {side}; TF Serving needs at least one named tensor.")
            for key, (dtype, shape) in tensors.items():
                problem = _tensor_problem(side, key, dtype, shape)
                if problem:
                    problems.append(f"{side[:-1].capitalize()} `{key}` of signature `{name}` {problem}")
    return problems


def can_be_batched(sides):
    """Return whether all tensors of a signature have dtypes that can be sent and a free dimension 0.

    Args:
        sides: `{"inputs": {name: (dtype, shape)}, "outputs": {name: (dtype, shape)}}`.

    Returns:
        Whether it makes sense to run the signature on batches.

    Example:

        can_be_batched({"inputs": {"seed": ("int64", (None,))}, "outputs": {"images": ("half", (None, 8, 8, 1))}})
    """
    tensors = [tensor for side in sides.values() for tensor in side.values()]
    return all(dtype in SENT and (shape is None or shape[:1] == (None,)) for dtype, shape in tensors)


def graph_problems(graph, known_ops):
    """Check that a graph holds nothing TF Serving cannot run: Python functions, forced XLA, custom ops.

    Args:
        graph: A `GraphDef` protocol buffer.
        known_ops: Names of the ops that are built into TensorFlow, or None to leave custom ops out.

    Returns:
        List of sentences; empty if all is well.

    Example:

        graph_problems(concrete_function.graph.as_graph_def(), set(dir(tf.raw_ops)))
    """
    functions = graph.library.function
    nodes = [node for nodes in (graph.node, *(f.node_def for f in functions)) for node in nodes]
    used = {node.op for node in nodes}
    problems = [
        f'The graph calls Python ({op}: tf.numpy_function or tf.py_function), which no server has: "No OpKernel was '
        f"registered to support Op '{op}'\"; use TensorFlow ops."
        for op in sorted(used & _PYTHON_OPS)
    ]
    if any(_is_compiled(item) for item in (*functions, *nodes)):
        compiled = {function.signature.name for function in functions if _is_compiled(function)}
        callers = {node.name for node in nodes if _is_compiled(node) or _called(node) in compiled}
        problems.append(
            "The graph holds a tf.function with jit_compile=True, which TF Serving refuses because its XLA is off: "
            f'"Function invoked by the following node is not compilable"; it is called by {names_of(callers)}; export '
            "the function without jit_compile. Keras itself compiles convolutions of volumes with channels first: take "
            "`data_format='channels_last'`."
        )
    custom = sorted(used - {f.signature.name for f in functions} - _PYTHON_OPS - set(known_ops or used))
    if custom:
        problems.append(
            f'The graph uses ops that are not built into TensorFlow: {names_of(custom)}; TF Serving would say "Op type '
            f"not registered '{custom[0]}' in binary\"; replace them."
        )
    return problems


def _is_compiled(item):
    return "_XlaMustCompile" in item.attr and item.attr["_XlaMustCompile"].b


def _called(node):
    return node.attr["f"].func.name if "f" in node.attr else None


def _tensor_problem(side, key, dtype, shape):
    if _UNNAMED[side].fullmatch(key):
        return "has no name of its own; take inputs by keyword and return a dict of named tensors."
    if dtype == "invalid":
        return "has no plain dtype (DT_INVALID), as of a ragged or sparse tensor; use a dense tensor with a length."
    if dtype not in SENT:
        return f"is {dtype}, which clients cannot read; cast it to float32."
    if shape is None:
        return None  # any rank: the server batches along dimension 0 of what arrives
    if not shape:
        return "is a scalar (rank 0), which cannot be batched; give it one value per row, shape (None,)."
    if shape[0] is not None:
        return f"has its batch dimension fixed: shape {shape}; dimension 0 must be None."
    return None
