"""The order, the shapes and the values of what a `Source` gives."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from zoo import data
from zoo.data import Source


def numbered(size=23):
    """Points whose first coordinate is their row number."""
    return Source("numbered", np.stack([np.arange(size), np.zeros(size)], 1).astype("float32"))


def rows(batches, count):
    return [batch[..., 0].numpy().astype(int) for batch in islice(batches, count)]


def test_each_epoch_has_every_example_once_less_the_remainder():
    source = numbered(23)
    assert source.steps_per_epoch(5) == 4
    for epoch in range(3):
        seen = np.concatenate(rows(source.batches(5, first_epoch=epoch), 4))
        assert len(set(seen)) == 20 and set(seen) <= set(range(23))
    whole = np.concatenate(rows(source.batches(23), 1))
    assert sorted(whole) == list(range(23))


def test_epochs_and_seeds_differ():
    source = numbered(40)
    orders = {tuple(order) for seed in range(3) for order in rows(source.batches(40, seed=seed), 3)}
    assert len(orders) == 9


@pytest.mark.parametrize("group", [None, 3])
def test_a_run_resumed_at_an_epoch_sees_what_an_uninterrupted_one_saw(group):
    source = numbered(25)
    steps = source.steps_per_epoch(4, group)
    uninterrupted = rows(source.batches(4, seed=7, group=group), 5 * steps)
    for epoch in (1, 4):
        resumed = rows(source.batches(4, seed=7, first_epoch=epoch, group=group), steps)
        np.testing.assert_array_equal(resumed, uninterrupted[epoch * steps : (epoch + 1) * steps])


def test_without_shuffle_the_order_is_that_of_the_data():
    seen = rows(numbered(7).batches(3, shuffle=False), 3)
    assert [batch.tolist() for batch in seen] == [[0, 1, 2], [3, 4, 5], [0, 1, 2]]


def test_shapes_are_static_and_groups_do_not_overlap():
    source = data.load("digits")
    batches = source.batches(8, group=5)
    assert batches.element_spec.shape == (8, 5, 8, 8, 1) and batches.element_spec.dtype.name == "float32"
    assert source.batches(8).element_spec.shape == (8, 8, 8, 1)
    assert source.steps_per_epoch(8, 5) == 1618 // 40
    grouped = rows(numbered(24).batches(4, group=3), 2)
    assert grouped[0].shape == (4, 3) and len(np.unique(grouped)) == 24
    resized = data.load("digits", image_size=(6, 4), channels=3)
    assert resized.batches(8, group=2).element_spec.shape == (8, 2, 6, 4, 3)


def test_bytes_become_minus_one_to_one_exactly():
    images = np.arange(256, dtype="uint8").reshape(4, 8, 8)
    got = Source("ramp", images).examples()
    assert got.shape == (4, 8, 8, 1) and got.dtype == np.float32
    assert got.min() == -1 and got.max() == 1
    np.testing.assert_array_equal(np.round((got[..., 0] + 1) * 127.5), images)


def test_resizing_keeps_the_mean_and_cuts_to_the_aspect_ratio():
    stripes = np.zeros((2, 8, 8), "uint8")
    stripes[:, :, ::2] = 255
    halved = Source("stripes", stripes, image_size=(4, 4)).examples()
    np.testing.assert_allclose(halved[:, 1:3, 1:3], 0, atol=0.01)
    sides = np.zeros((1, 4, 8, 3), "uint8")
    sides[:, :, 2:6] = 200  # the centre square; what is black lies outside it
    square = Source("sides", sides, image_size=4, channels=1).examples()
    np.testing.assert_allclose(square, 200 / 127.5 - 1, atol=1e-3)


def test_examples_are_a_fixed_sample_without_replacement_and_labels_follow():
    points = np.stack([np.arange(600.0), np.zeros(600)], 1)
    source = Source("numbered", points, labels=np.arange(600) % 7)
    np.testing.assert_array_equal(source.examples(), points)
    sample, labels = source.labelled(100, seed=4)
    assert len(np.unique(sample[:, 0])) == 100
    np.testing.assert_array_equal(labels, sample[:, 0].astype(int) % 7)
    np.testing.assert_array_equal(sample, source.examples(100, seed=4))
    assert not np.array_equal(sample, source.examples(100, seed=5))
    np.testing.assert_array_equal(source.labelled()[1], source.labels)
    assert source.num_classes == 7


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda s: s.batches(24),
            r"needs 24 examples, and 'numbered' has 23\. Use a batch size of at most 23",
        ),
        (lambda s: s.batches(8, group=3), r"8 elements with 3 examples each needs 24 .* at most 7"),
        (lambda s: s.batches(0), "`batch_size` must be a whole number of at least 1"),
        (lambda s: s.batches(4, group=0), "`group` must be a whole number of at least 1"),
        (lambda s: s.batches(4, first_epoch=-1), "`first_epoch` must be a whole number from 0"),
        (lambda s: s.batches(4, seed=0.5), "`seed` must be a whole number"),
        (lambda s: s.examples(24), "at most as many examples as 'numbered': 23. Received: n=24"),
        (lambda s: s.examples(3, seed=-1), "`seed` must be a whole number from 0"),
        (lambda s: s.labelled(), "'numbered' has no labels"),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call(numbered(23))


@pytest.mark.parametrize(
    ("examples", "options", "message"),
    [
        (np.array([[0.0, np.nan], [np.inf, 1.0]]), {}, "hold 2 values that are NaN or infinite, of 4"),
        (np.zeros((0, 2)), {}, r"must fill an array .* Received: \(0, 2\)"),
        (np.zeros((3, 4), "int32"), {}, "must be uint8 images or floats. Received: dtype int32"),
        (np.zeros((3, 4, 4, 2), "uint8"), {}, r"1 or 3 channels. Received: \(3, 4, 4, 2\)"),
        (np.full((3, 4, 4), 17, "uint8"), {"white": 16}, "at most 16. Received: 17"),
        (np.linspace(0, 1, 32).reshape(2, 4, 4, 1), {}, r"must lie in \[-1, 1\] .*min=0, max=1"),
        (
            np.zeros((3, 2)),
            {"labels": [0, 1]},
            r"one whole number per example: \(3,\). Received: shape \(2,\)",
        ),
        (np.zeros((3, 4, 4), "uint8"), {"white": 0}, "`white` must be a whole number from 1 to 255. Received: 0"),
        (np.zeros((5, 3, 8, 8)), {}, r"1 or 3\). Received: \(5, 3, 8, 8\). Move the channels to the last axis"),
        (np.zeros((5, 8, 8)), {}, r"Received: \(5, 8, 8\). Add the axis: `images\[..., None\]`"),
        (np.zeros((3, 4, 4), "uint8"), {"image_size": (16,)}, r"`image_size` must be .* Received: \(16,\)"),
        (np.zeros((3, 4, 4), "uint8"), {"channels": True}, r"`channels` must be 1 \(grey\).* Received: True"),
        ([[1.0, 2.0], [3.0]], {}, "must fill an array .* Received: rows of unequal shapes. Bring all to one shape"),
        ("faces", {}, r"Received: str, such as faces. .* use `zoo.data.load\('path'\)`"),
        ([Path("a.png"), Path("b.png")], {}, r"of numbers. Received: list, such as .* use `zoo.data.load\('path'\)`"),
        (np.zeros((3, 2)), {"labels": [0, 1, 4], "num_classes": 3}, "must be 0 to 2. Received: 0 to 4"),
    ],
)
def test_wrong_arrays(examples, options, message):
    with pytest.raises(ValueError, match=message):
        Source("mine", examples, **options)


def test_a_source_is_not_gone_through_itself():
    with pytest.raises(TypeError, match=r"Use `source.batches\(64\)` .* the number of examples is `source.size`"):
        list(numbered())
