"""Data by name, or from files, as `tf.data` pipelines whose order can be resumed.

    from zoo import data

    source = data.load("digits", split="train")
    batches = source.batches(64, seed=0)
    pair = data.load_pair(("cifar10/horse", "cifar10/deer"))
    texts = data.load_text("multi30k/de-en")
    scenes = data.load_detection("scenes")
    labelled = data.load_segmentation("scenes")

Sets larger than memory are folders of records: `python -m zoo.data.records SOURCE OUT` writes them.

Importing this package does not import TensorFlow.
"""

from zoo.checks import no_such_name
from zoo.data.corpora import load_text
from zoo.data.detection import DetectionSource
from zoo.data.detection_sets import load_detection
from zoo.data.loading import load, names
from zoo.data.pairs import Pair, load_pair
from zoo.data.segmentation import SegmentationSource
from zoo.data.segmentation_sets import load_segmentation
from zoo.data.source import Source
from zoo.data.text import TextPairs

__all__ = [
    "DetectionSource",
    "Pair",
    "SegmentationSource",
    "Source",
    "TextPairs",
    "load",
    "load_detection",
    "load_pair",
    "load_segmentation",
    "load_text",
    "names",
]

__getattr__ = no_such_name(__name__, __all__)
