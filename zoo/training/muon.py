"""Muon for kernels of convolutions as well as for matrices."""

import re

import keras
from keras import ops


@keras.saving.register_keras_serializable("zoo")
class Muon(keras.optimizers.Muon):
    """Keras's Muon, which also moves kernels of convolutions by Muon, and not by AdamW.

    The momentum of a kernel is made nearly orthogonal as a matrix, whose columns are its last axis, so of shape (height
    * width * channels, filters) for a convolution, as its author does (K. Jordan 2024). Each update then has a root
    mean square of about `rms_rate`, 0.2, as Adam's do, so that step size and weight decay of Adam fit (Liu et al. 2025,
    https://arxiv.org/abs/2502.16982). What has fewer than two axes, embeddings, and all whose path one of the patterns
    `exclude_layers` is found in are moved by AdamW: name the last layer there, which scores classes, and very wide
    ones, since an update takes about 20 n^2 m multiplications for a matrix with sides of n <= m.

    Args:
        *args: As for `keras.optimizers.Muon`.
        **kwargs: As for `keras.optimizers.Muon`.

    Example:
        >>> kernel = keras.Variable(np.zeros((3, 3, 2, 8), "float32"))
        >>> gradient = np.random.default_rng(0).normal(size=kernel.shape).astype("float32")
        >>> Muon(1.0).apply([gradient], [kernel])
        >>> round(float(np.sqrt(np.mean(kernel.numpy() ** 2))), 1)  # what Adam's updates have
        0.2

        model.compile(zoo.training.Muon(1e-3, weight_decay=0.05, exclude_layers=["score"]))
    """

    def _should_use_adamw(self, variable):
        if len(variable.shape) < 3:
            return super()._should_use_adamw(variable)
        return any(re.search(pattern, variable.path) for pattern in self.exclude_layers)

    def zeropower_via_newtonschulz5(self, x, steps):
        """Five steps, or as many as asked, of Newton and Schulz towards the nearest orthogonal matrix."""
        return _as_matrix(lambda matrix: super(Muon, self).zeropower_via_newtonschulz5(matrix, steps), x)

    def lr_adjust(self, x):
        """An update whose root mean square is `rms_rate`, given one of an orthogonal matrix."""
        return _as_matrix(super().lr_adjust, x)


def _as_matrix(function, kernel):
    """What a function of matrices makes of a kernel, in the kernel's shape."""
    return ops.reshape(function(ops.reshape(kernel, (-1, kernel.shape[-1]))), kernel.shape)
