"""A run: one folder, one command. Options, devices, data, resume, training, evaluation, figures and publishing.

    runs.main(Config, train)                                            # in a recipe: the command line
    runs.run("wgan_gp", config, build, runs.Generation)     # from scratch, or from where the folder stands

A task is what the model learns: its data, how it is judged, what is drawn. Importing this package does not import
TensorFlow.
"""

from zoo.runs.config import RunConfig, execution, main, option, start
from zoo.runs.detection import Detection, DetectionConfig
from zoo.runs.generation import Generation, GenerationConfig, report
from zoo.runs.help import Heading
from zoo.runs.optimizers import cosine_optimizer, cosine_rate
from zoo.runs.representation import LatentVariables, Representation
from zoo.runs.running import run
from zoo.runs.segmentation import Segmentation, SegmentationConfig
from zoo.runs.text import TextConfig, TextTranslation
from zoo.runs.translation import Translation, TranslationConfig

__all__ = [
    "Detection",
    "DetectionConfig",
    "Generation",
    "GenerationConfig",
    "Heading",
    "LatentVariables",
    "Representation",
    "RunConfig",
    "Segmentation",
    "SegmentationConfig",
    "TextConfig",
    "TextTranslation",
    "Translation",
    "TranslationConfig",
    "cosine_optimizer",
    "cosine_rate",
    "execution",
    "main",
    "option",
    "report",
    "run",
    "start",
]
