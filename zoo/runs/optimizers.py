"""The optimizer of recipes of networks that see images."""


def cosine_optimizer(config, scores=()):
    """The optimizer, whose step size rises in a straight line, and then falls like a cosine until the last epoch.

    Args:
        config: `RunConfig` with `optimizer`, "adam", "muon" or "sgd", `learning_rate`, `warm_up_steps`, `momentum`,
            `weight_decay` and `clip`.
        scores: Patterns of the paths of the layers that score classes, which Muon leaves to AdamW.

    Returns:
        Keras optimizer.
    """
    import keras

    from zoo.training import SGD, Muon

    total = config.epochs * config.steps_per_epoch
    warm_up = min(config.warm_up_steps, total // 2)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0 if warm_up else config.learning_rate,
        total - warm_up,
        warmup_target=config.learning_rate if warm_up else None,
        warmup_steps=warm_up,
    )
    shared = {"weight_decay": config.weight_decay or None, "global_clipnorm": config.clip}
    if config.optimizer == "adam":
        return keras.optimizers.AdamW(rate, **shared)
    if config.optimizer == "muon":
        return Muon(rate, adam_weight_decay=shared["weight_decay"], exclude_layers=list(scores), **shared)
    return SGD(rate, momentum=config.momentum, **shared)
