"""Run a version in TF Serving's C++ loader and judge its answers: batching, repeats, fresh loads, text."""

import re

import numpy as np

from zoo.serving.checking import rules
from zoo.serving.checking.compare import difference
from zoo.serving.formats import warmup
from zoo.serving.loader import isolated

_WRAPPING = re.compile(r"^(Signature `.*?` of `.*?` failed|TensorFlow's C\+\+ loader refused `.*?`): ")


def example_requests(signatures, requests):
    """Choose one request for every signature: its first warm-up request, or zeros.

    Args:
        signatures: As `zoo.serving.SavedModel.signatures`.
        requests: Warm-up requests, `(signature, {input name: array})`.

    Returns:
        `{signature: {input name: array}}`, without those for which nothing can be guessed.

    Example:

        example_requests(signatures, read_warmup(Path("exports/wgan_gp/1")))
    """
    first = {}
    for name, inputs in requests:
        if name in signatures:
            first.setdefault(name, inputs)
    for name in signatures.keys() - first.keys():
        try:
            first[name] = warmup.example_inputs(name, signatures[name]["inputs"])
        except ValueError:
            continue
    return {name: first[name] for name in sorted(first)}


def run(path, signatures, requests):
    """Run every signature on whole, split, reversed and repeated batches, twice loaded, in one subprocess.

    Args:
        path: Version folder.
        signatures: As `zoo.serving.SavedModel.signatures`; those whose dtypes or shapes cannot be served are left out.
        requests: Warm-up requests; each is run.

    Returns:
        `(known_ops, problems)`: the loader's ops, a serialized `OpList`, and one sentence for each fault.

    Example:

        known_ops, problems = run("exports/wgan_gp/1", signatures, read_warmup(Path("exports/wgan_gp/1")))
    """
    unfit = {name for name, sides in signatures.items() if not rules.can_be_batched(sides)}
    signatures = {name: sides for name, sides in signatures.items() if name not in unfit}
    requests = [(number, *request) for number, request in enumerate(requests) if request[0] not in unfit]
    numbers, requests = [number for number, *_ in requests], [(name, inputs) for _, name, inputs in requests]
    first = example_requests(signatures, requests)
    problems = [
        f"Signature `{name}` has no warm-up request, and its shapes do not say what to send, so it was not run; add a "
        "warm-up request."
        for name in sorted(signatures.keys() - first.keys())
    ]
    variants = {name: _variants(inputs) if _has_rows(inputs) else (inputs,) for name, inputs in first.items()}
    trials = [(name, inputs) for name, group in variants.items() for inputs in group]
    afresh = [(name, group[0]) for name, group in variants.items() if len(group) > 1]
    try:
        inspection = isolated.inspect(path, trials + requests, afresh)
    except RuntimeError as error:
        return b"", [*problems, f"TF Serving's loader crashes on it, and a server would too: {_first_line(error)}"]
    if isinstance(inspection.signatures, Exception):
        return inspection.ops, [*problems, f"TF Serving's loader refuses it: {_first_line(inspection.signatures)}"]
    named = [(name, answer) for (name, _), answer in zip(trials + requests, inspection.rounds[0], strict=True)]
    answers = iter(inspection.rounds[0])
    results = {name: [next(answers) for _ in group] for name, group in variants.items()}
    for (name, _), answer in zip(afresh, inspection.rounds[1], strict=True):
        results[name].append(answer)
    records = list(zip(numbers, requests, answers, strict=True))
    told = {name for _, (name, _), answer in records if isinstance(answer, Exception)}
    for name, group in results.items():
        failed = next((answer for answer in group if isinstance(answer, Exception)), None)
        if failed is None and len(group) > 1:
            problems += _judge(name, group)
        elif failed is not None and name not in told:
            problems.append(f"Signature `{name}` fails in TF Serving's loader, XLA off: {_first_line(failed)}")
    problems += _warmup_problems(signatures, records)
    return inspection.ops, problems + _text_problems(named)


def _variants(rows):
    """Rows, the same again, other rows, both together, both backward."""
    other = {key: _change(key, value) for key, value in rows.items()}
    both = {key: np.concatenate([rows[key], other[key]]) for key in rows}
    return rows, rows, other, both, {key: value[::-1] for key, value in both.items()}


def _judge(name, answers):
    problems = []
    for key in answers[0]:
        rows, again, other, both, backward, afresh = (answer[key] for answer in answers)
        output = f"Output `{key}` of signature `{name}`"
        if difference(rows, again):
            problems.append(
                f"{output} changes when the same request is sent again; draw random numbers with stateless ops keyed "
                "on an input."
            )
        elif difference(rows, afresh):
            problems.append(
                f"{output} changes when the version is loaded afresh, so each server and each restart would answer "
                "differently; save what it draws or counts at loading as a variable."
            )
        elif not rows.ndim or not other.ndim or difference(np.concatenate([rows, other]), both):
            problems.append(
                f"{output} depends on which rows share a batch, and TF Serving joins requests: f(concat) is not "
                "concat(f), as with batch statistics; compute each row by itself."
            )
        elif difference(both[::-1], backward):
            problems.append(
                f"{output} depends on a row's position in the batch, and TF Serving joins requests; compute each row "
                "by itself."
            )
    return problems


def _warmup_problems(signatures, records):
    problems = []
    for number, (name, _), answer in records:
        if name not in signatures:
            reason = f"'Serving signature key \"{name}\" not found'; there are: {', '.join(sorted(signatures))}."
        elif isinstance(answer, Exception):
            reason = _first_line(answer)
        else:
            continue
        problems.append(
            f"Warm-up record {number}, for signature `{name}`, fails, and one that fails keeps TF Serving from loading "
            f"the version: {reason}"
        )
    return problems


def _text_problems(named):
    bad = {
        (name, key): None
        for name, answer in named
        if not isinstance(answer, Exception)
        for key, array in answer.items()
        if array.dtype == object and not key.endswith("_bytes") and not all(map(_is_text, array.flat))
    }
    return [
        f"Output `{key}` of signature `{name}` holds bytes that are no UTF-8, which TF Serving's REST API would write "
        f"as broken JSON; name it `{key}_bytes`, and it is sent in base64."
        for name, key in bad
    ]


def _is_text(item):
    try:
        item.decode()
    except UnicodeDecodeError:
        return False
    return True


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
    return _WRAPPING.sub("", text.strip().splitlines()[0]).partition(" with these attrs: ")[0]
