"""Options that every recipe has, and the command line that sets them."""

import dataclasses
import os
import re
import sys
import traceback
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar, Literal

from zoo.checks import check_number, check_whole
from zoo.runs.help import Heading, help_of


def option(default, *, free=False, judging=False):
    """The field of an option, with what is to be known of it.

    Args:
        default: Its default.
        free: Whether it may differ between the commands that continue one run: it changes neither what has been trained
            so far nor, but for rounding, what will be. A subclass that sets another default leaves it free.
        judging: Whether it shapes what evaluations measure, so that measures are not compared with those of another
            value of it. Such an option shapes nothing that is trained, and is free.

    Returns:
        What stands in place of the default in a dataclass.

    Example:
        >>> @dataclass(frozen=True, kw_only=True)
        ... class Config(RunConfig):
        ...     data: str = "ring"
        ...     judged_images: int = option(1000, judging=True)
        >>> Config().judged_images, judging_options(Config)
        (1000, {'judged_images'})
    """
    return dataclasses.field(default=default, metadata={"free": free or judging, "judging": judging})


def free_options(config_class):
    """The names of the options that may differ between the commands that continue one run."""
    return _told(config_class, "free")


def judging_options(config_class):
    """The names of the options that shape what evaluations measure, but nothing that is trained."""
    return _told(config_class, "judging")


def _told(config_class, what):
    # Of the class that said something of the field: an override of the default says nothing.
    told = [one.__dataclass_fields__ for one in reversed(config_class.__mro__) if hasattr(one, "__dataclass_fields__")]
    known = {name: one.metadata for fields in told for name, one in fields.items() if one.metadata}
    return {name for name, metadata in known.items() if metadata[what]}


def flag_of(name):
    """An option as it is typed: "--batch-size" of "batch_size"."""
    return "--" + name.replace("_", "-")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Options of every recipe. Numbers must be above 0, but for those in `MAY_BE_ZERO`.

    Tuples hold one number or more, but for those in `MAY_BE_EMPTY`.

    Example:
        >>> config = RunConfig(data="ring", epochs=5)
        >>> config.epochs, config.batch_size, config.precision
        (5, 64, 'float32')
        >>> RunConfig(data="ring", patience=3).check()
        Traceback (most recent call last):
        ValueError: `--patience` needs `--best-by`, such as `--best-by frechet_distance`.
    """

    MAY_BE_ZERO: ClassVar = ("seed",)
    MAY_BE_EMPTY: ClassVar = ()

    _DATA: ClassVar = Heading("data")
    data: str
    """What to learn from; a recipe says what it knows."""
    _TRAINING: ClassVar = Heading("length of the training")
    epochs: int = option(50, free=True)
    """Epochs to have trained at the end, those of earlier commands in the same folder included."""
    steps_per_epoch: int | None = None
    """Training steps (generator updates) per epoch; None for one pass over the data."""
    batch_size: int = 64
    """Examples per update, over all replicas."""
    seed: int = 0
    """Seed of weights, order of the data and noise."""
    _FOLDER: ClassVar = Heading("run folder")
    out: Path | None = option(None, free=True)
    """Run folder; None for runs/<recipe>-<data>. The same command again resumes there."""
    exports: Path | None = option(None, free=True)
    """Folder to publish a servable version in at the end; None to publish nothing."""
    max_minutes: float | None = option(None, free=True)
    """Stop training cleanly after so many minutes; the same command again goes on."""
    _EVALUATION: ClassVar = Heading("evaluation and checkpoints")
    evaluate_every: int = option(10, free=True)
    """Evaluate each so many epochs, besides the end."""
    checkpoint_minutes: float = option(10.0, free=True)
    """Write a checkpoint at the end of each epoch, and within one after so many minutes."""
    keep_checkpoints: int = option(1, free=True)
    """How many of the newest epochs' checkpoints to keep."""
    best_by: str | None = option(None, free=True)
    """Metric whose best checkpoint is kept too, such as frechet_distance; needs evaluations."""
    patience: int | None = option(None, free=True)
    """Stop after so many evaluations in a row without a better `best_by`; None to go on."""
    _EXECUTION: ClassVar = Heading("execution")
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    """Precision of the networks; losses, penalties and weights stay in float32."""
    jit_compile: bool = option(False, free=True)
    """Compile the training step with XLA."""
    steps_per_execution: int = option(1, free=True)
    """Training steps between two looks of the callbacks."""
    gradient_accumulation_steps: int = option(1, free=True)
    """Parts in which each gradient is computed, one after the other: the same update in less memory."""
    strategy: Literal["auto", "mirrored", "multiworker", "cpu"] = option("auto", free=True)
    """Devices: auto takes TF_CONFIG's workers, else all GPUs, else the CPU."""
    replicas: int | None = option(None, free=True)
    """Replicas for mirrored; None for all GPUs. Without GPUs, logical CPUs."""
    verbose: Literal["auto", "bar", "lines", "silent"] = option("auto", free=True)
    """Progress: a bar in a terminal, else a line per epoch."""

    def check(self):
        """Checks all numbers, before anything slow begins.

        Raises:
            ValueError: If a number is out of range, or an option needs another.
        """
        for field in fields(self):
            name, value = flag_of(field.name), getattr(self, field.name)
            low = 0 if field.name in self.MAY_BE_ZERO else 1
            if value == () and field.name not in self.MAY_BE_EMPTY:
                raise ValueError(f"`{name}` needs at least one number, such as `{name} 128 128`.")
            for number in value if isinstance(value, tuple) else [value]:
                if isinstance(number, int) and not isinstance(number, bool):
                    check_whole(name, number, low=low, high=2**32 - 1)
                elif isinstance(number, float):
                    check_number(name, number, 0, above=low == 1)
        if self.patience is not None and self.best_by is None:
            raise ValueError("`--patience` needs `--best-by`, such as `--best-by frechet_distance`.")


def execution(config):
    """The options of `compile` that say how a step is executed, as `RunConfig` has them.

    Example:
        >>> execution(RunConfig(data="ring", jit_compile=True))
        {'jit_compile': True, 'steps_per_execution': 1, 'gradient_accumulation_steps': 1}
    """
    names = ("jit_compile", "steps_per_execution", "gradient_accumulation_steps")
    return {name: getattr(config, name) for name in names}


def main(config_class, train, arguments=None):
    """Parses the command line and trains.

    Args:
        config_class: Dataclass of the recipe's options, a `RunConfig`.
        train: Function of a configuration.
        arguments: Command line; None for that of the process.

    Example:
        >>> def train(config):
        ...     print("trains on", config.data, "for", config.epochs, "epochs")
        >>> main(RunConfig, train, ["--data", "ring", "--epochs", "3"])
        trains on ring for 3 epochs
    """
    import tyro

    recipe = sys.modules[config_class.__module__]
    program = f"python -m {recipe.__spec__.name if recipe.__spec__ else recipe.__name__}"
    arguments = sys.argv[1:] if arguments is None else arguments
    if {"-h", "--help"} & set(arguments):
        print(help_of(config_class, program, recipe.__doc__))
        raise SystemExit(0)
    start(train, lambda: tyro.cli(config_class, prog=program, args=arguments))


def start(train, configure):
    """Trains; what a user can mend ends in one message and exit code 1 instead of a stack of calls.

    Args:
        train: Function of a configuration.
        configure: Function that makes the configuration.

    Example:
        >>> def train(config):
        ...     print("trains on", config.data)
        >>> start(train, lambda: RunConfig(data="ring"))
        trains on ring
        >>> start(train, lambda: RunConfig(data="ring", epochs=0))  # says why on stderr
        Traceback (most recent call last):
        SystemExit: 1
    """
    config = None
    try:
        config = configure()
        config.check()
        import_tensorflow_quietly()
        train(config)
    except (ValueError, OSError, FloatingPointError) as error:
        if os.environ.get("ZOO_TRACEBACK"):
            traceback.print_exc()
        print(f"\nerror: {by_flags(str(error), config)}\n(ZOO_TRACEBACK=1 shows where it was raised.)", file=sys.stderr)
        raise SystemExit(1) from None


def by_flags(text, config):
    """A message of the library with `--image-size` for `image_size` and `--channels 1` for `channels=1`.

    Args:
        text: The message.
        config: Configuration, whose fields are the options; None leaves the text.
    """
    names = {field.name for field in fields(config)} if config is not None else set()

    def flag(match):
        name, value = match["name"], match["value"]
        if name not in names:
            return match[0]
        if value in ("True", "False") and isinstance(getattr(config, name), bool):
            return f"`{flag_of(name if value == 'True' else f'no_{name}')}`"
        return f"`{flag_of(name)} {value}`" if value else f"`{flag_of(name)}`"

    return re.sub(r"`(?P<name>[a-z]\w*)(?:=(?P<value>[^`]*))?`", flag, text)


def import_tensorflow_quietly():
    """Imports TensorFlow without its start-up notices, which it prints whatever TF_CPP_MIN_LOG_LEVEL says."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
        finally:
            os.dup2(kept, 2)
            os.close(kept)
