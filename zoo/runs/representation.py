"""The tasks of recipes that learn codes: autoencoders, and models of latent variables."""

from functools import cached_property

import numpy as np

from zoo import pictures
from zoo.evaluation import CodeEvaluator

_LINES, _STEPS, _DIMENSIONS, _MAPPED = 8, 8, 8, 2000


class Representation:
    """Data, metrics and pictures of models with `encode`, `reconstruct`, `interpolate` and `errors`.

    Args:
        config: A `GenerationConfig`.

    Attributes:
        data: `zoo.data.Source` that the model learns from.
        batch_options: Options of its batches: none.
        build_from: Shape of one example, which the networks are built for.
        better: Which way each metric of `evaluate` is better.

    Example:
        >>> task = Representation(zoo.runs.GenerationConfig(data="digits"))
        >>> task.build_from, task.codes.test_examples.shape
        ((8, 8, 1), (179, 8, 8, 1))
    """

    batch_options = {}
    better = {"test_reconstruction_loss": "min"}

    def __init__(self, config):
        self.config, self.data = config, config.load("train")
        self.build_from = self.data.shape

    @cached_property
    def codes(self):
        """`CodeEvaluator` of the data; it reads the test split, on the chief only."""
        return CodeEvaluator(self.data, self.config.load("test"), self.prepared)

    def prepared(self, examples):
        """What the model is given of the test split, and codes are made of."""
        return examples

    def evaluate(self, model):
        """The error of giving back examples of the test split, computed by this worker alone."""
        return {"test_reconstruction_loss": float(model.errors(self.codes.test_examples).mean())}

    def baselines(self, model):
        """What the untrained model reaches, and PCA with codes of the same length."""
        return {"untrained": self.evaluate(model), "pca": self.codes.of_pca(model.code_dim)}

    def conclude(self, model):
        """What the codes of the trained model are worth."""
        return self.codes.of_codes(model.encode)

    def callbacks(self, folder):
        """Callbacks that draw, in each epoch that is evaluated."""
        from zoo.callbacks import Pictures

        every = min(self.config.evaluate_every, self.config.epochs)
        return [Pictures(self.draw, folder / "samples", folder / "logs" / "samples", every=every)]

    def draw(self, model):
        """{name: picture}: reconstructions, interpolations and a map of the codes of test examples."""
        examples = self.codes.test_examples
        if not self.data.is_images:
            drawn = {"reconstructions": pictures.draw(model.reconstruct(examples), examples)}
        else:
            count = min(_LINES, len(examples) // 2)
            first, second = examples[:count], examples[count : 2 * count]
            pairs = np.stack([first, model.reconstruct(first)])
            lines = model.interpolate(first, second, _STEPS)
            drawn = {
                "reconstructions": pictures.draw(pairs.reshape(-1, *first.shape[1:]), columns=len(first)),
                "interpolations": pictures.draw(lines.reshape(-1, *first.shape[1:]), columns=_STEPS),
            }
        if model.code_dim > 1:
            drawn["codes"] = self.map_of(model)
        return drawn

    def map_of(self, model):
        """Codes of test examples in the plane, by their two principal components if they are longer than 2."""
        codes, labels = model.encode(self.codes.test_examples[:_MAPPED]), self.codes.test_labels
        if codes.shape[1] > 2:
            centred = codes - codes.mean(0)
            codes = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
        return pictures.classes(codes, None if labels is None else labels[:_MAPPED], self.data.class_names)

    def report(self, metrics):
        """One line that sets what was reached beside PCA and the untrained model."""
        return f"test error {metrics['test_reconstruction_loss']:.4g}{accuracies(metrics)}."


class LatentVariables(Representation):
    """The same for models with `decode`, `elbo`, `log_likelihood` and `generate`, in place of `errors`.

    Args:
        config: A `GenerationConfig` with `binarizes(example_shape)` and a number of `importance_samples`.

    Example:
        >>> task = LatentVariables(zoo.runs.GenerationConfig(data="digits"))
        >>> task.build_from, task.better["negative_elbo"]
        ((8, 8, 1), 'min')
    """

    better = dict.fromkeys(
        ("negative_elbo", "test_reconstruction_loss", "test_kl_divergence", "bits_per_dimension"), "min"
    )

    def prepared(self, examples):
        """Black and white images, drawn once, if the model is one of them."""
        if not self.config.binarizes(self.data.shape):
            return examples
        from zoo.losses.variational import binarize

        uniform = np.random.default_rng(0).uniform(size=examples.shape)
        return binarize(examples.astype("float64"), uniform).numpy().astype("float32")

    def evaluate(self, model):
        """The negative evidence lower bound of the test split, and its terms, in nats per example.

        Also in bits per dimension where the values are 8-bit levels.
        """
        means = {name: float(values.mean()) for name, values in model.elbo(self.codes.test_examples).items()}
        found = {
            "negative_elbo": -means["elbo"],
            "test_reconstruction_loss": -means["reconstruction"],
            "test_kl_divergence": means["kl_divergence"],
        }
        if model.levels_per_unit is not None:
            from zoo.losses.variational import bits_per_dimension

            bits = bits_per_dimension(means["elbo"], self.data.shape, model.levels_per_unit)
            found["bits_per_dimension"] = float(bits)
        return found

    def conclude(self, model):
        """What the codes are worth, and the negative log-likelihood of the test split by importance sampling."""
        from zoo.callbacks import Countdown

        examples, samples = self.codes.test_examples, self.config.importance_samples
        found = super().conclude(model)
        if samples:
            progress = Countdown(f"log p(x) with {samples} samples", len(examples), self.config.verbose != "silent")
            values = -model.log_likelihood(examples, samples, progress=progress)
            found["negative_log_likelihood"] = float(values.mean())
            found["negative_log_likelihood_error"] = float(values.std() / np.sqrt(len(values)))
        return found

    def draw(self, model):
        """Those of every autoencoder, samples, and what each latent changes."""
        drawn = super().draw(model)
        samples = model.generate(64 if self.data.is_images else 2500, seed=0)
        drawn["samples"] = pictures.draw(samples, None if self.data.is_images else self.codes.test_examples)
        if self.data.is_images:
            drawn["traversals"] = pictures.draw(self.traversals(model), columns=_STEPS)
            if model.code_dim == 2:
                drawn["latent_plane"] = pictures.draw(self.plane(model), columns=20)
        return drawn

    def traversals(self, model):
        """A row for each of the latents that say most: one example, with that latent from -3 to 3."""
        codes = model.encode(self.codes.test_examples[:500])
        dimensions = np.argsort(-codes.var(0))[:_DIMENSIONS]
        lines = np.repeat(codes[:1], len(dimensions) * _STEPS, 0).reshape(len(dimensions), _STEPS, -1)
        for line, dimension in zip(lines, dimensions, strict=True):
            line[:, dimension] = np.linspace(-3, 3, _STEPS)
        return model.decode(lines.reshape(-1, codes.shape[1]))

    def plane(self, model):
        """What two latents stand for, at equal steps of the prior's probability (Kingma, Welling 2014, figure 4)."""
        from scipy.stats import norm

        steps = norm.ppf(np.linspace(0.02, 0.98, 20)).astype("float32")
        return model.decode(np.stack(np.meshgrid(steps, steps[::-1]), -1).reshape(-1, 2))

    def report(self, metrics):
        """One line with the bound, the log-likelihood, and what the codes are worth."""
        line = (
            f"-ELBO {metrics['negative_elbo']:.2f} nats ({metrics['test_reconstruction_loss']:.2f} + "
            f"{metrics['test_kl_divergence']:.2f}; untrained {metrics['untrained']['negative_elbo']:.4g})"
        )
        if "bits_per_dimension" in metrics:
            line += f", {metrics['bits_per_dimension']:.3f} bits per dimension"
        if "negative_log_likelihood" in metrics:
            value, error = metrics["negative_log_likelihood"], metrics["negative_log_likelihood_error"]
            line += f", -log p(x) {value:.2f} ± {error:.2f} with {self.config.importance_samples} samples"
        return line + accuracies(metrics) + "."


def accuracies(metrics):
    """What the codes are worth beside PCA's, for a report; nothing without labels."""
    if "neighbour_accuracy" not in metrics:
        return ""
    ours, pca = metrics["neighbour_accuracy"], metrics["pca"]["neighbour_accuracy"]
    return f"; nearest neighbours of codes {100 * ours:.1f} % right, of PCA's {100 * pca:.1f} %"
