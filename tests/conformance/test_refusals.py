"""Every model refuses examples that it cannot learn from, and says what to do."""

import numpy as np
import pytest

from tests.helpers.rows import fit


def refuse_images(model, images, targets):
    for change, message in (
        (lambda x: x / 255.0, "seem to be in .0, 1.. Use `images . 255`"),
        (lambda x: x / 127.5 - 1, r"numbers in \[0, 255\].*Received: dtype float64, min=-1"),
        (lambda x: x[..., :1], r"must be RGB.*Repeat grey"),
        (lambda x: x[0], "This is one image: add an axis"),
    ):
        with pytest.raises(ValueError, match=message):
            fit(model, (change(images), targets))


def test_bad_examples_are_refused_with_advice(row):
    model = row.build()
    good = row.examples(4)
    with pytest.raises(ValueError, match="call `compile"):
        fit(model, good)
    model.compile()

    def refused(change, message):
        with pytest.raises(ValueError, match=message):
            fit(model, row.change(good, change))

    if row.objects:
        images, targets = good

        def refused_targets(name, change, message):
            with pytest.raises(ValueError, match=message):
                fit(model, (images, {**targets, name: change(targets[name])}))

        refused_targets("boxes", lambda x: x[..., ::-1], r"must be corners x1 < x2, y1 < y2 in pixels.*Received: \[")
        refused_targets("boxes", lambda x: x * np.nan, "NaN or infinite")
        refused_targets("boxes", lambda x: x[:, :0], "with n at least 1: pad with class -1")
        refused_targets("classes", lambda x: x + 3, "from 0 to 2, and -1 for padding.*Received: .*max=5")
        refused_targets("masks", lambda x: x[..., :16], r"Expected shape \(4, 3, 32, 32\).*Received: \(4, 3, 32, 16\)")
        refused_targets("masks", lambda x: x * 255, "0 or 1")
        refuse_images(model, images, targets)
        with pytest.raises(ValueError, match="images and a dict of targets: boxes, classes, .* Received: ndarray"):
            fit(model, images)
        with pytest.raises(ValueError, match="The targets lack masks, sizes"):
            fit(model, (images, {name: targets[name] for name in ("boxes", "classes", "crowds")}))
        return
    if row.labels:
        images, labels = good
        for change, message in (
            (lambda x: x + 250, "must be from 0 to 2, or 255 for pixels that do not count. Received: 249, 250, 251"),
            (lambda x: x[..., :16], r"Expected shape \(4, 40, 36\), a class for each pixel.*Received: \(4, 40, 16\)"),
            (lambda x: x[..., None], r"Drop the last axis: `labels\[..., 0\]`"),
            (lambda x: np.eye(256)[x], r"Classes instead of scores: `labels.argmax\(-1\)`"),
            (lambda x: x / 2, "must be whole numbers. Received: dtype float64"),
        ):
            with pytest.raises(ValueError, match=message):
                fit(model, (images, change(labels)))
        refuse_images(model, images, labels)
        with pytest.raises(ValueError, match="images and the label of each of their pixels. Received: ndarray"):
            fit(model, images)
        return
    if row.tokens:
        refused(lambda x: x.astype("float32"), "whole numbers, ids of tokens. Received: dtype float32")
        refused(lambda x: x + row.tokens, "hold ids from .* but their vocabulary has 20 tokens, 0 to 19. Encode them")
        refused(lambda x: -x, "hold ids from -19")
        refused(lambda x: x[..., None], r"ids of shape \(batch, length\).*Received: \(4, 6, 1\)")
        refused(lambda x: x * 0, "begin with padding in row 0")
        refused(lambda x: x.astype(str), "Received: texts. `model.encode")
        refused(lambda x: x[:2], "Each source needs its target. Received: 4 of `x` and 2 of `y`")
        refused(lambda x: x[:0], "Each source needs its target")
        with pytest.raises(ValueError, match="Received: texts. `model.encode"):
            model.fit(["w0"], ["w1"])
        with pytest.raises(ValueError, match="learns from pairs, x and y. Received: 1 of them"):
            fit(model, good[0])
        return

    def spoil(examples):
        examples = examples.copy()
        examples[1] = np.nan
        return examples

    refused(lambda x: np.zeros((4, 3), "float32"), r"Expected shape \(batch, .*Received: \(4, 3\)")
    refused(spoil, "NaN or infinite")
    refused(lambda x: (x * 0).astype("uint8"), "floating point")
    refused(lambda x: x[:0], "There are no|as many of `x` as of `y`")
    if row.domains == 1:
        with pytest.raises(ValueError, match="examples alone"):
            fit(model, good, y=np.zeros(4))
    else:
        with pytest.raises(ValueError, match="learns from pairs, x and y. Received: 1 of them"):
            fit(model, good[0])
    if len(row.shape) == 3:
        refused(lambda x: (x + 1) * 127.5, r"must lie in \[-1, 1\].*Received: min=.*max=.*Divide by 127.5")
        refused(lambda x: np.repeat(x, 3, axis=-1), "channels")
        refused(lambda x: x[..., 0], "missing axis")


def test_a_batch_smaller_than_the_replicas_is_refused(row, two_replicas):
    with two_replicas.scope():
        model = row.build()
        model.compile()
    with pytest.raises(ValueError, match="A batch of 1 examples cannot be split over 2 replicas"):
        fit(model, row.examples(1))
