"""SinkhornGAN: a generator that lowers the Sinkhorn divergence to the data (Genevay, Peyré, Cuturi 2018)."""

import math

import keras
from keras import ops

from zoo import ot
from zoo.checks import check_choice, check_number, check_positive
from zoo.losses.adversarial import feature_gradient_penalty
from zoo.training import (
    LatentModel,
    averaged,
    check_features,
    check_generator,
    check_no_batch_norm,
    minimize,
    shares,
    update_each,
    with_shapes,
)


@keras.saving.register_keras_serializable("zoo")
class SinkhornGAN(LatentModel):
    """Generator of least Sinkhorn divergence between a batch of data and a batch generated (Genevay et al. 2018).

    S(X, Y) = W(X, Y) - W(X, X) / 2 - W(Y, Y) / 2, with W the entropic transport cost between the examples themselves,
    or between the features that a critic makes of them. The critic maximises S: a cost learned adversarially
    (section 3.2). A small epsilon compares as optimal transport does, a large one as a maximum mean discrepancy with
    kernel -cost; with squared Euclidean costs, the latter sees no more than the means.

    Args:
        generator: `keras.Model` from latents (batch, latent_dim) to examples.
        critic: `keras.Model` from examples to features (batch, num_features); None for a fixed cost between the
            examples, with no second player.
        epsilon: Strength of the regularisation in the unit of the cost, above 0 and at least 1e-5 times the largest.
            A hundredth of the mean cost is a good start.
        max_iterations: Bound of the Sinkhorn iterations, which stop before where they have converged; of `gradient=
            "unrolled"` their number. None for 2,000, or 100 unrolled.
        cost: "squared_euclidean", "euclidean" or "cosine", between examples or features. With a critic whose slope a
            penalty bounds prefer "euclidean": a squared cost grows with the square of the slope, as the penalty does,
            and training can diverge.
        debiased: False for W(X, Y) alone, as in the authors' MNIST code: it shrinks what is generated.
        value: What W is: "regularized_cost", <P, C> + eps KL(P | a b^T) (Feydy et al. 2019), which the plan minimises;
            or "transport_cost", the authors' <P, C>, whose exact gradient is "unrolled".
        gradient: "envelope", with the plan held fixed; or "unrolled", the paper's, through every iteration.
        critic_steps: Critic updates per generator update.
        clip: Bound on the absolute value of each weight of the critic, above 0, in place of the gradient penalty;
            None for none. The authors have 0.01.
        gradient_penalty_weight: Weight of the penalty that keeps the features' slope near 1 between real and generated
            examples (`feature_gradient_penalty`); 0 for none, where the critic bounds its features itself.
        generator_ema: Decay of a moving average of the generator, in [0, 1), which is then what `generate` and
            `export` use; None for none.
        seed: Seed of all random draws in training, a whole number.

    Examples to `fit` have shape (batch, *example_shape), images in [-1, 1]. The divergence is that of the whole batch,
    over all replicas and micro-batches: a larger batch is nearer to the divergence of the distributions. With
    (batch, critic_steps, *example_shape), each critic update sees its own examples, and the generator the last.

    Logs have `marginal_error` beside the terms: by how much of the mass, counted on both sides, the worst plan of a
    step misses its marginals, a mean over steps. Above 0.01 or so gradients are off: raise `max_iterations` or
    `epsilon`.

    The authors' MNIST code is `SinkhornGAN(generator, epsilon=4.0, debiased=False, value="transport_cost",
    gradient="unrolled")` with Adam at 5e-3: it has epsilon 1 for pixels in [0, 1], whose squared costs are a quarter of
    ours.

    Raises:
        ValueError: If the networks do not fit each other or an argument is out of range.

    Example:
        >>> model = SinkhornGAN(mlp_generator((2,)), epsilon=0.01)
        >>> model.generate(16, seed=0).shape
        (16, 2)

        model.compile()
        model.fit(points, batch_size=256, epochs=20)
    """

    gauges = ("marginal_error",)

    def __init__(
        self,
        generator,
        critic=None,
        *,
        epsilon=1.0,
        max_iterations=None,
        cost="squared_euclidean",
        debiased=True,
        value="regularized_cost",
        gradient="envelope",
        critic_steps=1,
        clip=None,
        gradient_penalty_weight=10.0,
        generator_ema=None,
        seed=0,
        **kwargs,
    ):
        penalised = critic is not None and clip is None and gradient_penalty_weight != 0
        critic_terms = ["critic_loss"] * (critic is not None) + ["gradient_penalty"] * penalised
        super().__init__(seed=seed, terms=[*critic_terms, "generator_loss"], **kwargs)
        generator, critic = with_shapes(generator=generator, critic=critic)
        check_generator(generator)
        if critic is not None:
            check_features(critic, generator)
        check_number("epsilon", epsilon, 0, above=True)
        if max_iterations is None:
            max_iterations = 100 if gradient == "unrolled" else 2000
        check_positive("max_iterations", max_iterations)
        check_choice("cost", cost, ("squared_euclidean", "euclidean", "cosine"))
        check_choice("debiased", debiased, (True, False))
        check_choice("value", value, ("regularized_cost", "transport_cost"))
        check_choice("gradient", gradient, ("envelope", "unrolled"))
        check_positive("critic_steps", critic_steps)
        if clip is not None:
            check_number("clip", clip, 0, above=True)
        check_number("gradient_penalty_weight", gradient_penalty_weight, 0)
        if penalised:
            check_no_batch_norm(critic)
        self.generator, self.critic = generator, critic
        self.epsilon, self.max_iterations, self.cost = epsilon, max_iterations, cost
        self.debiased, self.value, self.gradient = debiased, value, gradient
        self.critic_steps = critic_steps
        self.clip, self.gradient_penalty_weight = clip, gradient_penalty_weight
        self.generator_ema, self.sampler = generator_ema, averaged(generator, generator_ema)

    @property
    def remedy(self):
        """What to try where training has broken."""
        first = ""
        if self.critic is not None and self.clip is None and self.cost == "squared_euclidean":
            first = 'Give `cost="euclidean"`: no penalty on the critic\'s slope bounds a squared cost. '
        return (
            f"{first}Raise `epsilon`, if costs are more than 1e5 times as large, which float32 does not hold; "
            "look for NaN or unscaled values in the data, or lower the learning rate."
        )

    @property
    def optimizer_networks(self):
        """`critic_optimizer`, if there is a critic, and `generator_optimizer`."""
        critic = {} if self.critic is None else {"critic_optimizer": "critic"}
        return {**critic, "generator_optimizer": "generator"}

    def default_optimizer(self):
        """The authors' kinds: Adam for a fixed cost, at 1e-3 (theirs: 5e-3); RMSprop at 5e-5 against a critic."""
        return keras.optimizers.Adam(1e-3) if self.critic is None else keras.optimizers.RMSprop(5e-5)

    def features(self, examples):
        """Where mass is transported, (batch, num_features): the critic's features, or the examples as vectors."""
        if self.critic is not None:
            return self.critic(examples, training=True)
        return ops.reshape(examples, (-1, math.prod(self.example_shape)))

    def divergence(self, real, fake):
        """S of features of real and of generated examples, (size, num_features) each; a scalar."""
        return self.solve(real, fake)[0]

    def solve(self, real, fake):
        """`divergence`, and {"marginal_error": how far its plans are from solutions}."""
        options = {"max_iterations": self.max_iterations, "gradient": self.gradient}
        if self.debiased:
            options |= {"cost": self.cost, "value": self.value, "return_result": True}
            found = ot.sinkhorn_divergence(real, fake, self.epsilon, **options)
            return found.value, {"marginal_error": found.marginal_error}
        found = ot.sinkhorn(ot.cost_matrix(real, fake, self.cost), self.epsilon, **options)
        return getattr(found, self.value), {"marginal_error": found.marginal_error}

    def negative(self, real, fake):
        """What the critic lowers: -S, and what `solve` tells of it."""
        value, told = self.solve(real, fake)
        return -value, told

    def critic_objective(self, examples, latents, mix):
        """Features of real and of generated examples, and the weighted penalty per example."""
        fake = self.generator(latents, training=True)
        features = self.features(examples), self.features(fake)
        terms = {"critic_loss": features}
        if "gradient_penalty" in self.terms:
            penalty = feature_gradient_penalty(self.features, examples, fake, features, mix)
            terms["gradient_penalty"] = self.gradient_penalty_weight * penalty
        return terms

    def generator_objective(self, examples, latents):
        """Features of real and of generated examples."""
        return {"generator_loss": (self.features(examples), self.features(self.generator(latents, training=True)))}

    def train_step(self, examples):
        """`critic_steps` critic updates that raise the divergence, if any, then one of the generator that lowers it."""
        batch = self.open_batch(examples)
        critic, errors = {}, []
        for update, real in enumerate(shares(examples, self.critic_steps, self.example_shape)):
            if self.critic is not None:
                critic = self.train_critic(real, batch, update)
                errors.append(critic.pop("marginal_error"))
        inputs = (real, self.latents(batch, "generator"))
        moved, joint = (self.generator, self.generator_optimizer), {"generator_loss": self.solve}
        generator = minimize(self.generator_objective, inputs, *moved, batch, joint)
        errors.append(generator.pop("marginal_error"))
        self.update_sampler()
        return self.track(batch, marginal_error=ops.max(errors), **critic, **generator)

    def train_critic(self, examples, batch, update):
        """One critic update, followed by clipping if it is asked for; returns the terms."""
        joint = {"critic_loss": self.negative}
        inputs = (examples, self.latents(batch, "critic", update), batch.uniform("mix", update=update))
        terms = minimize(self.critic_objective, inputs, self.critic, self.critic_optimizer, batch, joint)
        if self.clip is not None:
            update_each(lambda weight: ops.clip(weight, -self.clip, self.clip), self.critic.trainable_variables)
        return terms
