"""Translating with and without a cache: exports of a `Seq2Seq` in TF Serving's C++ loader.

    python -m benchmarks.decoding
    python -m benchmarks.decoding --sizes small --batch-sizes 1 --max-length 16 --rounds 3 --json decoding.json

A Transformer with random weights, in the sizes of `seq2seq_step`, is published into a temporary folder with beams of 4
and with greedy search, and asked to translate ids. The contestants take turns in one process, which never imports
TensorFlow:

- cached    `Seq2Seq` as it is: each step is given the newest tokens alone, and the keys and values of those before.
- uncached  the same searches over a `step` that runs the decoder on all tokens so far; logits are those of the newest
            alone, and keys and values of the source are computed once, as in the other.

Random weights would not end a sentence: both are made to say EOS as token `--length`. What is said before may be up to
`--max-length` tokens long, which is the size of the cache. First both must give the same ids.
"""

import argparse
import functools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.seq2seq_step import SIZES, problem
from benchmarks.side_by_side import add_json, measure, positive, print_table, ratios, spread, write_json

SEARCHES = {"beam": (4, 0.6), "greedy": (1, 0.0)}
WAYS = ("cached", "uncached")
# What a process of its own runs to publish: name of a size, tokens of a translation, of the longest one, folder.
PUBLISH = """
import sys
from benchmarks.decoding import publish
publish(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
"""


def publish(size, length, max_length, folder):
    """Publishes a model of a size for every search, with and without a cache, all with the same weights."""
    import keras
    import tensorflow as tf

    from zoo import Seq2Seq, Transformer
    from zoo.serving import publish
    from zoo.vocabulary import EOS, SPECIALS, Vocabulary

    class Cached(Transformer):
        """Ends after `length` tokens."""

        def step(self, tokens, position, memory, cache):
            logits, cache = self.logits_of(tokens, position, memory, cache)
            is_end = tf.range(self.target_size or self.source_size) == EOS
            return tf.where(is_end, tf.where(position == length - 1, 1e4, -1e4), logits), cache

        def logits_of(self, *arguments):
            return super().step(*arguments)

    class Uncached(Cached):
        """Whose cache is the tokens so far."""

        def start(self, memory, num_beams, max_length):
            return tf.zeros((tf.shape(memory["mask"])[0], num_beams, max_length), tf.int32)

        def logits_of(self, tokens, position, memory, cache):
            beams = cache.shape[1]
            cache = tf.where(tf.range(cache.shape[2]) == position, tokens[..., None], cache)
            so_far = tf.reshape(cache[..., : position + 1], (-1, position + 1))
            places = tf.range(position + 1)
            causal = (places[None] <= places[:, None])[None, None]
            x = self.embed(self.target_embedding, so_far, 0)
            keys, values, mask = (
                tf.nest.map_structure(lambda one: tf.repeat(one, beams, 0), memory[name])
                for name in ("keys", "values", "mask")
            )
            for block, key, value in zip(self.decoder, keys, values, strict=True):
                x = block(x, visible=causal, memory=(key, value, mask))
            logits = self.logits(self.final_norms[1](x[:, -1]))
            return tf.reshape(logits, (-1, beams, logits.shape[-1])), cache

    class Translator(Seq2Seq):
        """Serves ids alone, which is all that is asked for."""

        def signatures(self):
            return {"serving_default": super().signatures()["translate_ids"]}

        def warmup(self):
            return [("serving_default", ids) for name, ids in super().warmup() if name == "translate_ids"]

    *sizes, vocabulary, _ = SIZES[size]
    sizes = dict(zip(("width", "num_layers", "num_heads", "hidden"), sizes, strict=True))
    words = Vocabulary([*SPECIALS, *map(str, range(vocabulary - len(SPECIALS)))])
    for kind in (Cached, Uncached):
        keras.utils.set_random_seed(0)
        network = kind(vocabulary, **sizes, norm_first=True)
        for search, (num_beams, length_penalty) in SEARCHES.items():
            options = {"num_beams": num_beams, "length_penalty": length_penalty, "max_length": max_length}
            publish(Translator(network, words, **options), folder, f"{search}_{kind.__name__.lower()}", card={})


def turn(model, batches, seconds):
    """Sentences per second over about `seconds`, at least one pass over the batches."""
    count, start = 0, time.perf_counter()
    while not count or time.perf_counter() - start < seconds:
        for ids in batches:
            ask(model, ids)
            count += len(ids)
    return count / (time.perf_counter() - start)


def ask(model, ids):
    """What a model answers to a batch of ids, padding of all rows left out."""
    lengths = (ids != 0).sum(1).astype("int32")
    return model.run("serving_default", ids=ids[:, : lengths.max()], lengths=lengths)


def check(models, batches):
    """The tokens of a translation; stops if two models translate differently."""
    answers = [[ask(model, ids) for ids in batches] for model in models.values()]
    for ours, others in zip(*answers, strict=True):
        if not np.array_equal(ours["ids"], others["ids"]):
            rows = (ours["ids"] != others["ids"]).any(1).mean()
            raise SystemExit(f"With and without a cache, {100 * rows:.0f} % of the translations differ.")
    return np.concatenate([answer["lengths"] for answer in answers[0]]).mean()


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decoding", description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["small", "medium"], help="default: small medium")
    parser.add_argument("--batch-sizes", type=positive, nargs="+", default=[1, 32], help="default: 1 32")
    parser.add_argument("--length", type=positive, default=12, help="tokens of a translation (default: %(default)s)")
    parser.add_argument("--max-length", type=positive, default=64, help="of the model (default: %(default)s)")
    parser.add_argument("--rounds", type=positive, default=6, help="turns of each contestant (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a turn (default: %(default)s)")
    parser.add_argument("--threads", type=positive, default=2, help="threads of the loader (default: %(default)s)")
    add_json(parser)
    options = parser.parse_args()
    if options.length > options.max_length:
        parser.error(f"--length {options.length} is more than --max-length {options.max_length}")

    threads = {name: str(options.threads) for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")}
    # Read when TensorFlow's library is loaded.
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", **threads}
    results = []
    print(
        f"Sentences of {options.length} tokens per second, cache of {options.max_length}, {options.threads} threads, "
        f"median of {options.rounds} rounds of {options.seconds:g} s.\nRatio: cached / uncached, above 1 means that "
        "the cache is faster."
    )
    columns = [("", 10), ("search", 8), ("batch", 7), ("cached", 10), ("uncached", 10), ("ratio", 8), ("min - max", 16)]

    def rows():
        for size in options.sizes:
            with tempfile.TemporaryDirectory() as folder:
                arguments = (size, str(options.length), str(options.max_length), folder)
                # A decoder that is given one token looks to Keras like a softmax over the wrong axis.
                command = [sys.executable, "-W", "ignore", "-c", PUBLISH, *arguments]
                subprocess.run(command, check=True, cwd=Path(__file__).parents[1])
                for search in SEARCHES:
                    for row in compare(Path(folder), size, search, options):
                        results.append(row)
                        medians = (f"{statistics.median(row[way]):.1f}" for way in WAYS)
                        yield size, search, str(row["batch_size"]), *medians, f"{row['ratio']:.2f}", spread(row)

    print_table(columns, rows())
    write_json(options, results)


def compare(folder, size, search, options):
    """Rows of the table of one search."""
    from zoo.serving import SavedModel

    with (
        SavedModel(folder / f"{search}_cached" / "1") as ours,
        SavedModel(folder / f"{search}_uncached" / "1") as other,
    ):
        models = dict(zip(WAYS, (ours, other), strict=True))
        for batch_size in options.batch_sizes:
            sources, _ = problem(SIZES[size], max(options.batch_sizes))
            count = min(4, len(sources) // batch_size)
            batches = np.split(sources[: count * batch_size], count)
            tokens = check(models, batches)
            if tokens != options.length:
                raise SystemExit(f"Translations have {tokens:.1f} tokens instead of {options.length}.")
            turns = {way: functools.partial(turn, model, batches, options.seconds) for way, model in models.items()}
            rates = measure(models, options.rounds, lambda way, turns=turns: turns[way]())
            yield {"size": size, "search": search, "batch_size": batch_size} | {
                **ratios(rates["cached"], rates["uncached"]),
                **rates,
            }


if __name__ == "__main__":
    main()
