"""The small convolutional classifier behind the default feature extractor: network, training, cache file."""

import concurrent.futures
import hashlib
import io
import re
import sys
import time
import warnings

import numpy as np

from zoo.archive import read_npz
from zoo.files import write_bytes
from zoo.metrics.checks import MetricWarning

# Raise it whenever the network or its training changes: it is part of every cache key and every label.
VERSION = 1
PREPROCESSING = "float32 images in [-1, 1], no resizing"
FEATURE_DIMENSION = 64
BATCH_SIZE = 64
LEARNING_RATE = 2e-3
DEFAULT_NUM_EXAMPLES = 80_000
MAX_DEFAULT_EPOCHS = 20
MAX_CLASSES = 10_000


def default_epochs(num_images):
    """Epochs that show about 80,000 examples to the network: 20 at most, 2 at least."""
    return int(np.clip(round(DEFAULT_NUM_EXAMPLES / num_images), 2, MAX_DEFAULT_EPOCHS))


def check_labels(labels, num_images):
    """Returns integer labels (n,) in 0..classes-1, or says what is wrong with them."""
    labels = np.asarray(labels)
    if labels.shape != (num_images,) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"`labels` must be whole numbers of shape ({num_images},), one an image. Received: shape "
            f"{labels.shape}, dtype {labels.dtype}. From one-hot labels take `labels.argmax(-1)`."
        )
    classes = np.unique(labels)
    if len(classes) < 2 or classes[0] < 0 or classes[-1] >= MAX_CLASSES:
        raise ValueError(
            f"`labels` must name at least 2 classes, numbered from 0 and below {MAX_CLASSES}. Received: "
            f"{len(classes)} class(es) from {classes[0]} to {classes[-1]}. "
            "Renumber them with `np.unique(labels, return_inverse=True)[1]`."
        )
    return labels.astype(np.int64)


def check_settings(name, seed, epochs):
    """Raises when the name cannot be part of a file name, or a number is out of range."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise ValueError(
            "`name` must consist of letters, digits, '.', '_' and '-', because it becomes part of a file "
            f"name and of the label. Received: {name!r}. Pass the name of the data set, such as 'digits'."
        )
    for argument, value, minimum in (("seed", seed, 0), ("epochs", epochs, 1)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < minimum:
            raise ValueError(f"`{argument}` must be a whole number >= {minimum}. Received: {value!r}.")


def in_fresh_thread(function, *args):
    """Runs `function` where no strategy, dtype policy, name scope or seed of the caller applies.

    TensorFlow keeps the distribution strategy, and Keras its global state, per thread.
    """
    with concurrent.futures.ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(function, *args).result()


def build_network(image_shape, num_classes, seed):
    """The classifier: images (n, h, w, c) -> [features (n, 64), logits (n, classes)], on the CPU."""
    import keras
    import tensorflow as tf

    seeds = iter(np.random.default_rng(seed).integers(2**31, size=5).tolist())

    def settings(name):
        initializer = keras.initializers.GlorotUniform(seed=next(seeds))
        return {"kernel_initializer": initializer, "dtype": "float32", "name": name}

    def convolution(filters, strides, name):
        return keras.layers.Conv2D(
            filters,
            3,
            strides=strides,
            padding="same",
            activation="gelu",
            data_format="channels_last",
            **settings(name),
        )

    large = min(image_shape[:2]) >= 16
    with tf.device("/CPU:0"):
        images = keras.Input(image_shape, dtype="float32", name="images")
        x = convolution(32, 2 if large else 1, "convolution_1")(images)
        x = convolution(64, 2, "convolution_2")(x)
        x = convolution(64, 2 if large else 1, "convolution_3")(x)
        x = keras.layers.GlobalMaxPooling2D("channels_last", dtype="float32", name="pooling")(x)
        features = keras.layers.Dense(FEATURE_DIMENSION, activation="gelu", **settings("features"))(x)
        logits = keras.layers.Dense(num_classes, **settings("logits"))(features)
        return keras.Model(images, [features, logits], name="feature_classifier")


def train(network, images, labels, seed, epochs, title):
    """Fits the logits with Adam, a cosine schedule and seeded shuffling; prints one progress line."""
    import keras
    import tensorflow as tf

    start = time.perf_counter()
    steps = epochs * -(-len(images) // BATCH_SIZE)
    with tf.device("/CPU:0"):
        model = keras.Model(network.inputs, network.outputs[1], name="training")
        model.compile(
            optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps), name="adam"),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype="float32"),
            metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy", dtype="float32")],
            jit_compile=False,
        )
        for epoch in range(epochs):
            order = np.random.default_rng([seed, epoch]).permutation(len(images))
            history = model.fit(images[order], labels[order], batch_size=BATCH_SIZE, shuffle=False, verbose=0).history
            accuracy, seconds = history["accuracy"][-1], time.perf_counter() - start
            line = f"{title}: epoch {epoch + 1}/{epochs}, accuracy {accuracy:.1%}, {seconds:.0f} s"
            show_progress(line, last=epoch + 1 == epochs)


def show_progress(line, last):
    """Rewrites one line of a terminal; elsewhere prints the last line only."""
    if sys.stderr.isatty():
        print(f"\r{line}", end="\n" if last else "", file=sys.stderr, flush=True)
    elif last:
        print(line, file=sys.stderr, flush=True)


def weights_hash(weights, image_shape):
    """The last 8 hexadecimal digits of the SHA-256 over weights and preprocessing."""
    digest = hashlib.sha256(f"{VERSION} {tuple(image_shape)} {PREPROCESSING}".encode())
    for weight in weights:
        digest.update(str(weight.shape).encode())
        digest.update(np.ascontiguousarray(weight, dtype="<f4").tobytes())
    return digest.hexdigest()[-8:]


def cache_name(images, labels, name, seed, epochs):
    """The file name of a trained classifier: everything its weights depend on."""
    digest = hashlib.sha256(np.ascontiguousarray(images, dtype="<f4").tobytes())
    digest.update(np.ascontiguousarray(labels, dtype="<i8").tobytes())
    shape = "x".join(map(str, images.shape[1:]))
    data = f"n{len(images)}-data{digest.hexdigest()[:16]}"
    return f"cnn-{name}-{shape}-{data}-seed{seed}-epochs{epochs}-v{VERSION}.npz"


def save_weights(path, weights):
    """Writes the weights beside `path` and renames: no interruption leaves half a file under that name."""
    content = io.BytesIO()
    np.savez(content, **{f"weight_{index}": weight for index, weight in enumerate(weights)})
    try:
        write_bytes(path, content.getvalue())
    except OSError as error:
        warnings.warn(
            f"The feature classifier could not be saved: {error}. It is used without a cache and will be "
            "trained again next time. Pass a `cache_dir` that can be written.",
            MetricWarning,
            stacklevel=3,
        )


def load_weights(path, shapes):
    """Returns the cached weights, or None where there are none or the file is broken (with a warning)."""
    try:
        with open(path, "rb") as stream:
            file = read_npz(stream)
        weights = [file[f"weight_{index}"] for index in range(len(shapes))]
        if [weight.shape for weight in weights] != shapes:
            raise ValueError("weights of other shapes")
        if not all(weight.dtype == np.float32 and np.isfinite(weight).all() for weight in weights):
            raise ValueError("weights that are not finite float32 numbers")
        return weights
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError) as error:
        warnings.warn(
            f"The cached feature classifier {path} is broken ({error}). It is trained again and replaced.",
            MetricWarning,
            stacklevel=3,
        )
        return None
