"""Every public method of every model tells what it was given, what it expects and what to do; none lets it pass."""

import functools
import re

import numpy as np
import pytest
import tensorflow as tf

from tests.helpers.examples import Texts
from tests.helpers.rows import ROWS
from zoo.data import Source

NAN, INFINITE = float("nan"), float("inf")
# What TensorFlow, Keras, NumPy and Python say by themselves.
RAW = (
    "Exception encountered|Arguments received|tf\\.Tensor|EagerTensor\\(|Graph execution|\\{\\{|node |Op:|"
    "inhomogeneous|could not convert|NumPy array to a Tensor|has no attribute|has no len|not iterable|subscriptable|"
    "symbolic|broadcast|Traceback|keras\\.src|site-packages|unhashable"
)


def spoilt(array, value):
    array = np.array(array, "float32")
    array.reshape(-1)[array.size // 2] = value
    return array


def numbers(good):
    """{what is wrong: rows} of rows that are floating point numbers."""
    return {
        "nothing": None,
        "NaN": spoilt(good, NAN),
        "infinite": spoilt(good, INFINITE),
        "texts": good.astype(str),
        "a text": "photo.png",
        "a dict": {"x": good},
        "complex numbers": good.astype(complex),
        "objects": np.array([None, None]),
        "no rows": good[:0],
        "one row": good[0],
        "another shape": np.concatenate([good, good], -1),
        "an axis too many": good[:, None, None],
        "a number": 3.0,
        "rows of different shapes": [good[0], good[1][..., :-1]],
    }


def images(good):
    """The same of images in [-1, 1]."""
    return {
        **numbers(good),
        "bytes": ((good + 1) * 127.5).astype("uint8"),
        "values of bytes": (good + 1) * 127.5,
        "whole numbers": np.ones_like(good, "int64"),
        "a picture without channels": good[..., 0],
        "channels in front": np.moveaxis(np.repeat(good, 3, -1), -1, 1),
    }


def photos(good):
    """The same of images in [0, 255]; those of different sizes are welcome."""
    wrong = numbers(good.astype("float32"))
    del wrong["rows of different shapes"]
    return {
        **wrong,
        "values in [0, 1]": good / 255.0,
        "values in [-1, 1]": good / 127.5 - 1,
        "negative numbers": -good.astype("int32"),
        "numbers above 255": good.astype("int32") + 200,
        "grey images": good[..., :1],
        "grey images of different sizes": [good[0, ..., :1], good[1, :-1, :, :1]],
        "pictures of which one is NaN": [good[0].astype("float32"), spoilt(good[1, :-1], NAN)],
    }


def texts(_):
    return {
        "nothing": None,
        "one text": "w0 w1",
        "no texts": [],
        "None among them": ["w0", None],
        "numbers": [1, 2],
        "an array of numbers": np.ones(2),
        "lists": [["w0"], ["w1"]],
        "a table": np.array([["w0"], ["w1"]]),
        "a dict": {"w0": "w1"},
        "a set": {"w0"},
    }


def ids(good):
    return {
        "nothing": None,
        "texts": ["w0", "w1"],
        "an array of texts": good.astype(str),
        "floats": good.astype("float32"),
        "NaN": good * NAN,
        "ids beyond the vocabulary": good + 1000,
        "negative ids": -good - 1,
        "no rows": good[:0],
        "one row": good[0],
        "an axis too many": good[..., None],
        "padding in front": good * 0,
    }


def counts(_, low=1):
    return {
        "none": None,
        "too few": low - 1,
        "negative": -3,
        "a fraction": 2.5,
        "a text": "two",
        "NaN": NAN,
        "a list": [2],
        "true": True,
    }


def seeds(_):
    return {
        "none": None,
        "a fraction": 0.5,
        "a text": "zero",
        "NaN": NAN,
        "beyond 64 bits": 2**64,
        "an array": np.ones(2),
    }


def temperatures(_):
    return {"none": None, "0": 0, "negative": -1.0, "NaN": NAN, "infinite": INFINITE, "a text": "hot"}


def places(_):
    """Sizes of the pictures in four images."""
    return {
        "another number": np.ones((5, 2)),
        "0": np.zeros((4, 2), int),
        "larger than the images": np.full((4, 2), 10_000),
        "NaN": np.full((4, 2), NAN),
        "shares": np.full((4, 2), 0.5),
        "texts": np.full((4, 2), "8"),
        "ragged": [[8, 8], [8], [8], [8]],
    }


def objects(good):
    """Targets of a detector of which one is wrong."""
    changes = {
        "masks of 0 and 255": ("masks", lambda x: x * 255),
        "masks that are no numbers": ("masks", lambda x: x.astype(str)),
        "negative masks": ("masks", lambda x: -x.astype("int32")),
        "masks as shares": ("masks", lambda x: x.astype("float32")),
        "normalised boxes": ("boxes", lambda x: x / 32),
        "boxes in texts": ("boxes", lambda x: x.astype(str)),
        "boxes of corner and size": ("boxes", lambda x: np.concatenate([x[..., :2] + 15, x[..., 2:] - x[..., :2]], -1)),
        "infinite boxes": ("boxes", lambda x: np.where(x > 0, INFINITE, x)),
        "no boxes": ("boxes", lambda x: None),
        "classes from 1": ("classes", lambda x: x + 1),
        "classes of floats": ("classes", lambda x: x.astype("float32")),
        "crowds of 0 and 2": ("crowds", lambda x: 2 * x.astype("int32")),
        "sizes as shares": ("sizes", lambda x: x / 64),
        "sizes beyond the image": ("sizes", lambda x: 2 * x),
    }
    return {
        "nothing": None,
        "boxes alone": good["boxes"],
        **{what: {**good, name: change(good[name])} for what, (name, change) in changes.items()},
    }


def labels(good):
    """Label maps of 0 to 2, and 255 for what does not count."""
    return {
        "nothing": None,
        "masks of black and white": np.where(good > 0, 255, 0).astype("uint8"),
        "a class too many": np.where(good == 2, 3, good),
        "negative classes": -good.astype("int32"),
        "floats": good.astype("float32"),
        "texts": good.astype(str),
        "scores": np.zeros((*good.shape, 3)),
        "another size": good[:, :-1],
        "fewer": good[:-1],
    }


BATCH = {"batch_size": counts}
FIT = ("fit", "train_on_batch")
HELD_OUT = (*FIT, "evaluate", "test_on_batch")
CALLS = ("predict", "predict_on_batch", "__call__")


@functools.cache
def model_of(name):
    model = ROWS[name].build()
    model.compile()
    return model


def good_of(name, method):
    """What a method takes, {argument: value}, for each argument that the tables below spoil."""
    row = ROWS[name]
    examples = row.examples(4)
    if method in HELD_OUT:
        x, y = examples if isinstance(examples, tuple) else (examples, None)
        return {"x": x} if y is None else {"x": x, "y": y}
    if method in ("translate", "sample", "score", "likelihood", "plans", "encode") and isinstance(row.examples, Texts):
        words = ["w0 w1", "w2", "w3 w4", "w5"]
        if method in ("translate", "sample"):
            return {"texts": words}
        return {"sources": words, "targets": words[::-1]}
    if method in CALLS:
        return {"x": row.examples.mapped(model_of(name), examples)}
    if method == "interpolate":
        return {"first": examples[:2], "second": examples[2:]}
    if method == "decode":
        return {"codes": np.ones((4, model_of(name).code_dim), "float32")}
    if method == "generate":
        return {"num_samples": 2}
    first = {"cycle_gan": "images", "mask_rcnn": "images", "fcn": "images"}.get(name, "examples")
    return {first: examples[0] if isinstance(examples, tuple) else examples}


OTHERS = ("autoencoder", "vae", "cycle_gan", "seq2seq", "mask_rcnn", "fcn")
ADVERSARIAL = {
    **dict.fromkeys(CALLS, {"x": numbers}),
    "generate": {"num_samples": counts, "seed": seeds},
}
CODER = {
    **{method: {"x": images} for method in (*HELD_OUT, *CALLS)},
    "encode": {"examples": images, **BATCH},
    "decode": {"codes": numbers, **BATCH},
    "reconstruct": {"examples": images, **BATCH},
    "interpolate": {"first": images, "second": images, "num_steps": functools.partial(counts, low=2)},
}
# {row of the conformance table: {method: {argument: function of a good value that makes bad ones}}}
TABLE = {
    **{
        name: {**{method: {"x": images if len(ROWS[name].shape) == 3 else numbers} for method in FIT}, **ADVERSARIAL}
        for name in ROWS
        if name not in OTHERS
    },
    "autoencoder": {**CODER, "errors": {"examples": images, **BATCH}},
    "vae": {
        **CODER,
        "elbo": {"examples": images, "seed": seeds, **BATCH},
        "log_likelihood": {"examples": images, "num_samples": counts, "seed": seeds},
        "generate": {"num_samples": counts, "seed": seeds, **BATCH},
    },
    "cycle_gan": {
        **{method: {"x": images, "y": images} for method in HELD_OUT},
        **{method: {"x": images} for method in CALLS},
        "translate": {"images": images, "direction": lambda _: {"another": "x", "none": None, "a list": []}, **BATCH},
    },
    "seq2seq": {
        **{method: {"x": ids, "y": ids} for method in HELD_OUT},
        **{
            method: {"x": lambda pair: {what: (pair[0], bad) for what, bad in ids(pair[1]).items()}} for method in CALLS
        },
        "translate": {"texts": texts, "num_beams": lambda _: {**counts(_), "none": 0}, **BATCH},
        "sample": {
            "texts": texts,
            "seed": seeds,
            "temperature": temperatures,
            "top_k": lambda _: {**counts(_), "none": 0},
            **BATCH,
        },
        "encode": {"sources": texts, "targets": texts},
        "likelihood": {"sources": texts, "targets": texts, **BATCH},
        "score": {"sources": texts, "targets": texts, **BATCH},
        "plans": {"sources": texts, "targets": texts},
    },
    "mask_rcnn": {
        **{method: {"x": photos, "y": objects} for method in HELD_OUT},
        **{method: {"x": photos} for method in CALLS},
        "detect": {"images": photos, "sizes": places, **BATCH},
    },
    "fcn": {
        **{method: {"x": photos, "y": labels} for method in HELD_OUT},
        **{method: {"x": photos} for method in CALLS},
        "segment": {"images": photos, **BATCH},
        "probabilities": {"images": photos, **BATCH},
    },
}
# Public, but of tensors within a step, of objects of Keras, or without data.
INNER = {
    *("call", "check_fit", "check_inputs", "check_support", "compiled_once", "compile", "compile_from_config"),
    *("default_optimizer", "discriminator_objective", "generator_objective", "critic_objective", "objective"),
    *("examples_of", "export", "figures", "from_config", "get_compile_config", "get_config", "in_batches", "latents"),
    *("make_test_function", "make_train_function", "networks_of", "observe", "open_batch", "request_stop", "save"),
    *("signatures", "sums", "test_step", "track", "train_step", "update_sampler", "warmup", "train_critic"),
    *("critic_only_step", "generator_is_due", "divergence", "distance", "features", "unit_features", "codes_of"),
    *("examples_from", "activity_penalty", "corrupted", "squared_slope", "inputs_of", "likelihood_of", "posterior_of"),
    *("prior_sample", "summed_weights", "terms_of", "per_token", "scale", "search", "speak", "transport_terms"),
    *(
        "box_terms",
        "detections",
        "everywhere",
        "judged",
        "mask_term",
        "masks_in",
        "pooled",
        "proposal_terms",
        "rows_of",
    ),
    *("logits", "note", "solve", "negative"),
}
# Of tensors, for the export, where other models have a method of that name for people.
INNER_OF = {"autoencoder": {"score"}, "vae": {"score"}}
REFUSED_ALWAYS = {"evaluate", "test_on_batch"}


def public_methods(name):
    """Methods that Zoo's classes define, `__call__` among them."""
    found = set()
    for kind in type(model_of(name)).__mro__:
        if kind.__module__.startswith("zoo."):
            found |= {
                method
                for method, value in vars(kind).items()
                if (callable(value) or isinstance(value, (classmethod, staticmethod)))
                and (not method.startswith("_") or method == "__call__")
            }
    return found


@pytest.mark.parametrize("name", ROWS)
def test_every_public_method_is_in_the_table(name):
    found = public_methods(name) - INNER - INNER_OF.get(name, set())
    expected = {*TABLE[name]} | (set() if model_of(name).has_held_out_loss else REFUSED_ALWAYS)
    assert found == expected


CASES = [(name, method, argument) for name in TABLE for method in TABLE[name] for argument in TABLE[name][method]]


@pytest.mark.parametrize("name, method, argument", CASES, ids=map("-".join, CASES))
def test_bad_input_is_answered_with_what_to_do(name, method, argument):
    good, wrong = good_of(name, method), {}
    for what, bad in TABLE[name][method][argument](good.get(argument)).items():
        given = {**good, argument: bad} | ({"verbose": 0} if method in ("fit", "evaluate", "predict") else {})
        positional = [given.pop("x")] if method == "__call__" else []
        try:
            getattr(model_of(name), method)(*positional, **given)
            wrong[what] = "passed"
        except ValueError as error:
            message = str(error)
            told = any(
                sign in message for sign in ("Received: ", "NaN or infinite", "hold ids from", "begin with padding")
            )
            if re.search(RAW, message) or len(message) > 600 or not told:
                wrong[what] = message
        except Exception as error:  # That nothing else comes out is what is tested.
            wrong[what] = f"{type(error).__name__}: {error}"
    assert not wrong, "\n".join(f"{what}: {message[:400]}" for what, message in wrong.items())


ANY_SIZE = [
    pytest.param("mask_rcnn", "detect", marks=pytest.mark.exhaustive),
    ("fcn", "segment"),
    ("cycle_gan", "translate"),
]


@pytest.mark.parametrize("name, method", ANY_SIZE)
def test_pictures_of_different_sizes_are_answered_as_each_alone(name, method):
    function, (whole, _) = getattr(model_of(name), method), ROWS[name].examples(3)
    pictures = [whole[0], whole[1, :-4, :-8], whole[2]]
    found, alone = function(pictures), [function(picture[None]) for picture in pictures[:2]]
    for row, expected in enumerate(alone):
        if isinstance(expected, dict):
            for key, value in expected.items():
                np.testing.assert_allclose(found[key][row], value[0], atol=1e-4)
        else:
            assert found[row].shape[:2] == pictures[row].shape[:2]
            np.testing.assert_allclose(found[row], expected[0], atol=1e-5)
    # Of one size, a list is an array.
    assert isinstance(found, dict) or isinstance(function(list(whole)), np.ndarray)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7])
def test_small_pictures_are_translated_as_in_a_mirror(size):
    """As NumPy reflects them up to a multiple of 4, and to the 8 that the generator's blocks need."""
    model, side = model_of("cycle_gan"), max(size + -size % 4, 8)
    images = ROWS["cycle_gan"].examples(2)[0][:, :size, 3 : 3 + size]
    mirrored = np.pad(images, ((0, 0), (0, side - size), (0, side - size), (0, 0)), "reflect")
    np.testing.assert_allclose(model.translate(images), model.translate(mirrored)[:, :size, :size], atol=1e-6)


def test_half_of_a_pair_of_surrogates_counts_as_no_character():
    """As bytes that are no UTF-8 do in the export; both halves are the character that they stand for."""
    model = model_of("seq2seq")
    expected = model.translate(["\ufffd w1", "\ufffd w1", "\U0001f600 w1"])
    assert model.translate(["\ud800 w1", b"\xff w1", "\ud83d\ude00 w1"]) == expected
    np.testing.assert_array_equal(*(model.encode([text] * 2, ["w1"] * 2)[0] for text in ("a\ud800b", "a\ufffdb")))


@pytest.mark.parametrize("name", ["gan", "vae", "fcn"])
def test_data_sets_are_looked_at_too(name):
    good = good_of(name, "predict")["x"]
    with pytest.raises(ValueError, match="NaN or infinite|min=nan"):
        model_of(name).predict(tf.data.Dataset.from_tensor_slices(spoilt(good, NAN)).batch(4), verbose=0)
    with pytest.raises(ValueError, match="Received: a set of `zoo.data`"):
        model_of(name).predict(Source("noise", np.zeros((4, 8, 8, 1), "uint8")), verbose=0)
    pairs = tf.data.Dataset.from_tensor_slices((good, np.zeros(4))).batch(2)
    assert len(model_of(name).predict(pairs, verbose=0)) == 4
