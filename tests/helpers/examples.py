"""Kinds of examples that models learn from: how they are made, asked about, answered and refused."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from zoo.encoded import encode


def examples_of(shape, count, seed=0):
    values = np.random.default_rng(seed).uniform(-0.9, 0.9, (count, *shape))
    return (values + 0.1).astype("float32")


def ids_of(tokens, shape, count, seed=0):
    """Sequences of 2 tokens and more, their ends (2), and padding (0)."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(4, tokens, (count, *shape))
    ends = rng.integers(2, shape[0], (count, 1))
    places = np.arange(shape[0])
    return np.where(places < ends, ids, np.where(places == ends, 2, 0)).astype("int32")


def objects_of(num_classes, shape, count, seed=0):
    """Images of noise with up to three rectangles in each, all of them full, some of them crowds."""
    rng, (height, width, _), most = np.random.default_rng(seed), shape, 3
    images = rng.integers(0, 100, (count, *shape))
    corners = rng.integers(0, (width // 2, height // 2), (count, most, 2))
    boxes = np.concatenate([corners, corners + rng.integers(width // 4, width // 2, (count, most, 2))], 2)
    classes = rng.integers(-1, num_classes, (count, most))
    rows, columns = np.arange(height)[:, None], np.arange(width)
    x1, y1, x2, y2 = (boxes[..., side, None, None] for side in range(4))
    masks = (rows >= y1) & (rows < y2) & (columns >= x1) & (columns < x2) & (classes >= 0)[..., None, None]
    images = np.where(masks.any(1)[..., None], images + 150, images)
    return images.astype("uint8"), {
        "boxes": boxes.astype("float32"),
        "classes": classes.astype("int32"),
        "crowds": rng.uniform(size=(count, most)) < 0.2,
        "masks": masks.astype("uint8"),
        "sizes": np.full((count, 2), (height, width), "int32"),
    }


def labelled_of(num_classes, shape, count, seed=0):
    """Images of noise with brighter rectangles, the class of each pixel, and pixels that do not count."""
    images, targets = objects_of(num_classes - 1, shape, count, seed)
    labels = np.max(targets["masks"] * (targets["classes"] + 1)[..., None, None], 1)
    labels[:, :, :2] = 255
    return images, labels.astype("uint8")


def arguments(examples):
    """What `fit` takes by position."""
    return examples if isinstance(examples, tuple) else (examples,)


@dataclass(frozen=True)
class Numbers:
    """Points, or images in [-1, 1]; of several domains a set of each.

    The kinds have in common:

    - a call, `(count, seed)`: what `fit` takes, one array or a tuple;
    - `mapped`: what `model(...)` maps, of such examples;
    - `asked`: rows for one input of a signature, of which the first and the last are equal where they are seeds or
      texts;
    - `answers`: what the model's public methods say to what its signatures were asked;
    - `tolerance`: the largest difference between the two;
    - `output`: what the model makes of a fixed input;
    - `refusals`: arguments of `fit` that have to be refused, each with what is said.
    """

    shape: tuple
    domains: int = 1
    first_seed: int = 0
    tolerance = 1e-6

    def __call__(self, count, seed=0, shape=None):
        seeds = [self.first_seed + seed + domain for domain in range(self.domains)]
        sets = [examples_of(shape or self.shape, count, one) for one in seeds]
        return sets[0] if self.domains == 1 else tuple(sets)

    def mapped(self, model, examples):
        if hasattr(model, "generator"):
            return np.ones((len(examples), *model.generator.input_shape[1:]), "float32")
        return arguments(examples)[0]

    def asked(self, name, spec):
        if spec.dtype.is_integer:
            return np.array([5, 3, 5])
        if spec.dtype == tf.string:
            return np.array([encode(image).numpy() for image in arguments(self(3))[0]], dtype=object)
        shape = [self.shape[axis] if size is None else size for axis, size in enumerate(spec.shape[1:])]
        numbers = np.random.default_rng(1).normal(size=(3, *shape)).astype("float32")
        return np.tanh(numbers) if len(shape) == 3 else numbers

    def answers(self, model, asked):
        (given,) = asked["serving_default"].values()
        found = {"serving_default": [model.predict(given, verbose=0)]}
        if "sample" in asked:
            (seeds,) = asked["sample"].values()
            found["sample"] = [np.concatenate([model.generate(1, seed=int(seed)) for seed in seeds])]
        return found

    def output(self, model):
        if hasattr(model, "generate"):
            return model.generate(2, seed=0)
        if hasattr(model, "translate"):
            return model.translate(examples_of(model.example_shape, 2))
        return model.decode(np.eye(2, model.code_dim))

    def refusals(self):
        good = arguments(self(4))

        def last(change):
            return (*good[:-1], change(good[-1]))

        yield last(lambda x: np.zeros((4, 3), "float32")), r"Expected shape \(batch, .*Received: \(4, 3\)"
        yield last(lambda x: np.where(np.arange(4).reshape(4, *[1] * (x.ndim - 1)) == 1, np.nan, x)), "NaN or infinite"
        yield last(lambda x: (x * 0).astype("uint8")), "floating point"
        yield last(lambda x: x[:0]), "There are no|as many of `x` as of `y`"
        if self.domains == 1:
            yield (*good, np.zeros(4)), "examples alone"
        else:
            yield good[:1], "learns from pairs, x and y. Received: 1 of them"
        if len(self.shape) == 3:
            yield last(lambda x: (x + 1) * 127.5), r"must lie in \[-1, 1\].*Received: min=.*max=.*Divide by 127.5"
            yield last(lambda x: np.repeat(x, 3, axis=-1)), "channels"
            yield last(lambda x: x[..., 0]), "missing axis"


@dataclass(frozen=True)
class Texts:
    """Pairs of texts as ids of their tokens."""

    shape: tuple
    tokens: int
    tolerance = 1e-6

    def __call__(self, count, seed=0, shape=None):
        return tuple(ids_of(self.tokens, shape or self.shape, count, seed + side) for side in range(2))

    def mapped(self, model, examples):
        return examples

    def asked(self, name, spec):
        if spec.dtype == tf.string:
            return np.array([b"w0 w1 w2", b"w3 unknown", b"w0 w1 w2"], dtype=object)
        if len(spec.shape) == 2:
            return self(3)[0]
        # Seeds and numbers of tokens; temperatures.
        return np.array([5, 3, 5] if spec.dtype.is_integer else [1.0, 0.5, 1.0], spec.dtype.as_numpy_dtype)

    def answers(self, model, asked):
        (given,) = asked["serving_default"].values()
        translations = model.translate([text.decode() for text in given])
        return {"serving_default": {"translations": np.array([text.encode() for text in translations], dtype=object)}}

    def output(self, model):
        return model.score(["w0 w1 w2", "w3"], ["w4 w5", "w6 w7 w8"])

    def refusals(self):
        sources, targets = self(4)
        for change, message in (
            (lambda x: x.astype("float32"), "whole numbers, ids of tokens. Received: dtype float32"),
            (lambda x: x + self.tokens, "hold ids from .* but their vocabulary has 20 tokens, 0 to 19. Encode them"),
            (lambda x: -x, "hold ids from -19"),
            (lambda x: x[..., None], r"ids of shape \(batch, length\).*Received: \(4, 6, 1\)"),
            (lambda x: x * 0, "begin with padding in row 0"),
            (lambda x: x.astype(str), "Received: texts. `model.encode"),
            (lambda x: x[:2], "Each source needs its target. Received: 4 of `x` and 2 of `y`"),
            (lambda x: x[:0], "Each source needs its target"),
        ):
            yield (sources, change(targets)), message
        yield (["w0"], ["w1"]), "Received: texts. `model.encode"
        yield (sources,), "learns from pairs, x and y. Received: 1 of them"


class _Photos:
    """What images in [0, 255] with any truth have in common."""

    def mapped(self, model, examples):
        return examples[0]

    def asked(self, name, spec):
        images = self(3)[0]
        if spec.dtype == tf.string:
            return np.array([encode(image / 127.5 - 1).numpy() for image in images], dtype=object)
        return images.astype("float32") if spec.dtype == tf.float32 else images

    def refusals(self):
        images, truth = self(4)
        for change, message in (
            (lambda x: x / 255.0, "seem to be in .0, 1.. Use `images . 255"),
            (lambda x: x / 127.5 - 1, r"numbers in \[0, 255\].*Received: dtype float64, min=-1"),
            (lambda x: x[..., :1], r"must be RGB.*Repeat grey"),
            (lambda x: x[0], "This is one image: add an axis"),
        ):
            yield (change(images), truth), message


@dataclass(frozen=True)
class Objects(_Photos):
    """Images in [0, 255] and the boxes, classes and masks of what is in them."""

    shape: tuple
    num_classes: int
    tolerance = 1e-4  # Boxes are in pixels.

    def __call__(self, count, seed=0, shape=None):
        return objects_of(self.num_classes, shape or self.shape, count, seed)

    def answers(self, model, asked):
        (given,) = asked["serving_default"].values()
        return {"serving_default": model.detect(given)}

    def output(self, model):
        return model.detect(self(2)[0])["masks"]

    def refusals(self):
        yield from super().refusals()
        images, targets = self(4)
        for name, change, message in (
            ("boxes", lambda x: x[..., ::-1], r"must be corners x1 < x2, y1 < y2 in pixels.*Received: \["),
            ("boxes", lambda x: x * np.nan, "NaN or infinite"),
            ("boxes", lambda x: x[:, :0], "with n at least 1: pad with class -1"),
            ("classes", lambda x: x + 3, "from 0 to 2, and -1 for padding.*Received: .*max=5"),
            ("masks", lambda x: x[..., :16], r"Expected shape \(4, 3, 32, 32\).*Received: \(4, 3, 32, 16\)"),
            ("masks", lambda x: x * 255, "0 or 1"),
        ):
            yield (images, {**targets, name: change(targets[name])}), message
        yield (images,), "images and a dict of targets: boxes, classes, .* Received: ndarray"
        few = {name: targets[name] for name in ("boxes", "classes", "crowds")}
        yield (images, few), "The targets lack masks, sizes"


@dataclass(frozen=True)
class Pixels(_Photos):
    """Images in [0, 255] and the class of each of their pixels."""

    shape: tuple
    num_classes: int
    tolerance = 1e-6

    def __call__(self, count, seed=0, shape=None):
        return labelled_of(self.num_classes, shape or self.shape, count, seed)

    def answers(self, model, asked):
        (given,) = asked["serving_default"].values()
        return {
            "serving_default": {"labels": model.segment(given)},
            "probabilities": {"probabilities": model.probabilities(given)},
        }

    def output(self, model):
        return model.probabilities(self(2)[0])

    def refusals(self):
        yield from super().refusals()
        images, labels = self(4)
        for change, message in (
            (lambda x: x + 250, "must be from 0 to 2, or 255 for pixels that do not count. Received: 249, 250, 251"),
            (lambda x: x[..., :16], r"Expected shape \(4, 40, 36\), a class for each pixel.*Received: \(4, 40, 16\)"),
            (lambda x: x[..., None], r"Drop the last axis: `labels\[..., 0\]`"),
            (lambda x: np.eye(256)[x], r"Classes instead of scores: `labels.argmax\(-1\)`"),
            (lambda x: x / 2, "must be whole numbers. Received: dtype float64"),
        ):
            yield (images, change(labels)), message
        yield (images,), "images and the label of each of their pixels. Received: ndarray"
