"""Metrics of models: plain functions on NumPy arrays, in float64, that know no model class."""

from zoo.checks import no_such_name
from zoo.metrics.checks import MetricWarning
from zoo.metrics.copying import nearer_to_training
from zoo.metrics.detection import coco_average_precision
from zoo.metrics.features import ClassifierFeatures, FeatureExtractor, classifier_features, frechet
from zoo.metrics.frechet import frechet_distance, gaussian_frechet_distance
from zoo.metrics.modes import mode_coverage
from zoo.metrics.neighbours import neighbour_accuracy
from zoo.metrics.segmentation import class_iou, confusion_matrix, segmentation_scores
from zoo.metrics.text import perplexity, translation_quality
from zoo.metrics.wasserstein import wasserstein_2

__all__ = [
    "ClassifierFeatures",
    "FeatureExtractor",
    "MetricWarning",
    "class_iou",
    "classifier_features",
    "coco_average_precision",
    "confusion_matrix",
    "frechet",
    "frechet_distance",
    "gaussian_frechet_distance",
    "mode_coverage",
    "nearer_to_training",
    "neighbour_accuracy",
    "perplexity",
    "segmentation_scores",
    "translation_quality",
    "wasserstein_2",
]

__getattr__ = no_such_name(__name__, __all__)
