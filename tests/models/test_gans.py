"""What GAN, WGAN and WGAN-GP do not share: schedules, clipping, the papers' settings."""

import keras
import numpy as np
import pytest

from tests.helpers.seeds import seed
from zoo import GAN, WGAN, WGANGP, dcgan_discriminator, dcgan_generator, mlp_critic, mlp_generator


def networks(width=8):
    return mlp_generator((2,), hidden=(width,)), mlp_critic((2,), hidden=(width,))


def points(count=32):
    return np.random.default_rng(0).normal(size=(count, 2)).astype("float32")


@pytest.mark.parametrize("model_class, updates", [(GAN, 1), (WGAN, 2), (WGANGP, 2)])
def test_updates_per_step(model_class, updates):
    model = model_class(*networks(), **({} if model_class is GAN else {"critic_steps": updates}))
    model.compile()
    model.fit(points(), batch_size=8, verbose=0)
    judge, generator = (getattr(model, name) for name in model.optimizer_networks)
    assert int(model.step) == int(generator.iterations) == 4
    assert int(judge.iterations) == 4 * updates


def test_compile_without_arguments_takes_the_papers_settings():
    """DCGAN section 4; WGAN algorithm 1; WGAN-GP algorithm 1."""
    gan, wgan, wgan_gp = GAN(*networks()), WGAN(*networks()), WGANGP(*networks())
    for model in (gan, wgan, wgan_gp):
        model.compile()
    for optimizer in (gan.discriminator_optimizer, gan.generator_optimizer):
        assert isinstance(optimizer, keras.optimizers.Adam)
        np.testing.assert_allclose([optimizer.learning_rate, optimizer.beta_1], [2e-4, 0.5])
    for optimizer in (wgan.critic_optimizer, wgan.generator_optimizer):
        assert isinstance(optimizer, keras.optimizers.RMSprop)
        np.testing.assert_allclose(optimizer.learning_rate, 5e-5)
    assert (wgan.clip, wgan.critic_steps) == (0.01, 5)
    for optimizer in (wgan_gp.critic_optimizer, wgan_gp.generator_optimizer):
        np.testing.assert_allclose([optimizer.learning_rate, optimizer.beta_1, optimizer.beta_2], [1e-4, 0, 0.9])
    assert (wgan_gp.gradient_penalty_weight, wgan_gp.critic_steps) == (10, 5)
    # No optimizer beside them, as Keras would make one.
    for model in (gan, wgan, wgan_gp):
        assert [one.optimizer for one in model.optimizer.optimizers] == model.optimizers


def test_weights_of_the_critic_are_clipped_and_those_of_the_generator_are_not():
    model = WGAN(*networks(), critic_steps=1)
    model.compile()
    model.fit(points(), batch_size=8, verbose=0)
    assert max(np.abs(weight).max() for weight in model.critic.get_weights()) == pytest.approx(0.01)
    assert max(np.abs(weight).max() for weight in model.generator.get_weights()) > 0.1


@pytest.mark.exhaustive
def test_groups_give_each_critic_update_its_own_examples():
    """With lr 0 nothing moves, so critic_loss is that of the last update alone: rows of the last group."""
    groups = np.random.default_rng(1).normal(size=(8, 3, 2)).astype("float32")
    losses = []
    for examples in (groups, groups[:, 2]):
        seed()
        model = WGANGP(*networks(), critic_steps=3)
        model.compile(keras.optimizers.SGD(0.0), keras.optimizers.SGD(0.0))
        losses.append(model.fit(examples, batch_size=8, verbose=0).history["critic_loss"][0])
    assert losses[0] == losses[1]
    with pytest.raises(ValueError, match="one entry for each of the 2 updates"):
        model = WGANGP(*networks(), critic_steps=2)
        model.compile()
        model.fit(groups, batch_size=8, verbose=0)


def test_long_critic_phases_follow_the_authors_code():
    """github.com/martinarjovsky/WassersteinGAN: 100 critic updates if gen_iterations < 25 or % 500 == 0, else 5."""
    model = WGAN(*networks(), long_critic_phases=True)
    model.compile()
    expected, critic_updates = {}, 0
    for generator_update in range(1003):
        critic_updates += 100 if generator_update < 25 or generator_update % 500 == 0 else 5
        expected[critic_updates // 5] = generator_update + 1
    generator_updates = 0
    for step in range(max(expected)):
        model.step.assign(step)
        model.generator_optimizer.iterations.assign(generator_updates)
        generator_updates += model.generator_is_due()
        if step + 1 in expected:
            assert generator_updates == expected[step + 1], step
    assert generator_updates == 1003


def test_long_critic_phases_train_only_the_critic_until_the_generator_is_due():
    """A hundred critic updates, two in each step."""
    model = WGAN(*networks(), long_critic_phases=True, critic_steps=2)
    model.compile()
    before = model.generator.get_weights()
    model.fit(points(49 * 8), batch_size=8, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.generator.get_weights(), strict=True))
    model.fit(points(8), batch_size=8, verbose=0)
    assert int(model.critic_optimizer.iterations) == 100 and int(model.generator_optimizer.iterations) == 1
    with pytest.raises(ValueError, match="steps_per_execution=1"):
        model.compile(steps_per_execution=2)


def test_moving_average_follows_the_warmed_up_rule():
    """After step t the average is d * old + (1 - d) * new with d = min(decay, (1 + t) / (10 + t))."""
    model = GAN(*networks(), generator_ema=0.15)
    model.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1))
    expected = model.generator.get_weights()
    for step in range(3):
        model.fit(points(8), batch_size=8, verbose=0)
        decay = min(0.15, (1 + step) / (10 + step))
        expected = [
            decay * old + (1 - decay) * new for old, new in zip(expected, model.generator.get_weights(), strict=True)
        ]
    for average, value in zip(model.sampler.get_weights(), expected, strict=True):
        np.testing.assert_allclose(average, value, atol=1e-6)
    latents = np.ones((1, 2), "float32")
    np.testing.assert_array_equal(model(latents), model.sampler(latents))
    assert np.abs(model(latents) - model.generator(latents)).max() > 0


def test_batch_statistics_reach_the_average():
    shape = (8, 8, 1)
    model = GAN(dcgan_generator(shape, 3, 2), dcgan_discriminator(shape, 2), generator_ema=0.9)
    model.compile()
    model.fit(np.zeros((8, *shape), "float32"), batch_size=4, verbose=0)
    pairs = list(zip(model.sampler.variables, model.generator.variables, strict=True))
    statistics = [(average, value) for average, value in pairs if "moving" in value.name]
    assert len(statistics) == 2
    for average, value in statistics:
        np.testing.assert_array_equal(average, value)


def test_batch_norm_in_a_critic_under_a_gradient_penalty_is_refused_also_when_nested():
    shape = (16, 16, 1)
    inner = dcgan_discriminator(shape, 2)
    nested = keras.Sequential([keras.Input(shape), inner])
    for critic in (inner, nested):
        with pytest.raises(ValueError, match="no batch normalisation"):
            WGANGP(dcgan_generator(shape, 3, 2), critic)
