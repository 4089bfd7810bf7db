"""An epoch of data without end has an end: one pass, or the number that is given."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from zoo import VAE, Vocabulary, data, mlp_decoder, mlp_encoder
from zoo.training import distribute
from zoo.training.examples import with_steps

POINTS = np.random.default_rng(0).normal(size=(10, 2)).astype("float32")


def points():
    return data.Source("points", POINTS)


def in_files(folder):
    for name in range(5):
        Image.new("L", (8, 8), 40 * name).save(folder / f"{name}.png")
    return data.load(folder)


def texts():
    pairs = data.TextPairs("pairs", ["a b", "b", "a a a", "b a", "a"], ["b", "a b", "a", "b b", "a"])
    words = Vocabulary.learn(pairs.sources)
    return pairs.encoded(words, words)


SOURCES = {
    "points": lambda folder: points(),
    "files": in_files,
    "pair": lambda folder: data.Pair(*(data.load(f"digits/{digit}") for digit in (3, 8))),
    "texts": lambda folder: texts(),
    "objects": lambda folder: data.load_detection("scenes", split="test"),
    "pixels": lambda folder: data.load_segmentation("scenes", split="test"),
}


@pytest.mark.parametrize("replicas", [None, (0, 2, 2)])
@pytest.mark.parametrize("name", SOURCES)
def test_batches_know_that_they_have_no_end_and_how_long_a_pass_is(name, replicas, tmp_path):
    source = SOURCES[name](tmp_path)
    for step in (0, source.steps_per_epoch(2) - 1):
        batches = source.batches(2, replicas=replicas, first_step=step)
        assert batches.cardinality() == tf.data.INFINITE_CARDINALITY
        assert batches.steps_per_epoch == source.steps_per_epoch(2)


def model_of_points(strategy=None):
    with (strategy or tf.distribute.get_strategy()).scope():
        model = VAE(mlp_encoder((2,), 4, (4,)), mlp_decoder((2,), 2, (4,), scale="shared"), likelihood="normal")
        model.compile()
    return model


def test_fit_evaluate_and_predict_take_one_pass():
    """Ten points are two batches of four; what is left over is dropped, as `steps_per_epoch` says."""
    model, tested, batches = model_of_points(), [], points().batches(4)
    count = keras.callbacks.LambdaCallback(on_test_batch_end=lambda batch, logs: tested.append(batch))
    model.fit(batches, epochs=2, verbose=0, validation_data=points().batches(5), callbacks=[count])
    assert model.steps_taken == 4 and tested == [0, 1] * 2
    model.fit(batches, steps_per_epoch=3, verbose=0)
    assert model.steps_taken == 7
    in_order = points().batches(5, shuffle=False)
    whole = model.evaluate(POINTS, batch_size=5, verbose=0, return_dict=True)
    once = model.evaluate(in_order, verbose=0, return_dict=True)
    assert once["loss"] == pytest.approx(whole["loss"], rel=1e-5)
    # A list has the terms, in order, as before there was a sum of them.
    assert model.evaluate(POINTS, batch_size=5, verbose=0) == pytest.approx(
        [whole[term] for term in model.terms], rel=0.5
    )
    np.testing.assert_allclose(model.predict(in_order, verbose=0), model.predict(POINTS, verbose=0), atol=1e-6)
    assert len(model.predict(in_order, steps=1, verbose=0)) == 5


@pytest.mark.parametrize("make", ["zoo", "keras"])
def test_one_pass_is_one_pass_on_replicas(make, two_replicas):
    model = model_of_points(two_replicas)
    batches = distribute(two_replicas, lambda **options: points().batches(4, **options))
    model.fit(batches if make == "zoo" else points().batches(4), epochs=2, verbose=0)
    assert model.steps_taken == 4


ENDLESS = {
    "mapped": lambda strategy: points().batches(4).map(lambda batch: batch),
    "repeated": lambda strategy: tf.data.Dataset.from_tensor_slices(POINTS).batch(5).repeat(),
    "generator": lambda strategy: ((POINTS,) for _ in itertools.count()),
    "distributed": lambda strategy: strategy.experimental_distribute_dataset(points().batches(4)),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_what_has_no_end_is_refused_with_the_number_that_is_missing(kind, two_replicas):
    model = model_of_points(two_replicas if kind == "distributed" else None)
    batches = ENDLESS[kind](two_replicas)
    message = r"`{}` does not say where an epoch of it ends. Expected `{}`, .*`source.steps_per_epoch\(64\)`"
    with pytest.raises(ValueError, match=message.format("x", "steps_per_epoch")):
        model.fit(batches, epochs=2, verbose=0)
    with pytest.raises(ValueError, match=message.format("validation_data", "validation_steps")):
        model.fit(POINTS, epochs=2, verbose=0, validation_data=batches)
    if kind != "generator":
        # Keras goes through a generator once, to its end.
        for ask in (model.evaluate, model.predict):
            with pytest.raises(ValueError, match=message.format("x", "steps")):
                ask(batches, verbose=0)
    assert model.steps_taken == 0
    model.fit(batches, steps_per_epoch=1, epochs=2, verbose=0)
    assert model.steps_taken == 2


def test_what_ends_is_left_alone():
    """Arrays, data sets with an end, and those that end where nothing says so, as a filter's."""
    finite = tf.data.Dataset.from_tensor_slices(POINTS).batch(5)
    for batches in (POINTS, finite, points().batches(4).take(3), finite.filter(lambda batch: True)):
        assert with_steps({"x": batches}, {"x": "steps_per_epoch"}) == {"x": batches}
