"""One worker of several: trains the rows of the table as a `Subject` is first, and writes what the chief ends with.

python -m zoo.launch --workers 2 -m tests.helpers.worker FOLDER
"""

import sys
from pathlib import Path

import numpy as np

from tests.helpers.rows import ROWS, UNEVEN, compile_sgd, fit
from tests.helpers.seeds import seed
from zoo.runs.devices import make_strategy
from zoo.training import is_chief

# One of them in all ways at once.
EXTRA = {"wgan": {"jit_compile": True, "gradient_accumulation_steps": 2}}


def read(path):
    with np.load(path) as arrays:
        return [arrays[name] for name in arrays.files]


def main(folder):
    strategy = make_strategy("multiworker")
    for name, row in ROWS.items():
        seed()
        with strategy.scope():
            model = row.build()
            compile_sgd(model, row.learning_rate, steps_per_execution=3, **EXTRA.get(name, {}))
        logs = fit(model, row.examples(UNEVEN[0]), batch_size=UNEVEN[1]).history
        if is_chief(strategy):
            model.save(folder / f"{name}.keras")
            np.savez(folder / f"{name}.end.npz", *model.get_weights())
            np.savez(folder / f"{name}.logs.npz", **logs)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
