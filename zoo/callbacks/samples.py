"""Pictures of samples while a model trains."""

from pathlib import Path

import keras
import tensorflow as tf

from zoo import pictures
from zoo.checks import check_folder, check_positive


class SampleGrid(keras.callbacks.Callback):
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
        model.fit(images, epochs=20, callbacks=[SampleGrid("runs/fashion/samples", "runs/fashion/logs")])
    """

    def __init__(self, folder, log_dir=None, *, num_samples=64, reference=None, every=1, seed=0):
        super().__init__()
        check_positive("num_samples", num_samples)
        check_positive("every", every)
        self.folder = Path(folder)
        check_folder("folder", self.folder)
        self.num_samples, self.reference, self.every, self.seed = num_samples, reference, every, seed
        self.writer = tf.summary.create_file_writer(str(log_dir)) if log_dir else None

    def on_epoch_end(self, epoch, logs=None):
        """Draws and writes the picture of this epoch."""
        if (epoch + 1) % self.every:
            return
        picture = pictures.draw(self.model.generate(self.num_samples, self.seed), self.reference)
        pictures.save(picture, self.folder / f"epoch-{epoch + 1:04d}.png")
        if self.writer:
            with self.writer.as_default():
                tf.summary.image("samples", picture[None], step=epoch)
            self.writer.flush()
