"""Variational autoencoder on images or points.

python -m recipes.vae --data fashion_mnist --epochs 100 --jit-compile --steps-per-execution 10
python -m recipes.vae --data mnist --epochs 200 --num-samples 50 --jit-compile
python -m recipes.vae --data cifar10 --networks conv
python -m recipes.vae --data digits --latent-dim 2 --likelihood continuous_bernoulli

On one core the first takes 20 minutes, half of them for the log-likelihood, and gives -log p(x) 234.5 nats per test
image (5,000 importance samples). The second, on 4,500 digits, takes 18 minutes and gives 97.9; with one sample, 99.8 in
4 minutes. Published figures are of all 60,000 digits and of other binarisations, so these are not beside them.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from recipes import coding
from zoo import runs


@dataclass(frozen=True, kw_only=True)
class Config(coding.Config):
    """Options of the VAE recipe."""

    MAY_BE_ZERO: ClassVar = (*coding.Config.MAY_BE_ZERO, "kl_weight", "warm_up_steps", "importance_samples")

    epochs: int = 100
    """Epochs to have trained at the end, those of earlier commands in the same folder included."""
    batch_size: int = 100
    """Examples per update, over all replicas (Kingma, Welling: 100)."""
    latent_dim: int = 50
    """Length of a latent (Burda et al.: 50)."""
    _OBJECTIVE: ClassVar = runs.Heading("objective")
    likelihood: Literal["auto", "bernoulli", "continuous_bernoulli", "normal", "discretized_logistic"] = "auto"
    """Distribution of examples; auto is bernoulli for grey images, discretized_logistic for RGB, normal for points."""
    posterior: Literal["diagonal_normal", "full_normal"] = "diagonal_normal"
    """Distribution of latents given an example."""
    scale: Literal["shared", "predicted"] = "shared"
    """Of a normal or logistic likelihood: one learned scale, or one for each value."""
    num_samples: int = 1
    """Latents per example: 1 for the evidence lower bound, k for the importance-weighted bound."""
    kl_weight: float = 1.0
    """Weight of the KL term, beta."""
    warm_up_steps: int = 0
    """Steps in which that weight rises from 0."""
    _EVALUATION: ClassVar = runs.Heading("evaluation and checkpoints")
    importance_samples: int = runs.option(5000, free=True)
    """Samples of each test example for the log-likelihood at the end; 0 for none."""

    def likelihood_for(self, example_shape):
        """The name of the likelihood of examples of a shape."""
        if self.likelihood != "auto":
            return self.likelihood
        if len(example_shape) != 3:
            return "normal"
        return "bernoulli" if example_shape[-1] == 1 else "discretized_logistic"

    def binarizes(self, example_shape):
        """Whether grey pixels are drawn black or white: anew at each training step, once for the test split."""
        return self.likelihood_for(example_shape) == "bernoulli"


def build(config, example_shape):
    """The compiled model."""
    import keras

    from zoo import VAE

    likelihood = config.likelihood_for(example_shape)
    latent_dim = config.latent_dim
    num_outputs = 2 * latent_dim if config.posterior == "diagonal_normal" else latent_dim * (latent_dim + 3) // 2
    scale = config.scale if likelihood in ("normal", "discretized_logistic") else None
    model = VAE(
        *coding.networks(config, example_shape, num_outputs, scale=scale),
        likelihood=likelihood,
        posterior=config.posterior,
        num_samples=config.num_samples,
        kl_weight=config.kl_weight,
        warm_up_steps=config.warm_up_steps,
        binarize=config.binarizes(example_shape),
        seed=config.seed,
    )
    model.compile(keras.optimizers.Adam(config.learning_rate), **runs.execution(config))
    return model


def train(config):
    """Trains, evaluates and publishes."""
    return runs.run("vae", config, build, runs.LatentVariables)


if __name__ == "__main__":
    runs.main(Config, train)
