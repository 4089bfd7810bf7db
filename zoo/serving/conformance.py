"""Check that a version folder is one TF Serving can serve well."""

import re
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from zoo.serving import isolated, native, rules, warmup
from zoo.serving.compare import difference


def check(path):
    """Check a version folder against what TF Serving needs, as far as can be seen without it.

    Layout, signatures, graph and warm-up are read; then every signature runs in the native loader, XLA off, on the
    warm-up inputs and on changed copies of them: rows must not depend on their batch, and repeats must agree.

    Args:
        path: Version folder, such as `exports/wgan_gp/1`.

    Returns:
        List of problems, one sentence each; empty if the export is fine. A version without warm-up requests is fine,
        though its first request is slow; it is run on zeros.

    Example:

        assert not check("exports/wgan_gp/1")
    """
    path = Path(path)
    problems = _layout_problems(path)
    if not (path / "saved_model.pb").is_file():
        return problems
    meta_graph, found = _read_meta_graph(path)
    problems += found
    if meta_graph is None:
        return problems
    problems += rules.graph_problems(meta_graph.graph_def)
    requests, found = _read_requests(path)
    problems += found
    signatures = native.describe_signatures(meta_graph)
    problems += rules.signature_problems(signatures)
    try:
        return problems + _run_problems(path, signatures, requests)
    except (ValueError, RuntimeError) as error:
        return [*problems, f"It does not load in TF Serving's loader: {_first_line(error)}"]


def _layout_problems(path):
    problems = []
    if not re.fullmatch(r"[0-9]+", path.resolve().name):
        problems.append(f"The folder is named `{path.name}`, but TF Serving only sees versions named by an integer.")
    if not (path / "saved_model.pb").is_file():
        problems.append(f"There is no saved_model.pb in `{path}`.")
    return problems


def _read_meta_graph(path):
    try:
        saved_model = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    except DecodeError:
        return None, ["saved_model.pb is damaged: it is no SavedModel protocol buffer."]
    tags = [sorted(meta_graph.meta_info_def.tags) for meta_graph in saved_model.meta_graphs]
    if tags != [["serve"]]:
        return None, [f"The SavedModel must hold one graph with the one tag `serve`, but its tags are {tags}."]
    return saved_model.meta_graphs[0], []


def _read_requests(path):
    try:
        requests = warmup.read_warmup(path)
    except ValueError as error:
        return [], [f"The warm-up requests cannot be read, so TF Serving refuses the version: {_first_line(error)}"]
    if len(requests) > warmup.MAX_RECORDS:
        return requests, [f"There are {len(requests)} warm-up requests; TF Serving takes {warmup.MAX_RECORDS}."]
    return requests, []


def _run_problems(path, signatures, requests):
    """Run every request five ways, all in one process, and judge the answers."""
    problems, first, trials = [], {}, []
    for name, inputs in requests:
        first.setdefault(name, inputs)
    for name, description in signatures.items():
        try:
            first.setdefault(name, warmup.example_inputs(name, description["inputs"]))
        except ValueError:
            problems.append(f"Signature `{name}` has no warm-up request, so it was not run.")
    rest = [(name, inputs) for name, inputs in requests if inputs is not first[name]]
    batched = {name for name in first if name in signatures and _has_rows(first[name])}
    for name in sorted(batched):
        rows = first[name]
        other = {key: _change(key, value) for key, value in rows.items()}
        both = {key: np.concatenate([rows[key], other[key]]) for key in rows}
        backward = {key: value[::-1] for key, value in both.items()}
        trials += [(name, variant) for variant in (rows, rows, other, both, backward)]
    alone = [(name, inputs) for name, inputs in first.items() if name not in batched]
    _, results = isolated.run_all(path, trials + alone + rest)
    for index, name in enumerate(sorted(batched)):
        problems += _judge(name, results[5 * index : 5 * index + 5])
    for (name, _), result in zip(alone + rest, results[len(trials) :], strict=True):
        if isinstance(result, Exception):
            problems.append(f"Signature `{name}` fails on a warm-up request: {_first_line(result)}")
    return problems


def _judge(name, results):
    failed = next((result for result in results if isinstance(result, Exception)), None)
    if failed is not None:
        return [f"Signature `{name}` fails in TF Serving's loader, XLA off: {_first_line(failed)}"]
    problems = []
    for key in results[0]:
        rows, again, other, both, backward = (np.asarray(result[key]) for result in results)
        if difference(rows, again):
            problems.append(
                f"Output `{key}` of signature `{name}` changes when the same request is sent again; "
                "draw random numbers with stateless ops keyed on an input."
            )
        elif not rows.ndim or not other.ndim or difference(np.concatenate([rows, other]), both):
            problems.append(
                f"Output `{key}` of signature `{name}` depends on which rows share a batch: f(concat) is not "
                "concat(f), as with batch statistics."
            )
        elif difference(both[::-1], backward):
            problems.append(f"Output `{key}` of signature `{name}` depends on a row's position in the batch.")
    return problems


def _has_rows(inputs):
    shapes = [np.shape(value) for value in inputs.values()]
    return all(shapes) and len({shape[0] for shape in shapes}) == 1


def _change(key, value):
    """Make other rows of the same kind: shifted seeds, disturbed floats; ids and strings only change places."""
    if key == "seed":
        return value + np.asarray(len(value) + 7, value.dtype)
    if value.dtype.kind == "f":
        return (value + 0.1 * np.random.default_rng(0).standard_normal(value.shape)).astype(value.dtype)
    return value[::-1]


def _first_line(error):
    text = str(error.args[0]) if error.args else repr(error)
    return text.strip().splitlines()[0]
