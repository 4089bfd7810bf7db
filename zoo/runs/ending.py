"""The end of a run: evaluation, figures, the saved model, publishing and the report."""

import json
import shlex
import sys
from pathlib import Path

from zoo.files import replacing
from zoo.runs.folder import read_json, write_json


def finish(name, config, folder, model, evaluate, steps):
    """Evaluates, draws the figures, saves the model, publishes it, and says what was reached."""
    from zoo import pictures

    figures = evaluate(model)
    previous = read_json(folder / "metrics.json")
    metrics = {"steps": steps, **figures, **read_json(folder / "baselines.json")}
    draw_history(folder, model.terms)
    examples = model.generate(2500 if not evaluate.train.is_images else 64, seed=0)
    reference = None if evaluate.train.is_images else evaluate.train.examples(2500, seed=0)
    pictures.save(pictures.draw(examples, reference), folder / "figures" / "samples.png")
    with replacing(folder / "model.keras") as beside:
        model.save(beside, overwrite=True)
    if config.exports:
        from zoo.serving import publish

        published = previous.get("export")
        if published and previous.get("steps") == steps and Path(published).exists():
            metrics["export"] = published
        else:
            card = {
                "data": {"name": evaluate.train.name, "origin": evaluate.train.origin},
                "command": shlex.join(["python", *sys.orig_argv[1:]]),
                "figures": figures,
                "config": json.loads((folder / "config.json").read_text()),
            }
            metrics["export"] = str(publish(model, config.exports, name, card=card))
    write_json(folder / "metrics.json", metrics)
    print(report(metrics, evaluate.headline))
    print(f"Pictures: {folder / 'figures'} and {folder / 'samples'}")
    if "export" in metrics:
        print(f"Published: {metrics['export']}")
    return metrics


def report(metrics, headline):
    """One line that sets the main figure beside that of real and of untrained examples."""
    if headline is None:
        return f"{metrics['steps']} steps. No metric is defined for unlabelled images."
    name = metrics.get("frechet_label", headline)
    real, untrained = metrics.get("real", {}), metrics.get("untrained", {})
    numbers = [
        f"{key} {source[headline]:.4g}"
        for key, source in (("real examples", real), ("untrained", untrained))
        if headline in source
    ]
    line = f"After {metrics['steps']} steps: {name} = {metrics[headline]:.4g} ({', '.join(numbers)})."
    if "high_quality" in metrics:
        line += f" High quality {100 * metrics['high_quality']:.1f} %, W2 {metrics['wasserstein_2']:.3g}."
    return line


def draw_history(folder, terms):
    """Draws the loss curves of history.jsonl, if there are any."""
    from zoo import pictures
    from zoo.callbacks import read_history

    rows = read_history(folder / "history.jsonl")
    if rows:
        columns = {term: [row[term] for row in rows] for term in terms}
        pictures.save(pictures.curves(columns, "epoch"), folder / "figures" / "losses.png")
