"""What `fit` is given where a model learns from two sets of examples, x and y."""

from zoo.training.examples import check_fit
from zoo.training.inputs import fits
from zoo.training.latents import check_network, check_scores


def only_pairs(data):
    """The examples of both domains in what `fit` is given, or hands to a step.

    Args:
        data: Tuple or list (x, y) of arrays or tensors, and otherwise None.

    Returns:
        Tuple (x, y).

    Raises:
        ValueError: If there is something else.

    Example:
        >>> x, y = only_pairs((np.zeros((4, 2)), np.ones((4, 2)), None))
        >>> x.shape, y.shape
        ((4, 2), (4, 2))
    """
    parts = tuple(part for part in data if part is not None) if isinstance(data, (tuple, list)) else (data,)
    if len(parts) == 1 and isinstance(parts[0], (tuple, list)):
        return only_pairs(parts[0])
    if len(parts) == 2 and all(hasattr(part, "shape") for part in parts):
        return parts
    received = f"a dict with {', '.join(map(repr, data))}" if isinstance(data, dict) else f"{len(parts)} of them"
    raise ValueError(
        f"This model learns from pairs, x and y. Received: {received}. Give both: `model.fit(x, y)` for arrays of as "
        "many examples, or a data set of batches (x, y), for two sets of images `zoo.data.load_pair(...).batches(1)`."
    )


def check_pairs(given, shapes, replicas):
    """Checks what `fit` is given, before the first step, as `check_fit` does for each of the two domains.

    Args:
        given: {name: value} of the arguments of `keras.Model.fit`.
        shapes: Shapes of one example of x and of y.
        replicas: Number of replicas over which a batch is split.

    Returns:
        The examples of x that were looked at, an array; None where a look would use up what `x` yields.

    Raises:
        ValueError: If there is one domain alone, or examples of either do not fit.

    Example:
        >>> images = np.zeros((4, 8, 8, 1), "float32")
        >>> check_pairs({"x": images, "y": images[:3]}, [(8, 8, 1)] * 2, replicas=1)
        Traceback (most recent call last):
        ValueError: Keras takes as many of `x` as of `y`. Received: 4 and 3...
    """
    x, y = given.get("x"), given.get("y")
    if hasattr(x, "batches") or hasattr(y, "batches"):
        raise ValueError(
            "`x` must be arrays or a data set of batches (x, y). Received: a set of `zoo.data`. "
            "`zoo.data.Pair(x, y).batches(1)` gives batches of both."
        )
    if hasattr(x, "shape") and y is not None and hasattr(y, "shape"):
        if len(x) != len(y):
            raise ValueError(
                f"Keras takes as many of `x` as of `y`. Received: {len(x)} and {len(y)}. Sets of different lengths are "
                "what `zoo.data.Pair(zoo.data.Source('x', x), zoo.data.Source('y', y)).batches(1)` is for."
            )
        given = {**given, "x": (x, y)}
    elif hasattr(x, "shape") or y is not None:
        only_pairs(x if y is None else (x,))
    given = {name: value for name, value in given.items() if name != "y"}
    looked_at = []
    for side, shape in enumerate(shapes):

        def examples_of(data, side=side):
            return only_pairs(data)[side]

        try:
            looked_at.append(check_fit(given, shape, replicas, examples_of, has_held_out_loss=True))
        except ValueError as error:
            raise ValueError(f"Images of {'xy'[side]}: {error}") from None
    return looked_at[0]


def check_translators(generator_xy, generator_yx, discriminator_x, discriminator_y, same_channels=False):
    """Checks that two generators translate between two domains of images of one size, and that two networks judge them.

    Args:
        generator_xy: `keras.Model` from images of X to images of Y.
        generator_yx: The other way.
        discriminator_x: `keras.Model` from images of X, of fixed size, to scores (batch, ..., 1).
        discriminator_y: The same for Y.
        same_channels: Whether images of both domains must have as many channels.

    Raises:
        ValueError: If the shapes do not fit, or a network has no fixed shapes yet.

    Example:
        >>> shape = (16, 16, 3)
        >>> generator = zoo.resnet_generator(shape, filters=2, num_blocks=1, out_channels=1)
        >>> check_translators(generator, generator, *(zoo.patch_discriminator(shape, filters=2) for _ in range(2)))
        Traceback (most recent call last):
        ValueError: The generator_xy must make images (16, 16, 3) from images (16, 16, 3)... it makes (16, 16, 1)...
    """
    generators = {"generator_xy": generator_xy, "generator_yx": generator_yx}
    discriminators = {"discriminator_x": discriminator_x, "discriminator_y": discriminator_y}
    for name, network in {**generators, **discriminators}.items():
        check_network(name, network)
    for name, network in discriminators.items():
        if len(network.input_shape) != 4 or None in network.input_shape[1:]:
            raise ValueError(
                f"The {name} must take images of a fixed size (batch, height, width, channels), since the pool of "
                f"earlier images has that size. Received: input shape {network.input_shape}. Start it with "
                "`keras.Input((height, width, channels))`, as `patch_discriminator` does."
            )
        check_scores(name, network)
    shape_x, shape_y = (network.input_shape[1:] for network in discriminators.values())
    for (name, network), given, made in zip(generators.items(), (shape_x, shape_y), (shape_y, shape_x), strict=True):
        takes = fits(given, network.input_shape[1:])
        found = tuple(network.compute_output_shape((1, *given)))[1:] if takes else None
        if found != made:
            raise ValueError(
                f"The {name} must make images {made} from images {given}, the shapes that the discriminators take. "
                + (f"Received: it makes {found}." if takes else f"Received: input shape {network.input_shape}.")
                + " Build all four networks for the same height and width, and `out_channels` for the other domain."
            )
    if same_channels and shape_x != shape_y:
        raise ValueError(
            "With `identity_weight`, a generator is also given images of its own target domain, so both domains need "
            f"as many channels. Received: {shape_x} and {shape_y}. Leave `identity_weight` out, or convert the images."
        )
