"""Callbacks that Keras lacks: sample pictures and texts, metrics between epochs, atomic checkpoints, time left.

They know no model class, only `steps_taken`, `request_stop` and `stop_requested`.
"""

from zoo.callbacks.checkpoints import Checkpoint, KeepBest, reserve, save_weights
from zoo.callbacks.clock import Countdown, Progress, TimeBudget, duration
from zoo.callbacks.logs import Evaluate, History, read_history
from zoo.callbacks.samples import Pictures, SampleGrid, Texts

__all__ = [
    "Checkpoint",
    "Countdown",
    "Evaluate",
    "History",
    "KeepBest",
    "Pictures",
    "Progress",
    "SampleGrid",
    "Texts",
    "TimeBudget",
    "duration",
    "read_history",
    "reserve",
    "save_weights",
]
