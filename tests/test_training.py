"""Random draws, minimisation and checks that all models share."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.helpers.rows import ROWS
from zoo import GAN, WGAN, dcgan_discriminator, dcgan_generator, mlp_critic, mlp_generator, random
from zoo.training import GlobalBatch, ImagePool, minimize, update_each


def one_weight():
    """The least network that `minimize` can move, and its only weight, 1."""
    weight = keras.Variable(1.0)
    return SimpleNamespace(trainable_variables=[weight]), weight


def test_numbers_are_standard_and_the_same_under_xla():
    """Moments of 200,000 numbers: standard errors are 0.0022 for the mean and 0.0016 for the deviation.

    The bits are equal; erfinv differs by rounding, most in the tails: 2e-5 was seen at 3.8.
    """
    seed = tf.Variable([3, 4])
    plain = tf.function(lambda key: random.normal((400, 500), key))(seed)
    compiled = tf.function(lambda key: random.normal((400, 500), key), jit_compile=True)(seed)
    np.testing.assert_allclose(plain, compiled, atol=5e-5)
    assert abs(np.mean(plain)) < 0.01 and abs(np.std(plain) - 1) < 0.01 and np.isfinite(plain).all()
    uniform = random.uniform((400, 500), seed).numpy()
    assert 0 < uniform.min() and uniform.max() < 1 and abs(uniform.mean() - 0.5) < 0.005


def test_draws_differ_by_stream_update_step_and_seed_and_repeat():
    def draw(seed=0, step=0, stream="a", update=0):
        return GlobalBatch(3, seed, step).normal(stream, (2,), update).numpy()

    np.testing.assert_array_equal(draw(), draw())
    for other in (draw(seed=1), draw(step=1), draw(stream="b"), draw(update=1)):
        assert np.abs(draw() - other).min() > 0


def test_replicas_hold_the_rows_of_one_draw(two_replicas):
    """Seven rows, split four and three."""
    whole = GlobalBatch(7, 5, 2).normal("latents", (3,)).numpy()

    @tf.function(autograph=False)
    def draw():
        rows = 4 - tf.distribute.get_replica_context().replica_id_in_sync_group
        batch = GlobalBatch(rows, 5, 2)
        return batch.normal("latents", (3,)), batch.mean(tf.ones(rows))

    parts, means = (two_replicas.experimental_local_results(result) for result in two_replicas.run(draw))
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_allclose(means, [4 / 7, 3 / 7], rtol=1e-6)


def test_minimize_takes_one_step_of_gradient_descent():
    """The mean of w * x over x = 1, 2, 3 has the gradient 2; SGD with 0.1 moves w from 1 to 0.8."""
    network, weight = one_weight()
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build([weight])
    terms = minimize(
        lambda x: {"loss": weight * x}, (tf.constant([1.0, 2, 3]),), network, optimizer, GlobalBatch(3, 0, 0)
    )
    np.testing.assert_allclose(weight, 0.8, rtol=1e-6)
    np.testing.assert_array_equal(terms["loss"], 2)


def test_minimize_refuses_terms_that_do_not_depend_on_the_variables():
    network, weight = one_weight()
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build([weight])
    with pytest.raises(ValueError, match=r"None of the terms \['loss'\] depends on the 1 variables"):
        minimize(lambda: {"loss": tf.ones(3)}, (), network, optimizer, GlobalBatch(3, 0, 0))


def test_update_each_reads_its_sources():
    target, source = keras.Variable([1.0, 2.0]), keras.Variable([10.0, 20.0])
    update_each(lambda old, new: old + new, [target], [source])
    np.testing.assert_array_equal(target, [11, 22])


def one_update(strategy, optimizer, values):
    """A weight of 1 after one step on the mean of weight * x, and the optimizer; replica r gets the rows values[r]."""
    with strategy.scope():
        network, weight = one_weight()
        optimizer = optimizer()
        optimizer.build([weight])

    @tf.function(autograph=False)
    def step():
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        rows = tf.gather(tf.constant(values), replica)
        batch = GlobalBatch(rows.shape[0], 0, 0)
        minimize(lambda x: {"loss": weight.value * x}, (rows,), network, optimizer, batch)

    strategy.run(step) if isinstance(strategy, tf.distribute.MirroredStrategy) else step()
    return float(weight.numpy()), optimizer


@pytest.mark.parametrize("options", [{"clipnorm": 0.5}, {"global_clipnorm": 0.5}, {"clipvalue": 0.5}])
def test_gradients_are_clipped_after_they_are_summed(options, two_replicas):
    """Gradients 0.4 and 2 of the two halves: clipped before the sum they would give 0.4 + 0.5."""
    weight, _ = one_update(two_replicas, lambda: keras.optimizers.SGD(1.0, **options), [[0.8, 0.8], [4.0, 4.0]])
    np.testing.assert_allclose(weight, 0.5, rtol=1e-6)


@pytest.mark.parametrize("options", [{}, {"global_clipnorm": 0.5}])
def test_an_overflow_on_the_second_replica_stops_the_update_on_both(options, two_replicas):
    def scaled():
        return keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0, **options), initial_scale=8.0)

    weight, optimizer = one_update(two_replicas, scaled, [[1.0, 1.0], [1.0, np.inf]])
    assert weight == 1 and optimizer.dynamic_scale.numpy() == 4
    weight, optimizer = one_update(two_replicas, scaled, [[0.1, 0.2], [0.3, 0.4]])
    np.testing.assert_allclose(weight, 0.75, rtol=1e-6)
    assert optimizer.dynamic_scale.numpy() == 8


@pytest.mark.parametrize("num_parts", [1, 3, 7])
@pytest.mark.parametrize("compiled", [False, True])
def test_what_is_kept_comes_back_whole_and_from_before_the_update(num_parts, compiled):
    """Rows w * x of seven in parts, with w = 1, although the update moves w."""
    network, weight = one_weight()
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build([weight])

    @tf.function(jit_compile=compiled, autograph=False)
    def step(rows):
        batch = GlobalBatch(rows.shape[0], 0, 0, micro_batches=num_parts)
        return minimize(
            lambda x: {"loss": weight.value * x, "made": (weight.value * x)[:, None]},
            (rows,),
            network,
            optimizer,
            batch,
            keep=("made",),
        )

    terms = step(tf.range(1.0, 8.0))
    assert set(terms) == {"loss", "made"}
    np.testing.assert_array_equal(terms["made"], np.arange(1.0, 8)[:, None])
    np.testing.assert_allclose(weight, 0.6, rtol=1e-6)


def pool_of(size):
    return ImagePool(size, (1, 1, 1))


def exchanged(pool, values, step):
    """What a pool gives for images of one pixel, and then holds."""
    images = np.reshape(np.float32(values), (-1, 1, 1, 1))
    given = pool.exchange(GlobalBatch(len(values), 0, step), tf.constant(images), "y")
    return given.numpy().ravel().tolist(), pool.images.numpy().ravel().tolist()


def test_a_pool_gives_back_what_it_keeps_until_it_is_full():
    pool = pool_of(5)
    assert exchanged(pool, [1, 2], 0) == ([1, 2], [1, 2, 0, 0, 0])
    assert exchanged(pool, [3, 4], 1) == ([3, 4], [1, 2, 3, 4, 0])
    # One place is left: the second image is neither kept nor changed for an empty one.
    assert exchanged(pool, [5, 6], 2) == ([5, 6], [1, 2, 3, 4, 5])
    assert int(pool.count) == 5


def test_a_full_pool_changes_places_at_even_odds_and_loses_nothing():
    """What goes in either comes back or stays, for what comes back instead; over 200 steps about half are changed."""
    pool = pool_of(4)
    _, held = exchanged(pool, [1, 2, 3, 4], 0)
    changed, places = 0, set()
    for step in range(1, 201):
        values = [10 * step + row for row in range(6)]
        given, now = exchanged(pool, values, step)
        assert sorted(given + now) == sorted(values + held)
        # Those beyond the size of the pool come back as they are.
        assert given[4:] == values[4:]
        changed += sum(one != other for one, other in zip(given, values, strict=True))
        places |= {place for place in range(4) if now[place] != held[place]}
        held = now
    assert 340 < changed < 460 and places == {0, 1, 2, 3}  # 800 fair coins: 4 standard deviations are 57


@pytest.mark.parametrize("num_parts", [2, 3, 5, 9])
@pytest.mark.parametrize("compiled", [False, True])
def test_micro_batches_add_up_to_the_gradient_of_all_rows(num_parts, compiled):
    """Seven rows in parts that do not divide them: the gradient of the mean of w * x over 1 to 7 is 4."""
    network, weight = one_weight()
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build([weight])

    @tf.function(jit_compile=compiled, autograph=False)
    def step(rows):
        batch = GlobalBatch(rows.shape[0] or tf.shape(rows)[0], 0, 0, micro_batches=num_parts)
        return minimize(lambda x: {"loss": weight.value * x}, (rows,), network, optimizer, batch)

    rows = tf.range(1.0, 8.0)
    np.testing.assert_allclose(step(rows)["loss"], 4, rtol=1e-6)
    np.testing.assert_allclose(weight, 0.6, rtol=1e-6)
    # And with a number of rows that is not known when the step is traced.
    step.get_concrete_function(tf.TensorSpec([None]))(rows)
    np.testing.assert_allclose(weight, 0.2, rtol=1e-5)


@pytest.mark.parametrize("num_parts", [1, 2, 3])
@pytest.mark.parametrize("compiled", [False, True])
def test_a_joint_term_has_the_gradient_of_all_rows_together(num_parts, compiled):
    """The squared mean of w x over x = 1 to 7, plus the mean of w x: value 16 + 4, gradient 2 * 16 + 4 at w = 1."""
    network, weight = one_weight()
    optimizer = keras.optimizers.SGD(0.01)
    optimizer.build([weight])
    joint = {"square": lambda x: tf.reduce_mean(x) ** 2}

    def step(rows):
        batch = GlobalBatch(rows.shape[0] or tf.shape(rows)[0], 0, 0, micro_batches=num_parts)
        terms = minimize(
            lambda x: {"square": (weight.value * x,), "mean": weight.value * x},
            (rows,),
            network,
            optimizer,
            batch,
            joint,
        )
        return terms["square"], terms["mean"]

    rows = tf.range(1.0, 8.0)
    np.testing.assert_allclose(tf.function(step, jit_compile=compiled, autograph=False)(rows), [16, 4], rtol=1e-6)
    np.testing.assert_allclose(weight, 0.64, rtol=1e-6)
    weight.assign(1.0)
    tf.function(step, input_signature=[tf.TensorSpec([None])], autograph=False)(rows)
    np.testing.assert_allclose(weight, 0.64, rtol=1e-6)


@pytest.mark.parametrize("options", [{}, {"micro_batches": 2}, {"compile_gradients": True}])
def test_a_joint_term_sees_the_rows_of_all_replicas_in_order(options, two_replicas):
    """Rows 1 to 4 and 5 to 7 of w x, times their places 0 to 6: value and gradient are the sum of k (k + 1)."""
    with two_replicas.scope():
        network, weight = one_weight()
        optimizer = keras.optimizers.SGD(0.01)
        optimizer.build([weight])
    joint = {"places": lambda x: tf.reduce_sum(x * tf.range(7.0))}

    @tf.function(autograph=False)
    def step():
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        rows = tf.range(1.0, 8.0)[4 * replica : 4 + 3 * replica]
        batch = GlobalBatch(tf.shape(rows)[0], 0, 0, **options)
        return minimize(lambda x: {"places": (weight.value * x,)}, (rows,), network, optimizer, batch, joint)

    values = two_replicas.experimental_local_results(two_replicas.run(step)["places"])
    np.testing.assert_allclose(values, [112, 112], rtol=1e-6)
    np.testing.assert_allclose(weight.numpy(), 1 - 1.12, rtol=1e-5)


def test_the_second_pass_of_a_joint_term_alone_moves_batch_statistics():
    """Compiled on its own, the features' pass comes before the distance's; each sees the mean 4, momentum is 0.9."""
    moved = []
    for compiled in (False, True):
        network = keras.Sequential([keras.Input((1,)), keras.layers.BatchNormalization(momentum=0.9)])
        optimizer = keras.optimizers.SGD(0.1)
        optimizer.build(network.trainable_variables)

        @tf.function(autograph=False)
        def step(rows, network=network, optimizer=optimizer, compiled=compiled):
            batch = GlobalBatch(7, 0, 0, compile_gradients=compiled)
            joint = {"square": lambda x: tf.reduce_mean((x + 1) ** 3)}
            minimize(lambda x: {"square": (network(x, training=True),)}, (rows,), network, optimizer, batch, joint)

        step(tf.range(1.0, 8.0)[:, None])
        moved.append(network.get_weights())
        np.testing.assert_allclose(network.layers[0].moving_mean, [0.4], rtol=1e-6)
    for one, other in zip(*moved, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    assert moved[0][0] != 1


@pytest.mark.exhaustive
def test_accumulation_repeats_to_the_bit():
    """Inlined into the step, the loop over micro-batches would race with the updates: about every third run differs."""
    points = np.random.default_rng(0).normal(size=(21, 2)).astype("float32")
    model = WGAN(mlp_generator((2,), hidden=(8, 8)), mlp_critic((2,), hidden=(8, 8)), critic_steps=2, clip=10.0)
    model.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1), gradient_accumulation_steps=2)
    start, ends = model.get_weights(), []
    for _ in range(12):
        model.set_weights(start)
        model.fit(points, batch_size=7, epochs=2, shuffle=False, verbose=0)
        ends.append(np.concatenate([weight.ravel() for weight in model.get_weights()]))
    assert np.ptp(ends, axis=0).max() == 0


def test_synchronised_batch_statistics_make_replicas_equal_and_refuse_to_be_compiled(two_replicas):
    """Batches of seven rows, split four and three; batch normalisation of each replica's own rows differs by 5e-4."""
    images = np.random.default_rng(0).uniform(-0.9, 0.9, (21, 8, 8, 1)).astype("float32")

    def train(strategy, **execution):
        with strategy.scope():
            networks = (
                make((8, 8, 1), filters=4, norm="sync_batch") for make in (dcgan_generator, dcgan_discriminator)
            )
            model = GAN(*networks)
            model.set_weights(start or model.get_weights())
            model.compile(keras.optimizers.SGD(0.05), keras.optimizers.SGD(0.05), **execution)
        before = model.get_weights()
        model.fit(images, batch_size=7, epochs=1, shuffle=False, verbose=0)
        return before, model.get_weights()

    start = None
    start, one = train(tf.distribute.get_strategy())
    _, two = train(two_replicas)
    assert max(np.abs(a - b).max() for a, b in zip(one, two, strict=True)) < 1e-6
    with pytest.raises(ValueError, match="meets the other replicas within each pass"):
        train(two_replicas, jit_compile=True)


def test_optimizers_that_accumulate_are_refused():
    model = GAN(mlp_generator((2,), hidden=(4,)), mlp_critic((2,), hidden=(4,)))
    with pytest.raises(ValueError, match="Give `gradient_accumulation_steps` to `compile` instead"):
        model.compile(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2))


@pytest.mark.filterwarnings("ignore:Your input ran out of data")  # Keras's, in the first epoch
@pytest.mark.parametrize("options", [{}, pytest.param({"steps_per_execution": 2}, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("replicas", [1, pytest.param(2, marks=pytest.mark.exhaustive)])
def test_where_data_of_unknown_length_end_no_step_is_counted(replicas, options, two_replicas):
    """Batches of a fixed size, so that a step would not need the data to know how many rows it has."""
    strategy = two_replicas if replicas == 2 else tf.distribute.get_strategy()
    with strategy.scope():
        model = ROWS["vae"].build()
        model.compile(**options)
    batches = tf.data.Dataset.from_tensor_slices(ROWS["vae"].examples(12)).batch(4, drop_remainder=True)
    model.fit(batches.filter(lambda batch: True), epochs=2, shuffle=False, verbose=0)
    assert model.steps_taken == int(tf.convert_to_tensor(model.optimizer.iterations.value)) == 6
