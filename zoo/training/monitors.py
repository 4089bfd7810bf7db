"""What callbacks watch: the figures that a model logs, and whether more or less of one is better."""

import keras

_STOCK = ("keras", "zoo")


def settle_monitors(model, callbacks):
    """Tells callbacks that watch a figure which way is better, and refuses those that would never see theirs.

    Keras looks for the direction of a figure among metrics given to its own `compile`, and otherwise raises after the
    first epoch.

    Args:
        model: `TrainStepModel`.
        callbacks: List of `keras.callbacks.Callback`s, in the order in which they see the logs. Of those that watch a
            term or a figure of the model with mode "auto", `mode` becomes "min" or "max".

    Raises:
        ValueError: If the model does not log what one watches, and neither it nor a callback before it can, or if
            nothing says whether more or less of it is better.
    """
    for place, callback in enumerate(callbacks):
        monitor, mode = getattr(callback, "monitor", None), getattr(callback, "mode", None)
        if not isinstance(monitor, str):
            continue
        name, before = monitor.removeprefix("val_"), callbacks[:place]
        better = {**model.better, **{name: way for one in before for name, way in getattr(one, "better", {}).items()}}
        if mode == "auto" and name != "loss":
            if name not in better:
                raise ValueError(
                    f"`{_said(callback)}` must say which way is better, since `{monitor}` is no figure of the model's "
                    f'own: mode="min" or mode="max". Received: mode="auto". The model knows it of '
                    f"{', '.join(better)}."
                )
            callback.mode = better[name]
        # Somebody's own callback may compute what it watches, under whatever name.
        if getattr(callback, "save_best_only", True) and not any(map(_adds_to_logs, callbacks[: place + 1])):
            _check_logged(model, callback, name, held_out=name != monitor)


def _check_logged(model, callback, name, held_out):
    # Callbacks of learning rates log them.
    if name.startswith("learning_rate") or name in model.better and (model.has_held_out_loss or not held_out):
        return
    kind, example = type(model).__name__, f"{type(callback).__name__}('{model.terms[-1]}')"
    if name in model.better:
        reason = f"{kind} has no loss on held-out data"
    elif name != "loss":
        reason = f"{kind} logs no such figure, nor does a callback before it"
    else:
        reason = f"{kind} has no single loss: its players lower one each"
        example = example.replace("('", "('val_") if held_out and model.has_held_out_loss else example
    raise ValueError(
        f"`{_said(callback)}` would never see `{callback.monitor}`: {reason}. Watch one of its terms, "
        f"{', '.join(model.terms)}, as `{example}`; or what a `zoo.callbacks.Evaluate` before it measures, with `mode`."
    )


def _adds_to_logs(callback):
    """Whether a callback may log figures: none of Keras's does but that which calls any function."""
    is_stock = type(callback).__module__.partition(".")[0] in _STOCK
    return getattr(callback, "adds_to_logs", not is_stock or isinstance(callback, keras.callbacks.LambdaCallback))


def _said(callback):
    return f"{type(callback).__name__}(monitor={callback.monitor!r})"
