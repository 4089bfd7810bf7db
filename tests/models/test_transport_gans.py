"""SinkhornGAN and OTGAN: their losses against other mathematics, their schedules, the papers' settings."""

import keras
import numpy as np
import ot as pot
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import norm

from zoo import OTGAN, SinkhornGAN, mlp_critic, mlp_generator
from zoo.training import GlobalBatch


def points(count=16, seed=0):
    """Batches of 16 are what most tests here take: XLA compiles the transport of each size once."""
    return np.random.default_rng(seed).normal(size=(count, 2)).astype("float32")


def sinkhorn_gan(**options):
    critic = mlp_critic((2,), hidden=(8,), num_features=4) if options.pop("learned", False) else None
    return SinkhornGAN(mlp_generator((2,), hidden=(8,)), critic, **options)


def ot_gan(**options):
    return OTGAN(mlp_generator((2,), hidden=(8,)), mlp_critic((2,), hidden=(8,), num_features=4), **options)


def normalised():
    return keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization(), keras.layers.Dense(4)])


def one_step(model, examples):
    """Logs of a step that moves nothing, and what was generated in it."""
    model.compile(*[keras.optimizers.SGD(0.0) for _ in model.optimizer_networks])
    logs = model.fit(examples, batch_size=len(examples), shuffle=False, verbose=0).history
    fake = [
        model.generator(GlobalBatch(len(examples), 0, 0).normal(stream, (2,)), training=True).numpy()
        for stream in ("critic", "generator")
    ]
    return {name: values[0] for name, values in logs.items()}, *fake


@pytest.mark.exhaustive
def test_a_small_epsilon_gives_the_cost_of_optimal_transport():
    """The oracle is POT's exact program; the transport of a set onto itself costs nothing."""
    examples = points()
    logs, _, fake = one_step(sinkhorn_gan(epsilon=1e-3, max_iterations=5000), examples)
    expected = pot.emd2([], [], cdist(examples, fake, "sqeuclidean"))
    np.testing.assert_allclose(logs["generator_loss"], expected, rtol=2e-2)


@pytest.mark.parametrize("cost", [pytest.param("squared_euclidean", marks=pytest.mark.exhaustive), "euclidean"])
def test_a_large_epsilon_gives_half_the_squared_maximum_mean_discrepancy(cost):
    """Of the kernel -C: mean C(x, y) - mean C(x, x') / 2 - mean C(y, y') / 2; for squares |mean x - mean y|^2."""
    examples = points()
    logs, _, fake = one_step(sinkhorn_gan(epsilon=1e4, cost=cost), examples)
    metric = {"squared_euclidean": "sqeuclidean"}.get(cost, cost)
    across, *within = (cdist(x, y, metric).mean() for x, y in ((examples, fake), (examples, examples), (fake, fake)))
    expected = across - sum(within) / 2
    np.testing.assert_allclose(logs["generator_loss"], expected, rtol=5e-3, atol=2e-3)
    if cost == "squared_euclidean":
        np.testing.assert_allclose(expected, np.sum((examples.mean(0) - fake.mean(0)) ** 2), rtol=1e-5)


@pytest.mark.parametrize(
    ("debiased", "variance"), [pytest.param(True, 1.0, marks=pytest.mark.exhaustive), (False, 0.5)]
)
def test_transport_alone_shrinks_what_is_generated(debiased, variance):
    """Of all Gaussians N(0, s^2) nearest to N(0, 1): s^2 = 1 for the divergence, 1 - epsilon / 2 for its first term.

    The latter is N(0, 1) without the noise N(0, epsilon / 2) (Rigollet and Weed 2018, entropic optimal transport is
    maximum-likelihood deconvolution). With 256 latents a step, s^2 ended at 0.985 and 0.490.
    """
    generator = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    generator.set_weights([np.full((1, 1), 0.85, "float32")])
    model = SinkhornGAN(generator, epsilon=1.0, debiased=debiased)
    model.compile(keras.optimizers.SGD(0.2))
    quantiles = norm.ppf((np.arange(256) + 0.5) / 256)[:, None].astype("float32")
    model.fit(quantiles, batch_size=256, epochs=20, verbose=0)
    np.testing.assert_allclose(generator.get_weights()[0] ** 2, variance, atol=0.08)


@pytest.mark.exhaustive
def test_a_learned_cost_is_raised_by_the_critic_and_lowered_by_the_generator():
    """Both see the divergence of the same features, here by POT in float64."""
    model = sinkhorn_gan(learned=True, epsilon=1.0)
    examples = points()
    logs, of_critic, of_generator = one_step(model, examples)

    def divergence(fake):
        x, y = (model.critic(points).numpy().astype("float64") for points in (examples, fake))

        def cost(x, y):
            C = cdist(x, y, "sqeuclidean")
            plan = pot.sinkhorn(np.full(16, 1 / 16), np.full(16, 1 / 16), C, 1.0, "sinkhorn_log", 20000, 1e-6)
            return np.sum(plan * C) + np.sum(plan * np.log(plan * 256))

        return cost(x, y) - cost(x, x) / 2 - cost(y, y) / 2

    np.testing.assert_allclose(logs["critic_loss"], -divergence(of_critic), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(logs["generator_loss"], divergence(of_generator), rtol=1e-3, atol=1e-5)
    assert logs["gradient_penalty"] > 0


@pytest.mark.parametrize("count", [pytest.param(16, marks=pytest.mark.exhaustive), 17])
def test_the_energy_distance_is_that_of_two_halves(count):
    """Salimans et al. 2018, equation 7, with plans by POT in float64; of 17 examples the ninth is left out."""
    model = ot_gan(epsilon=0.5, generator_steps=1)
    examples = points(count)
    logs, of_critic, _ = one_step(model, examples)

    def cost(x, y):
        C = cdist(x, y, "cosine")
        return np.sum(C * pot.sinkhorn(np.full(8, 1 / 8), np.full(8, 1 / 8), C, 0.5, "sinkhorn_log", 20000, 1e-9))

    x, y = (model.critic(points).numpy().astype("float64") for points in (examples, of_critic))
    x, other_x, y, other_y = x[:8], x[-8:], y[:8], y[-8:]
    expected = sum(cost(a, b) for a in (x, other_x) for b in (y, other_y)) - 2 * cost(x, other_x) - 2 * cost(y, other_y)
    np.testing.assert_allclose(logs["critic_loss"], -expected, rtol=1e-3, atol=1e-4)


@pytest.mark.exhaustive
def test_a_lone_example_at_the_end_of_an_epoch_is_both_halves():
    model = ot_gan(generator_steps=1)
    model.compile()
    assert np.isfinite(model.fit(points(3), batch_size=2, verbose=0).history["generator_loss"])
    assert model.steps_taken == 2 and all(np.isfinite(weight).all() for weight in model.get_weights())


@pytest.mark.exhaustive
def test_updates_per_step():
    """SinkhornGAN: critic_steps and one; OTGAN: one and generator_steps."""
    for model, critic, generator in (
        (sinkhorn_gan(), None, 4),
        (sinkhorn_gan(learned=True, critic_steps=2), 8, 4),
        (ot_gan(generator_steps=2), 4, 8),
    ):
        model.compile()
        model.fit(points(64), batch_size=16, verbose=0)
        case = f"{type(model).__name__} of terms {model.terms}"
        assert model.steps_taken == 4 and int(model.generator_optimizer.iterations) == generator, case
        assert critic is None or int(model.critic_optimizer.iterations) == critic, case


@pytest.mark.exhaustive
def test_groups_give_each_update_its_own_examples():
    """With lr 0 the losses are those of the first group for the critic and of the last for the generator."""
    groups = np.random.default_rng(1).normal(size=(16, 3, 2)).astype("float32")
    model = ot_gan(generator_steps=2)
    together, *_ = one_step(model, groups)

    for name, group in (("critic_loss", 0), ("generator_loss", 2)):
        model.step.assign(0)
        assert one_step(model, groups[:, group])[0][name] == pytest.approx(together[name], abs=1e-6), name


def test_compile_without_arguments_takes_the_papers_settings():
    """Authors' code of Genevay et al.: Adam for MNIST, RMSprop 5e-5 against a critic. Salimans et al. section 5."""
    fixed, learned, ot = sinkhorn_gan(), sinkhorn_gan(learned=True), ot_gan()
    for model in (fixed, learned, ot):
        model.compile()
    assert isinstance(fixed.generator_optimizer, keras.optimizers.Adam) and len(fixed.optimizers) == 1
    for optimizer in learned.optimizers:
        assert isinstance(optimizer, keras.optimizers.RMSprop)
        np.testing.assert_allclose(optimizer.learning_rate, 5e-5)
    for optimizer in ot.optimizers:
        np.testing.assert_allclose([optimizer.learning_rate, optimizer.beta_1, optimizer.beta_2], [3e-4, 0.5, 0.999])
    assert (1 / ot.epsilon, ot.max_iterations, ot.generator_steps, ot.generator_ema) == (500, 500, 3, 0.999)


@pytest.mark.exhaustive
def test_weights_of_the_critic_are_clipped_in_place_of_the_penalty():
    model = sinkhorn_gan(learned=True, clip=0.01)
    model.compile()
    logs = model.fit(points(32), batch_size=16, verbose=0).history
    assert max(np.abs(weight).max() for weight in model.critic.get_weights()) == pytest.approx(0.01)
    assert set(logs) == {*model.terms, "marginal_error"} == {"critic_loss", "generator_loss", "marginal_error"}


@pytest.mark.exhaustive
def test_a_model_without_a_critic_goes_on_from_its_file_on_any_number_of_replicas(tmp_path, two_replicas):
    """The table of tests/conformance has the model with a critic and all three problems of the divergence; rows are
    split four and three here too."""
    model = sinkhorn_gan(epsilon=0.1, generator_ema=0.9, debiased=False)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.5), jit_compile=True)
    model.fit(points(7), verbose=0)
    model.save(tmp_path / "model.keras")
    with two_replicas.scope():
        loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    assert loaded.critic is None and loaded.compiled and loaded.terms == ("generator_loss",)
    for one in (model, loaded):
        one.fit(points(7), batch_size=7, shuffle=False, verbose=0)
    for one, other in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.exhaustive
def test_unrolled_gradients_agree_with_the_envelope_where_iterations_have_converged():
    examples, ends = points(), []
    start = None
    for gradient in ("envelope", "unrolled"):
        model = sinkhorn_gan(epsilon=1.0, max_iterations=60, gradient=gradient)
        start = start or model.get_weights()
        model.set_weights(start)
        model.compile(keras.optimizers.SGD(0.05))
        model.fit(examples, batch_size=16, verbose=0)
        ends.append(np.concatenate([weight.ravel() for weight in model.generator.get_weights()]))
    np.testing.assert_allclose(*ends, atol=1e-4)
    assert np.abs(ends[0] - np.concatenate([w.ravel() for w in start[1:][: len(model.generator.weights)]])).max() > 1e-3


def test_features_that_are_not_finite_stop_training_with_a_message():
    model = ot_gan(generator_steps=1)
    model.compile()
    model.critic.set_weights([np.full_like(weight, np.nan) for weight in model.critic.get_weights()])
    every = "Training stopped: critic_loss = nan, generator_loss = nan, marginal_error = nan at step 1"
    with pytest.raises(FloatingPointError, match=every):
        model.fit(points(), batch_size=16, verbose=0)


def test_an_epsilon_below_what_float32_holds_ends_with_what_to_do():
    model = sinkhorn_gan(epsilon=1e-7)
    model.compile()
    with pytest.raises(FloatingPointError, match="generator_loss = nan.* at step 1 of the epoch.*Raise `epsilon`"):
        model.fit(points(), batch_size=16, verbose=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ot_gan(epsilon=0), "`epsilon` must be a finite number above 0"),
        (lambda: ot_gan(generator_steps=0), "`generator_steps` must be a whole number"),
        (lambda: sinkhorn_gan(cost="l2"), "`cost` must be one of"),
        (lambda: sinkhorn_gan(learned=True, clip=-1.0), "`clip` must be"),
        (lambda: sinkhorn_gan(gradient="none"), "`gradient` must be one of"),
        (
            lambda: OTGAN(mlp_generator((2,), hidden=(8,)), mlp_critic((2,), hidden=(8,))),
            r"must end in features.*Received: output shape \(None, 1\). Pass `num_features=64`",
        ),
        (lambda: OTGAN(mlp_generator((2,), hidden=(8,)), normalised(), gradient_penalty_weight=1.0), "no batch norm"),
        (lambda: SinkhornGAN(mlp_generator((2,), hidden=(8,)), normalised()), "no batch normalisation"),
        (
            lambda: SinkhornGAN(mlp_generator((2,), hidden=(8,)), mlp_critic((3,), hidden=(8,), num_features=2)),
            "The generator's output must be the critic's input",
        ),
    ],
)
def test_mistakes(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_batch_that_has_no_halves_is_refused():
    model = ot_gan(generator_steps=1)
    model.compile()
    with pytest.raises(ValueError, match="Expected at least 2 of them. Received: 1. Raise the batch size"):
        model.fit(points(4), batch_size=1, verbose=0)


def test_a_fixed_cost_is_the_one_objective():
    """Without a critic there is one player, so that Keras's defaults know what to watch."""
    model = sinkhorn_gan(debiased=False)
    model.compile()
    logs = model.fit(points(), verbose=0).history
    assert logs["loss"] == logs["generator_loss"]
