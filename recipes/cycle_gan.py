"""CycleGAN between two sets of images without pairs.

python -m recipes.cycle_gan --data emoji --epochs 8 --jit-compile
python -m recipes.cycle_gan --data mnist_usps --batch-size 16 --filters 16 --epochs 6 --jit-compile
python -m recipes.cycle_gan --data cifar10/horse cifar10/deer
python -m recipes.cycle_gan --data path/to/horse2zebra --image-size 256 --batch-size 1 --filters 64 --epochs 200

The second takes 15 minutes on one core: of MNIST's digits, 65.8 % are right for a classifier of USPS as they are, and
82.2, 83.2 and 85.4 % translated (seeds 0, 1, 2); of USPS's for one of MNIST 81.6 %, and 88.8, 88.2 and 90.3 %. The
first takes 8 minutes; the cycle error of held-out emoji must fall below a quarter of its start, and says nothing of how
they look, of which the share that is taken for the other set tells more. The paper trains for 200 epochs, with batches
of 1.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from zoo import runs


@dataclass(frozen=True, kw_only=True)
class Config(runs.TranslationConfig):
    """Options of the CycleGAN recipe."""

    MAY_BE_ZERO: ClassVar = (
        *runs.TranslationConfig.MAY_BE_ZERO,
        "cycle_weight",
        "decay_from",
        "generator_ema",
        "identity_weight",
        "pool_size",
    )

    epochs: int = 40
    """Epochs to have trained at the end, those of earlier commands in the same folder included (paper: 200). The step
    size falls to 0 by then: a run that goes on with more of them takes up the higher one of the longer fall."""
    batch_size: int = 4
    """Images of each set per update, over all replicas (paper: 1)."""
    _MODEL: ClassVar = runs.Heading("model")
    filters: int = 32
    """Channels of the first convolution of the generators (paper: 64)."""
    discriminator_filters: int = 64
    """Channels of the first convolution of the discriminators (paper: 64)."""
    num_blocks: int | None = None
    """Residual blocks of the generators; None for 9 from 256 pixels on, and 6 below."""
    num_levels: int | None = None
    """Halvings in the discriminators; None for 1 below 28 pixels, 2 below 64, and 3 above (paper: 3)."""
    _OPTIMIZER: ClassVar = runs.Heading("optimizer")
    learning_rate: float = 2e-4
    """Step size of Adam, in all networks (paper: 2e-4)."""
    decay_from: float = 0.5
    """Share of the training after which the step size falls to 0 in a straight line (paper: 0.5); 1 for never."""
    _OBJECTIVE: ClassVar = runs.Heading("objective")
    adversarial_loss: Literal["least_squares", "log"] = "least_squares"
    """What discriminators and generators play for."""
    cycle_weight: float = 10.0
    """Lambda, the weight of the cycle terms (paper: 10)."""
    identity_weight: float | None = None
    """Weight of the identity terms, as a multiple of lambda; None for 0.5 where there are colours to keep, else 0."""
    pool_size: int = 50
    """Earlier generated images of each set that discriminators are shown (paper: 50)."""
    generator_ema: float | None = 0.999
    """Decay of the moving average that translates and is exported; None for none."""

    def check(self):
        """Checks all numbers, before anything slow begins."""
        super().check()
        if self.decay_from > 1:
            raise ValueError(f"`--decay-from` must be a share of the training, at most 1. Received: {self.decay_from}.")


def build(config, example_shape):
    """The compiled model."""
    import keras

    from zoo import CycleGAN, patch_discriminator, resnet_generator

    widths, levels = (config.filters, config.discriminator_filters), config.num_levels
    generators = [resnet_generator(example_shape, widths[0], config.num_blocks) for _ in range(2)]
    discriminators = [patch_discriminator(example_shape, widths[1], levels) for _ in range(2)]
    has_colours = example_shape[-1] > 1
    model = CycleGAN(
        *generators,
        *discriminators,
        adversarial_loss=config.adversarial_loss,
        cycle_weight=config.cycle_weight,
        identity_weight=0.5 * has_colours if config.identity_weight is None else config.identity_weight,
        pool_size=config.pool_size,
        generator_ema=config.generator_ema,
        seed=config.seed,
    )
    rate = learning_rate(config)
    model.compile(*(keras.optimizers.Adam(rate, beta_1=0.5) for _ in range(2)), **runs.execution(config))
    return model


def learning_rate(config):
    """The step size: a number, or a schedule over all epochs."""
    from zoo import ConstantThenLinear

    total = config.epochs * config.steps_per_epoch
    constant = round(config.decay_from * total)
    if constant == total:
        return config.learning_rate
    return ConstantThenLinear(config.learning_rate, constant, total - constant)


def train(config):
    """Trains, evaluates and publishes."""
    return runs.run("cycle_gan", config, build, runs.Translation, rate_of=learning_rate)


if __name__ == "__main__":
    runs.main(Config, train)
