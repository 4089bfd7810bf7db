"""One readable file per model: options, networks, model, run. `python -m recipes.<name> --help` shows them all."""
