"""What autoencoders lower, and what is done to their inputs: one value per example, in float32."""

import tensorflow as tf
from keras import ops


def _sum(values):
    values = ops.cast(values, "float32")
    return ops.sum(ops.reshape(values, (ops.shape(values)[0], -1)), axis=1)


def squared_error(examples, reconstructions):
    """|x - y|^2, summed over an example's values.

    Args:
        examples: (batch, ...).
        reconstructions: The same shape.

    Returns:
        Tensor of shape (batch,), float32.

    Example:
        >>> np.array(squared_error(ops.zeros((1, 2)), ops.ones((1, 2))))
        array([2.], dtype=float32)
    """
    return _sum(ops.square(ops.cast(examples, "float32") - ops.cast(reconstructions, "float32")))


def cross_entropy(examples, logits):
    """-p log q - (1 - p) log(1 - q), summed over an example's values, where p = (x + 1) / 2 and q = sigmoid(logit).

    Vincent et al. 2010, equation 5. It is least, but not 0, at p = q.

    Args:
        examples: (batch, ...) in [-1, 1].
        logits: The same shape.

    Returns:
        Tensor of shape (batch,), float32.

    Example:
        >>> np.round(cross_entropy(ops.zeros((1, 2)), ops.zeros((1, 2))), 3)  # 2 log 2: grey, of what may be either
        array([1.386], dtype=float32)
    """
    examples, logits = ops.cast(examples, "float32"), ops.cast(logits, "float32")
    return _sum(ops.softplus(logits) - 0.5 * (examples + 1.0) * logits)


def l1_sparsity(codes):
    """sum_j |h_j|, which drives most units of a code to 0.

    Args:
        codes: (batch, dim).

    Returns:
        Tensor of shape (batch,), float32.

    Example:
        >>> np.array(l1_sparsity(ops.array([[1.0, -2.0]])))
        array([3.], dtype=float32)
    """
    return _sum(ops.abs(codes))


def kl_sparsity(codes, target):
    """sum_j KL(target || mean activity of unit j): each unit is to be active for few examples.

    Ng 2011, Sparse autoencoder (CS294A lecture notes), section 3.

    Args:
        codes: Of all examples of a batch, (batch, dim), in (0, 1) as after a sigmoid.
        target: Activity wanted, in (0, 1).

    Returns:
        Scalar, float32, at least 0.

    Example:
        >>> round(abs(float(kl_sparsity(ops.full((8, 4), 0.05), 0.05))), 4)
        0.0
    """
    activity = ops.clip(ops.mean(ops.cast(codes, "float32"), axis=0), 1e-6, 1.0 - 1e-6)
    return ops.sum(target * ops.log(target / activity) + (1 - target) * ops.log((1 - target) / (1 - activity)))


def contraction(encoder, examples):
    """|J|^2, the squared Frobenius norm of the Jacobian of an encoder at each example.

    Rifai et al. 2011, Contractive auto-encoders, equation 1. It takes one backward pass for each unit of the code; the
    encoder must treat examples one by one.

    Args:
        encoder: Function from examples to codes (batch, dim).
        examples: (batch, ...).

    Returns:
        Tensor of shape (batch,), float32.

    Example:
        >>> np.array(contraction(lambda x: 3.0 * x, ops.zeros((1, 2))))
        array([18.], dtype=float32)
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(examples)
        codes = ops.cast(encoder(examples), "float32")
    return _sum(ops.square(tape.batch_jacobian(codes, examples)))


def contraction_estimate(encoder, examples, directions):
    """|v^T J|^2, whose mean over standard normal v is |J|^2 (Hutchinson 1990): one backward pass, also for long codes.

    Args:
        encoder: Function from examples to codes (batch, dim).
        examples: (batch, ...).
        directions: v, standard normal, (batch, dim).

    Returns:
        Tensor of shape (batch,), float32.

    Example:
        >>> np.array(contraction_estimate(lambda x: 3.0 * x, ops.zeros((1, 2)), directions=ops.array([[1.0, -1.0]])))
        array([18.], dtype=float32)
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(examples)
        along = ops.sum(directions * ops.cast(encoder(examples), "float32"))
    return _sum(ops.square(tape.gradient(along, examples)))


def sigmoid_contraction(codes, kernel):
    """|J|^2 of one layer with a sigmoid, sum_j (h_j (1 - h_j))^2 sum_i W_ij^2.

    Rifai et al. 2011, Contractive auto-encoders, equation 2.

    Args:
        codes: What the layer puts out, (batch, dim).
        kernel: Its weights, (inputs, dim).

    Returns:
        Tensor of shape (batch,), float32.

    Example:
        >>> np.array(sigmoid_contraction(ops.array([[0.5]]), kernel=ops.array([[4.0]])))  # (4 / 4)^2
        array([1.], dtype=float32)
    """
    codes = ops.cast(codes, "float32")
    return _sum(ops.square(codes * (1.0 - codes)) * ops.sum(ops.square(kernel), axis=0))


def masking_noise(examples, uniform, share, value):
    """Sets a share of an example's values to one value (Vincent et al. 2010, section 3.3).

    Args:
        examples: (batch, ...).
        uniform: Numbers in (0, 1) of the same shape.
        share: Share of the values, in [0, 1].
        value: What they become: -1, which is black, for images, and 0 for points.

    Returns:
        Tensor of the shape of `examples`.

    Example:
        >>> np.array(masking_noise(ops.ones((1, 3)), ops.array([[0.1, 0.5, 0.9]]), share=0.25, value=0.0))
        array([[0., 1., 1.]], dtype=float32)
    """
    return ops.where(uniform < share, ops.cast(value, examples.dtype), examples)


def salt_and_pepper_noise(examples, uniform, share):
    """Sets a share of an example's values to -1 or 1, by equal chance (Vincent et al. 2010, section 3.3).

    Args:
        examples: (batch, ...) in [-1, 1].
        uniform: Numbers in (0, 1) of the same shape.
        share: Share of the values, in [0, 1].

    Returns:
        Tensor of the shape of `examples`.

    Example:
        >>> np.array(salt_and_pepper_noise(ops.zeros((1, 3)), ops.array([[0.1, 0.5, 0.9]]), share=0.25))
        array([[-1.,  0.,  1.]], dtype=float32)
    """
    salted = ops.where(uniform > 1.0 - 0.5 * share, ops.ones_like(examples), examples)
    return ops.where(uniform < 0.5 * share, -ops.ones_like(examples), salted)
