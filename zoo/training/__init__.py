"""What custom train steps share: the only room that knows replicas, loss scale, random streams and compilation.

A train step reads

    batch = self.open_batch(images)
    latents = batch.normal("generator", (latent_dim,))
    terms = minimize(self.generator_objective, (latents,), self.generator, self.generator_optimizer, batch)
    return self.track(batch, **terms)

and gives the same weights on one replica and on many, in one run and in an interrupted one, in one piece and in
micro-batches, with and without XLA.
"""

from zoo.training.batch import GlobalBatch
from zoo.training.codes import CodeModel, check_coder
from zoo.training.detections import DetectionModel
from zoo.training.guard import StopOnNonFinite
from zoo.training.inputs import images_by_size, in_order, rows_of
from zoo.training.latents import (
    LatentModel,
    averaged,
    batch_norms,
    check_features,
    check_functional,
    check_generator,
    check_judge,
    check_no_batch_norm,
    check_scores,
    draw_keys,
    first_draw_keys,
    latents_of,
    shares,
    with_shapes,
)
from zoo.training.loop import TrainFunction
from zoo.training.model import TrainStepModel, whole_number
from zoo.training.muon import Muon
from zoo.training.outputs import range_of
from zoo.training.pairs import check_pairs, check_translators, only_pairs
from zoo.training.pool import ImagePool
from zoo.training.segmentation import SegmentationModel, confusion_of
from zoo.training.sgd import SGD
from zoo.training.texts import TextModel, is_most_likely, shifted
from zoo.training.updates import minimize, update_average, update_each
from zoo.training.workers import (
    distribute,
    is_chief,
    lost_workers_named,
    num_workers,
    share_weights,
)

__all__ = [
    "SGD",
    "CodeModel",
    "DetectionModel",
    "GlobalBatch",
    "ImagePool",
    "LatentModel",
    "Muon",
    "SegmentationModel",
    "StopOnNonFinite",
    "TextModel",
    "TrainFunction",
    "TrainStepModel",
    "averaged",
    "batch_norms",
    "check_coder",
    "check_features",
    "check_functional",
    "check_generator",
    "check_judge",
    "check_no_batch_norm",
    "check_pairs",
    "check_scores",
    "check_translators",
    "confusion_of",
    "distribute",
    "draw_keys",
    "first_draw_keys",
    "images_by_size",
    "in_order",
    "is_chief",
    "is_most_likely",
    "latents_of",
    "lost_workers_named",
    "minimize",
    "num_workers",
    "only_pairs",
    "range_of",
    "rows_of",
    "share_weights",
    "shares",
    "shifted",
    "update_average",
    "update_each",
    "whole_number",
    "with_shapes",
]
