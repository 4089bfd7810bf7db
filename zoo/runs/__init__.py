"""A run: one folder, one command. Options, devices, data, resume, training, evaluation, figures and publishing.

    runs.main(Config, train)                       # in a recipe: the command line
    runs.run("wgan_gp", config, build)             # from scratch, or from where the run folder stands

Importing this package does not import TensorFlow.
"""

from zoo.runs.config import RunConfig, execution, main, start
from zoo.runs.ending import report
from zoo.runs.running import run

__all__ = ["RunConfig", "execution", "main", "report", "run", "start"]
