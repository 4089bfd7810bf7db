"""The end of a run: evaluation, figures, the saved model, publishing and the report."""

import json
import shlex
import sys
from pathlib import Path

from zoo.files import replacing
from zoo.runs.folder import judging_of, read_baselines, read_json, write_json
from zoo.saving import FILE_OF_A_RUN


def finish(name, config, folder, model, task, steps):
    """Evaluates, draws the figures, saves the model, publishes it, and says what was reached."""
    from zoo import pictures

    figures = {**task.evaluate(model), **task.conclude(model)}
    previous = read_json(folder / "metrics.json")
    metrics = {"steps": steps, **figures, **read_baselines(folder)}
    draw_history(folder, model.terms)
    for picture_name, picture in task.draw(model).items():
        pictures.save(picture, folder / "figures" / f"{picture_name}.png")
    with replacing(folder / FILE_OF_A_RUN) as beside:
        model.save(beside, overwrite=True)
    if config.exports:
        from zoo.serving import publish

        if previous.get("steps") == steps and is_published(previous.get("export"), config):
            metrics["export"] = previous["export"]
        else:
            card = {
                "data": {"name": task.data.name, "origin": task.data.origin},
                "command": shlex.join(["python", *sys.orig_argv[1:]]),
                "figures": figures,
                "config": json.loads((folder / "config.json").read_text()),
            }
            if hasattr(task, "classes"):
                # What `zoo predict` writes beside what it draws.
                card["classes"] = task.classes
            metrics["export"] = str(publish(model, config.exports, name, card=card))
    write_json(folder / "metrics.json", metrics)
    print(f"After {steps} steps: {task.report(metrics)}")
    print(f"Model: zoo.load({str(folder)!r}) loads {folder / FILE_OF_A_RUN}")
    print(f"Pictures: {folder / 'figures'} and {folder / 'samples'}")
    if "export" in metrics:
        print(f"Published: {metrics['export']}")
    return metrics


def is_published(path, config):
    """Whether an earlier command of a run has published it, as it is judged now: what finds is part of an export.

    Args:
        path: Where metrics.json says that the export is, or anything.
        config: `RunConfig`.
    """
    if not isinstance(path, str) or not Path(path).exists():
        return False
    card = read_json(Path(path) / "assets.extra" / "model_card.json")
    return judging_of(config, card.get("config", {})) == judging_of(config)


def draw_history(folder, terms):
    """Draws the loss curves of history.jsonl, if there are any."""
    from zoo import pictures
    from zoo.callbacks import read_history

    rows = read_history(folder / "history.jsonl")
    if rows:
        columns = {term: [row[term] for row in rows] for term in terms}
        pictures.save(pictures.curves(columns, "epoch"), folder / "figures" / "losses.png")
