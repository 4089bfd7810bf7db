"""The optimizer of recipes of networks that see images, and what a resumed run says of learning rates."""

from dataclasses import replace


def cosine_optimizer(config, scores=()):
    """The optimizer, whose step size rises in a straight line, and then falls like a cosine until the last epoch.

    Args:
        config: `RunConfig` with `optimizer`, "adam", "muon" or "sgd", `learning_rate`, `warm_up_steps`, `momentum`,
            `weight_decay` and `clip`.
        scores: Patterns of the paths of the layers that score classes, which Muon leaves to AdamW.

    Returns:
        Keras optimizer.

    Example:
        >>> from types import SimpleNamespace
        >>> length = {"epochs": 2, "steps_per_epoch": 100, "warm_up_steps": 10}
        >>> config = SimpleNamespace(optimizer="adam", learning_rate=1e-3, weight_decay=0.05, clip=1.0, **length)
        >>> optimizer = cosine_optimizer(config)
        >>> optimizer.name, optimizer.weight_decay, optimizer.global_clipnorm
        ('adam_w', 0.05, 1.0)
    """
    import keras

    from zoo.training import SGD, Muon

    rate = cosine_rate(config)
    shared = {"weight_decay": config.weight_decay or None, "global_clipnorm": config.clip}
    if config.optimizer == "adam":
        return keras.optimizers.AdamW(rate, **shared)
    if config.optimizer == "muon":
        return Muon(rate, adam_weight_decay=shared["weight_decay"], exclude_layers=list(scores), **shared)
    return SGD(rate, momentum=config.momentum, **shared)


def cosine_rate(config):
    """The learning rate of `cosine_optimizer`, a schedule over all epochs.

    Example:
        >>> from types import SimpleNamespace
        >>> config = SimpleNamespace(learning_rate=1e-3, warm_up_steps=10, epochs=2, steps_per_epoch=100)
        >>> rate = cosine_rate(config)
        >>> [round(float(rate(step)), 5) for step in (0, 5, 10, 105, 200)]
        [0.0, 0.0005, 0.001, 0.0005, 0.0]
    """
    import keras

    total = config.epochs * config.steps_per_epoch
    warm_up = min(config.warm_up_steps, total // 2)
    return keras.optimizers.schedules.CosineDecay(
        0.0 if warm_up else config.learning_rate,
        total - warm_up,
        warmup_target=config.learning_rate if warm_up else None,
        warmup_steps=warm_up,
    )


def change_of_rate(rate_of, config, epochs_before, step):
    """What another number of epochs does to the learning rate of a run that goes on; None if nothing.

    Args:
        rate_of: Function of a configuration that returns a schedule, or a number.
        config: `RunConfig`, with `steps_per_epoch`.
        epochs_before: `epochs` of the command before; nothing is said where it is no number of epochs.
        step: Steps taken so far.

    Returns:
        One line, or None.
    """
    if epochs_before == config.epochs or not isinstance(epochs_before, int) or epochs_before < 1:
        return None
    rates = [rate_of(replace(config, epochs=epochs)) for epochs in (epochs_before, config.epochs)]
    if not any(map(callable, rates)):
        return None
    before, now = (float(rate(step)) if callable(rate) else rate for rate in rates)
    return (
        f"`--epochs` is {config.epochs}, and was {epochs_before}: the learning rate follows it, and is {now:.3g} from "
        f"step {step} on instead of {before:.3g}."
    )
