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
        ValueError: If the model does not log what one watches, and no callback before it can, or if nothing says
            whether more or less of it is better.
    """
    for place, callback in enumerate(callbacks):
        monitor, mode = getattr(callback, "monitor", None), getattr(callback, "mode", None)
        if not isinstance(monitor, str):
            continue
        name = monitor.removeprefix("val_")
        if getattr(callback, "save_best_only", True) and not any(map(_adds_to_logs, callbacks[:place])):
            _check_logged(model, callback, name, held_out=name != monitor)
        if mode == "auto" and name != "loss":
            if name not in model.better:
                raise ValueError(
                    f"`{_said(callback)}` must say which way is better, since `{monitor}` is no figure of the model's "
                    f'own: mode="min" or mode="max". Received: mode="auto". The model knows it of '
                    f"{', '.join(model.better)}."
                )
            callback.mode = model.better[name]


def _check_logged(model, callback, name, held_out):
    known = {*model.better, *(["loss"] if model.objective_terms else [])}
    if name in known and (model.has_held_out_loss or not held_out):
        return
    if name not in {*known, "loss"}:
        # Of whatever name, there may be a callback of somebody's own that logs it.
        return
    kind, example = type(model).__name__, f"{type(callback).__name__}('{model.terms[-1]}')"
    if name in known:
        reason = f"{kind} has no loss on held-out data"
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
