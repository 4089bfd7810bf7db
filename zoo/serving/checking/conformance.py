"""Check that exports are ones TF Serving can serve well, without it and without Python TensorFlow."""

from pathlib import Path

from google.protobuf.message import DecodeError

from zoo.serving.checking import behaviour, layout, rules
from zoo.serving.checking.card import card_problems
from zoo.serving.formats import warmup
from zoo.serving.formats.batching_config import BATCHING_FILE, read_batching
from zoo.serving.formats.folders import find_all, find_models, is_a_model, is_a_version, is_version
from zoo.serving.formats.protos import op_def_pb2, saved_model_pb2
from zoo.serving.formats.signatures import describe_signatures

_UNKNOWN_OP = "Op type not registered"


def check(path):
    """Check a version folder against what TF Serving needs, as far as can be seen without it.

    Layout, signatures, graph, warm-up and model card are read; then every signature runs in the native loader, XLA
    off, on the warm-up inputs and on changed copies of them: rows must not depend on their batch, and repeats must
    agree, also after loading afresh.

    Args:
        path: Version folder, such as `exports/wgan_gp/1`.

    Returns:
        List of faults, one sentence each: what TF Serving would refuse or answer wrongly. Empty if the export is fine.
        A version without warm-up requests is fine, though its first request is slow; it is run on zeros.

    Raises:
        FileNotFoundError: `path` is no folder.
        ValueError: `path` is a folder of versions or of models.

    Example:
        >>> spec = {"x": tf.TensorSpec((None,), "float32")}
        >>> signatures = {"serving_default": (lambda x: {"y": 2.0 * x}, spec)}
        >>> check(zoo.serving.write(signatures, "exports/double/1", track=[]))
        []
    """
    path = _folder(path)
    if not is_a_version(path) and find_all(path):
        raise ValueError(f"`{path}` is not one version but holds some, such as `{find_all(path)[-1]}`. Use check_all.")
    problems = _layout_problems(path)
    if not (path / "saved_model.pb").is_file():
        return problems
    meta_graph, found = _read_meta_graph(path)
    problems += found
    if meta_graph is None:
        return problems
    requests, found = _read_requests(path)
    problems += found + _batch_problems(path, requests)
    signatures = describe_signatures(meta_graph)
    problems += rules.signature_problems(signatures)
    problems += card_problems(path, signatures)
    ops, found = behaviour.run(path, signatures, requests)
    known = {op.name for op in op_def_pb2.OpList.FromString(ops).op}
    graph = rules.graph_problems(meta_graph.graph_def, known or None)
    if any(_UNKNOWN_OP in problem for problem in graph):
        found = [problem for problem in found if _UNKNOWN_OP not in problem]  # the loader's words for the same
    return problems + graph + found


def check_all(path):
    """Check a whole base directory, a model's folder, or a version.

    Args:
        path: Folder, such as `exports`, `exports/wgan_gp` or `exports/wgan_gp/1`.

    Returns:
        `{path: list of faults}`: every version, and each folder above them, from `path` on, that has faults of its own.

    Raises:
        FileNotFoundError: `path` is no folder.

    Example:
        >>> version = Path("exports/wgan_gp/1")
        >>> version.mkdir(parents=True)
        >>> (version / "saved_model.pb").touch()
        >>> check_all("exports")[version]
        ['The SavedModel must hold one graph with the one tag `serve`, but its tags are []: ...']
    """
    path, found = _folder(path), {}
    if is_a_model(path) and not is_a_version(path):
        found[path] = layout.model_problems(path)
    elif not is_a_version(path):
        found[path] = layout.base_problems(path)
        found |= {model: layout.model_problems(model) for model in find_models(path)}
    found = {folder: problems for folder, problems in found.items() if problems}
    for version in find_all(path):
        found[version] = check(version)
    return found


def _folder(path):
    path = Path(path)
    if not path.is_dir():
        raise FileNotFoundError(f"There is no folder `{path}`. Expected a base directory, a model or a version.")
    return path


def _layout_problems(path):
    problems = []
    if not is_version(path.resolve().name):
        problems.append(
            f"The folder is named `{path.resolve().name}`, and TF Serving passes over versions not named by an "
            "integer, in silence; rename it."
        )
    if not (path / "saved_model.pb").is_file():
        problems.append(
            f'There is no saved_model.pb in `{path}`, so TF Serving cannot load this version: "Could not find '
            'SavedModel .pb or .pbtxt at supplied export directory path"; publish it again or remove the folder.'
        )
    return problems


def _read_meta_graph(path):
    try:
        saved_model = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    except DecodeError:
        return None, ["saved_model.pb is damaged: it is no SavedModel protocol buffer; publish the version again."]
    tags = [sorted(meta_graph.meta_info_def.tags) for meta_graph in saved_model.meta_graphs]
    if tags != [["serve"]]:
        return None, [
            f"The SavedModel must hold one graph with the one tag `serve`, but its tags are {tags}: TF Serving looks "
            "for { serve }; save it with tf.saved_model.save."
        ]
    return saved_model.meta_graphs[0], []


def _read_requests(path):
    try:
        requests = warmup.read_warmup(path)
    except ValueError as error:
        return [], [f"TF Serving refuses the version, because its warm-up cannot be read: {error}"]
    if len(requests) > warmup.MAX_RECORDS:
        return requests[: warmup.MAX_RECORDS], [
            f'There are {len(requests)} warm-up requests: "Number of warmup records exceeds the maximum '
            f'({warmup.MAX_RECORDS})", TF Serving would say; keep fewer.'
        ]
    return requests, []


def _batch_problems(path, requests):
    """Warm-up requests that the batching of the base directory refuses."""
    try:
        limit = read_batching(path.resolve().parents[1] / BATCHING_FILE).max_batch_size
    except (OSError, ValueError, IndexError):
        return []  # none, or said by layout.base_problems
    rows = [max((len(array) for array in inputs.values() if array.ndim), default=0) for _, inputs in requests]
    return [
        f'Warm-up record {number} has {size} rows: "Task size {size} is larger than maximum input batch size {limit}", '
        f"TF Serving would say and not load the version; send fewer rows or raise max_batch_size in {BATCHING_FILE}."
        for number, size in enumerate(rows)
        if 0 < limit < size
    ]
