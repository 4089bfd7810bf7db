"""The step that all contestants take, and the weights, images and random numbers that they are compared on."""

import numpy as np

IMAGE_SHAPE = (28, 28, 1)
LATENT_DIM = 128
CRITIC_STEPS = 5
PENALTY_WEIGHT = 10.0


def write_problem(path, shapes, batch_size):
    """Writes weights, images, latents and mixing weights that all contestants share."""
    numbers = np.random.default_rng(0)
    arrays = {}
    for index, shape in enumerate(shapes):
        # Kernels wide enough for a gradient near 1; gains and biases away from their start, so that mix-ups show.
        scale = 0.05 if len(shape) > 1 else 0.1
        arrays[f"weight_{index}"] = scale * numbers.standard_normal(shape, dtype="float32") + (len(shape) == 1)
    arrays["images"] = numbers.uniform(-1, 1, (16 * batch_size, *IMAGE_SHAPE))
    arrays["latents"] = numbers.standard_normal((batch_size, LATENT_DIM))
    arrays["mix"] = numbers.uniform(0, 1, batch_size)
    np.savez(path, **{name: array.astype("float32") for name, array in arrays.items()})


def read_problem(path, batch_size):
    """(weights, images, (images, latents, mixing weights) of the check)."""
    with np.load(path) as arrays:
        weights = [arrays[f"weight_{index}"] for index in range(sum("weight" in key for key in arrays))]
        return weights, arrays["images"], (arrays["images"][:batch_size], arrays["latents"], arrays["mix"])
