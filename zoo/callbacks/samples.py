"""Pictures of what a model makes while it trains."""

from pathlib import Path

import keras
import tensorflow as tf

from zoo import pictures
from zoo.checks import check_folder, check_positive
from zoo.files import write_text


class Pictures(keras.callbacks.Callback):
    """Draws at the end of an epoch, as PNG files and as images in TensorBoard.

    Args:
        draw: Function of the model that returns {name: picture}, a picture being uint8 (height, width, 3 or 4).
        folder: Where `<name>/epoch-0001.png` and so on are written.
        log_dir: TensorBoard folder, or None.
        every: Draw each `every`-th epoch.

    Raises:
        NotADirectoryError: If `folder` is a file.
        ValueError: If `every` is no whole number of 1 or more.

    Example:
        >>> def draw(model):
        ...     return {"grey": np.full((8, 8, 3), 128, "uint8")}
        >>> model = zoo.Autoencoder(zoo.mlp_encoder((2,), 1), zoo.mlp_decoder((2,), 1))
        >>> model.compile()
        >>> _ = model.fit(np.eye(2), verbose=0, callbacks=[Pictures(draw, "pictures")])
        >>> [path.as_posix() for path in Path("pictures").rglob("*.png")]
        ['pictures/grey/epoch-0001.png']
    """

    def __init__(self, draw, folder, log_dir=None, *, every=1):
        super().__init__()
        check_positive("every", every)
        self.draw, self.folder, self.every = draw, Path(folder), every
        check_folder("folder", self.folder)
        self.writer = tf.summary.create_file_writer(str(log_dir)) if log_dir else None

    def on_epoch_end(self, epoch, logs=None):
        """Draws and writes the pictures of this epoch."""
        if (epoch + 1) % self.every:
            return
        for name, picture in self.draw(self.model).items():
            pictures.save(picture, self.path(name, epoch + 1))
            if self.writer:
                with self.writer.as_default():
                    tf.summary.image(name, picture[None], step=epoch)
        if self.writer:
            self.writer.flush()

    def path(self, name, epoch):
        """The file of a picture."""
        return self.folder / name / f"epoch-{epoch:04d}.png"


class SampleGrid(Pictures):
    """Draws the same seeded samples at the end of each epoch, as a PNG file and as an image in TensorBoard.

    Args:
        folder: Where `epoch-0001.png` and so on are written.
        log_dir: TensorBoard folder, or None.
        num_samples: Number of samples.
        reference: Points (n, 2) to draw behind generated points, or None.
        every: Draw each `every`-th epoch.
        seed: Seed of the samples.

    Raises:
        NotADirectoryError: If `folder` is a file.
        ValueError: If `num_samples` or `every` is no whole number of 1 or more.

    Example:
        >>> model = zoo.GAN(zoo.mlp_generator((2,)), zoo.mlp_critic((2,)))
        >>> model.compile()
        >>> _ = model.fit(np.eye(2), verbose=0, callbacks=[SampleGrid("samples", num_samples=16)])
        >>> [path.as_posix() for path in Path("samples").iterdir()]
        ['samples/epoch-0001.png']

        model.fit(images, epochs=20, callbacks=[SampleGrid("runs/fashion/samples", "runs/fashion/logs")])
    """

    def __init__(self, folder, log_dir=None, *, num_samples=64, reference=None, every=1, seed=0):
        check_positive("num_samples", num_samples)

        def draw(model):
            return {"samples": pictures.draw(model.generate(num_samples, seed), reference)}

        super().__init__(draw, folder, log_dir, every=every)

    def path(self, name, epoch):
        """The file of a picture, which are all of one kind."""
        return self.folder / f"epoch-{epoch:04d}.png"


class Texts(keras.callbacks.Callback):
    """Writes at the end of an epoch what a model says, as text files and as text in TensorBoard.

    Args:
        write: Function of the model that returns {name: text, in Markdown}.
        folder: Where `<name>/epoch-0001.md` and so on are written.
        log_dir: TensorBoard folder, or None.
        every: Write each `every`-th epoch.

    Raises:
        NotADirectoryError: If `folder` is a file.
        ValueError: If `every` is no whole number of 1 or more.

    Example:
        >>> def write(model):
        ...     return {"said": f"Steps: {model.steps_taken}"}
        >>> model = zoo.Autoencoder(zoo.mlp_encoder((2,), 1), zoo.mlp_decoder((2,), 1))
        >>> model.compile()
        >>> _ = model.fit(np.eye(2), verbose=0, callbacks=[Texts(write, "texts")])
        >>> Path("texts/said/epoch-0001.md").read_text()
        'Steps: 1'
    """

    def __init__(self, write, folder, log_dir=None, *, every=1):
        super().__init__()
        check_positive("every", every)
        self.write, self.folder, self.every = write, Path(folder), every
        check_folder("folder", self.folder)
        self.writer = tf.summary.create_file_writer(str(log_dir)) if log_dir else None

    def on_epoch_end(self, epoch, logs=None):
        """Writes the texts of this epoch."""
        if (epoch + 1) % self.every:
            return
        for name, text in self.write(self.model).items():
            path = self.folder / name / f"epoch-{epoch + 1:04d}.md"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, text)
            if self.writer:
                with self.writer.as_default():
                    tf.summary.text(name, text, step=epoch)
        if self.writer:
            self.writer.flush()
