"""WGAN-GP on images or points.

python -m recipes.wgan_gp --data digits
python -m recipes.wgan_gp --data fashion_mnist --epochs 20
python -m recipes.wgan_gp --data grid --epochs 30 --steps-per-epoch 1000
"""

from dataclasses import dataclass

from zoo import runs


@dataclass(frozen=True, kw_only=True)
class Config(runs.RunConfig):
    """Options of the WGAN-GP recipe."""

    latent_dim: int = 128
    """Length of a latent; two-dimensional sets use 2."""
    filters: int = 64
    """Channels of the convolutions nearest to the image."""
    hidden: tuple[int, ...] = (128, 128, 128)
    """Widths of the hidden layers for two-dimensional sets."""
    learning_rate: float = 1e-4
    """Step size of Adam, in both networks (paper: 1e-4)."""
    critic_steps: int = 5
    """Critic updates per generator update (paper: 5)."""
    gradient_penalty_weight: float | None = None
    """Lambda; None for the paper's 10 for images and its toy code's 0.1 for points."""
    generator_ema: float | None = 0.999
    """Decay of the moving average that is sampled and exported; None for none."""


def build(config, example_shape):
    """The compiled model."""
    import keras

    from zoo import WGANGP, dcgan_critic, dcgan_generator, mlp_critic, mlp_generator

    if len(example_shape) == 3:
        generator = dcgan_generator(example_shape, config.latent_dim, config.filters, norm="layer")
        critic = dcgan_critic(example_shape, config.filters)
        weight, betas = 10.0, (0.0, 0.9)
    else:
        generator = mlp_generator(example_shape, hidden=config.hidden)
        critic = mlp_critic(example_shape, hidden=config.hidden)
        weight, betas = 0.1, (0.5, 0.9)
    if config.gradient_penalty_weight is not None:
        weight = config.gradient_penalty_weight
    model = WGANGP(
        generator,
        critic,
        critic_steps=config.critic_steps,
        gradient_penalty_weight=weight,
        generator_ema=config.generator_ema,
        seed=config.seed,
    )
    adam = [keras.optimizers.Adam(config.learning_rate, beta_1=betas[0], beta_2=betas[1]) for _ in range(2)]
    model.compile(*adam, **runs.execution(config))
    return model


def train(config):
    """Trains, evaluates and publishes."""
    return runs.run("wgan_gp", config, build, group=config.critic_steps)


if __name__ == "__main__":
    runs.main(Config, train)
