"""Autoencoder: undercomplete, sparse, denoising and contractive."""

import keras
import tensorflow as tf

from zoo.checks import check_choice, check_number
from zoo.losses.autoencoding import (
    contraction,
    contraction_estimate,
    cross_entropy,
    kl_sparsity,
    l1_sparsity,
    masking_noise,
    salt_and_pepper_noise,
    sigmoid_contraction,
    squared_error,
)
from zoo.rows import finite_only
from zoo.training import CodeModel, check_coder, check_no_batch_norm, minimize, range_of, with_shapes

RECONSTRUCTIONS = {"squared_error": squared_error, "cross_entropy": cross_entropy}


@keras.saving.register_keras_serializable("zoo")
class Autoencoder(CodeModel):
    """An encoder and a decoder that give back what they are given, through a code that cannot hold all of it.

    What keeps the code from being a copy is its length (undercomplete), or, for codes of any length, one or more of:
    noise in the input that is not in the target (denoising, Vincent et al. 2010), a penalty on active units (sparse, Ng
    2011), a penalty on the slope of the encoder (contractive, Rifai et al. 2011).

    Args:
        encoder: `keras.Model` from examples to codes (batch, code_dim).
        decoder: `keras.Model` from codes to examples, or for "cross_entropy" to their logits.
        reconstruction: "squared_error", or "cross_entropy" for images as in the papers above; summed over an example.
        corruption: None, "gaussian", "masking" (pixels become black, coordinates of points 0) or "salt_and_pepper"
            (-1 or 1), of each example in training.
        corruption_level: Standard deviation of Gaussian noise, in the examples' unit; share of the values, from 0 to
            1, for the others.
        sparsity: None, "l1", or "kl", between `target_activity` and each unit's mean activity in the batch over all
            replicas; the encoder then ends in a sigmoid, or else in values in [0, 1].
        sparsity_weight: Weight of that penalty.
        target_activity: In (0, 1).
        contraction: None, "exact", the squared norm of the Jacobian, in closed form if the encoder is one sigmoid
            layer; or "estimate", of the same mean by one backward pass, for deep encoders of long codes.
        contraction_weight: Weight of that penalty. Slopes are those per unit of images in [-1, 1], half of those of
            [0, 1], which the paper has: beside its cross-entropy, its weights are to be multiplied by 4 here.
        seed: Seed of all random draws in training, a whole number.

    Examples to `fit` have shape (batch, *example_shape), images in [-1, 1]. `evaluate` and `validation_data` give the
    terms on held-out examples without corruption.

    Raises:
        ValueError: If the networks do not fit each other or a penalty, or an argument is out of range.

    Example:
        >>> encoder = mlp_encoder((8, 8, 1), 16, hidden=(), output_activation="sigmoid")
        >>> decoder = mlp_decoder((8, 8, 1), 16, hidden=())
        >>> model = Autoencoder(encoder, decoder, corruption="masking", corruption_level=0.25)
        >>> model.compile()
        >>> images = zoo.data.load("digits").examples(64)
        >>> history = model.fit(images, batch_size=64, epochs=1, verbose=0)
        >>> sorted(history.history), model.encode(images).shape
        (['loss', 'reconstruction_loss'], (64, 16))
    """

    def __init__(
        self,
        encoder,
        decoder,
        *,
        reconstruction="squared_error",
        corruption=None,
        corruption_level=0.25,
        sparsity=None,
        sparsity_weight=1.0,
        target_activity=0.05,
        contraction=None,
        contraction_weight=0.1,
        seed=0,
        **kwargs,
    ):
        penalties = ["sparsity"] * (sparsity is not None) + ["contraction"] * (contraction is not None)
        super().__init__(seed=seed, terms=["reconstruction_loss", *penalties], **kwargs)
        encoder, decoder = with_shapes(encoder=encoder, decoder=decoder)
        check_coder(encoder, decoder)
        if encoder.output_shape[1] != decoder.input_shape[1] or decoder.output_shape != encoder.input_shape:
            raise ValueError(
                "The decoder must take what the encoder puts out, and put out what the encoder takes: from codes "
                f"{encoder.output_shape} to examples {encoder.input_shape}. Received: from {decoder.input_shape} to "
                f"{decoder.output_shape}. Build both for the same example shape and code length."
            )
        check_choice("reconstruction", reconstruction, RECONSTRUCTIONS)
        check_choice("corruption", corruption, (None, "gaussian", "masking", "salt_and_pepper"))
        highest = {} if corruption == "gaussian" else {"below": 1.0 + 1e-9}
        check_number("corruption_level", corruption_level, 0, **highest)
        check_choice("sparsity", sparsity, (None, "l1", "kl"))
        check_number("sparsity_weight", sparsity_weight, 0)
        check_number("target_activity", target_activity, 0, below=1, above=True)
        check_choice("contraction", contraction, (None, "exact", "estimate"))
        check_number("contraction_weight", contraction_weight, 0)
        if sparsity == "kl":
            _check_activities(encoder)
        if contraction is not None:
            check_no_batch_norm(encoder, "encoder", "the contraction")
        self.encoder, self.decoder = encoder, decoder
        self.reconstruction = reconstruction
        self.corruption, self.corruption_level = corruption, corruption_level
        self.sparsity, self.sparsity_weight, self.target_activity = sparsity, sparsity_weight, target_activity
        self.contraction, self.contraction_weight = contraction, contraction_weight

    def default_optimizer(self):
        """Adam at 1e-3."""
        return keras.optimizers.Adam(1e-3)

    def objective(self, examples, corrupted, directions, training=True):
        """The error in giving back an example from its corrupted form, and the weighted penalties."""
        codes = self.encoder(corrupted, training=training)
        error = RECONSTRUCTIONS[self.reconstruction](examples, self.decoder(codes, training=training))
        terms = {"reconstruction_loss": error}
        if self.sparsity == "l1":
            terms["sparsity"] = self.sparsity_weight * l1_sparsity(codes)
        if self.sparsity == "kl":
            terms["sparsity"] = (codes,)
        if self.contraction is not None:
            terms["contraction"] = self.contraction_weight * self.squared_slope(corrupted, codes, directions, training)
        return terms

    def squared_slope(self, examples, codes, directions, training):
        """|J|^2 of the encoder at each example, or its estimate."""

        def encode(examples):
            return self.encoder(examples, training=training)

        if self.contraction == "estimate":
            return contraction_estimate(encode, examples, directions)
        kernel = _sigmoid_kernel(self.encoder)
        return contraction(encode, examples) if kernel is None else sigmoid_contraction(codes, kernel)

    def activity_penalty(self, codes):
        """The weighted penalty on mean activities of codes of all rows."""
        return self.sparsity_weight * kl_sparsity(codes, self.target_activity)

    def train_step(self, examples):
        """One update of encoder and decoder."""
        batch = self.open_batch(examples)
        inputs = (examples, self.corrupted(batch, examples), batch.normal("contraction", (self.code_dim,)))
        joint = {"sparsity": self.activity_penalty} if self.sparsity == "kl" else None
        terms = minimize(self.objective, inputs, (self.encoder, self.decoder), self.optimizer, batch, joint)
        return self.track(batch, **terms)

    def test_step(self, examples):
        """The same terms without corruption."""
        batch = self.open_batch(examples)
        terms = self.objective(examples, examples, batch.normal("contraction", (self.code_dim,)), training=False)
        if self.sparsity == "kl":
            terms["sparsity"] = batch.joint(self.activity_penalty, terms["sparsity"])
        return self.observe(batch, **terms)

    def corrupted(self, batch, examples):
        """Examples with noise."""
        shape, level = self.example_shape, self.corruption_level
        if self.corruption == "gaussian":
            return examples + level * batch.normal("corruption", shape)
        if self.corruption == "masking":
            return masking_noise(examples, batch.uniform("corruption", shape), level, -1.0 if len(shape) == 3 else 0.0)
        if self.corruption == "salt_and_pepper":
            return salt_and_pepper_noise(examples, batch.uniform("corruption", shape), level)
        return examples

    def codes_of(self, examples):
        """Codes (batch, code_dim)."""
        return tf.cast(self.encoder(examples, training=False), tf.float32)

    def examples_from(self, codes):
        """Examples (batch, *example_shape)."""
        decoded = tf.cast(self.decoder(codes, training=False), tf.float32)
        return tf.tanh(0.5 * decoded) if self.reconstruction == "cross_entropy" else decoded

    def errors(self, examples, batch_size=256):
        """The error of giving back each example, a float32 array (n,)."""
        return self.in_batches("errors", self.score, examples, self.example_shape, batch_size)

    def score(self, examples):
        """The error of giving back each example, a tensor (batch,)."""
        decoded = self.decoder(self.encoder(examples, training=False), training=False)
        return RECONSTRUCTIONS[self.reconstruction](examples, decoded)

    def signatures(self):
        """What is served: those of every autoencoder, and `score`, the error of giving back each example."""
        base = super().signatures()
        examples = base["encode"][1]

        def score(**given):
            return {"reconstruction_loss": self.score(*given.values())}

        return {**base, "score": (finite_only(score), examples)}


def _check_activities(encoder):
    """Refuses an encoder whose codes are no activities in [0, 1], whatever it ends in."""
    least, largest = range_of(encoder)
    if least < 0 or largest > 1:
        raise ValueError(
            'With sparsity "kl", activities are compared with a probability, so the encoder must end in a sigmoid, or '
            f"else in values from 0 to 1, whatever it is given. Received: codes from {least:.3g} to {largest:.3g}, of "
            'noise. Pass `output_activation="sigmoid"` to `mlp_encoder`, or take sparsity "l1".'
        )


def _sigmoid_kernel(encoder):
    """The weights of an encoder that is one sigmoid layer, or None."""
    only_move = (keras.layers.InputLayer, keras.layers.Flatten, keras.layers.Reshape)
    others = [layer for layer in encoder.layers if not isinstance(layer, only_move)]
    is_one = len(others) == 1 and isinstance(others[0], keras.layers.Dense)
    return others[0].kernel if is_one and others[0].activation is keras.activations.sigmoid else None
