"""From a network that says what follows to whole sequences: greedy, beam search and sampling, inside a graph.

The functions take `step(tokens, position, cache)`, which gives logits (rows, beams, size) of what follows tokens (rows,
beams) at a position, and the cache for the next call: a nest of tensors (rows, beams, ...). All end as soon as every
sequence has.
"""

import numpy as np
import tensorflow as tf

from zoo.checks import check_number, check_positive
from zoo.random import mixed_keys, uniform_of_keys

NEVER = -1e9
# Below it, float32 may count a temperature as 0.
LEAST_TEMPERATURE = 1e-30


def greedy(step, cache, rows, max_length, *, begin, end, pad=0):
    """The most likely token at each position.

    Args:
        step: Function (tokens, position, cache) -> (logits, cache), as the module says, with one beam.
        cache: What the first call is given.
        rows: Number of sequences, int or scalar tensor.
        max_length: Tokens of a sequence at most, int or scalar tensor.
        begin: Number of the token before the first.
        end: Number of the token that ends a sequence.
        pad: Number of the token after the end; neither it nor `begin` is ever chosen.

    Returns:
        (ids, log_probabilities): int32 (rows, max_length), padded after the end, and their log p, float32 (rows,).

    Example:
        >>> def step(tokens, position, cache):  # what follows a token is the next one
        ...     return tf.one_hot(tokens + 1, 6, on_value=9.0), cache
        >>> ids, log_probabilities = greedy(step, {}, rows=1, max_length=5, begin=1, end=4)
        >>> ids.numpy()
        array([[2, 3, 4, 0, 0]], dtype=int32)
    """

    def choose(scores, position):
        return tf.argmax(scores, -1, tf.int32)

    return _one_by_one(choose, step, cache, rows, max_length, begin, end, pad)


def sample(step, cache, keys, max_length, *, begin, end, pad=0, temperature=1.0, top_k=None):
    """Tokens drawn from what the network says, by Gumbel noise of each row's key.

    Args:
        step: As of `greedy`.
        cache: As of `greedy`.
        keys: int64 (rows,) from 0 to 2^32 - 1; the same key draws the same sequence.
        max_length: As of `greedy`.
        begin: As of `greedy`.
        end: As of `greedy`.
        pad: As of `greedy`.
        temperature: Number above 0, or finite numbers of 0 or more, float32 (rows,): logits are divided by it; 1 draws
            from the model, near 0 is greedy, and so is 0 of a row.
        top_k: Draw among so many of the most likely tokens only; None for all.

    Returns:
        As of `greedy`.

    Raises:
        ValueError: If `temperature` or `top_k` is out of range.

    Example:
        >>> def step(tokens, position, cache):  # words 3 and 4 are as likely as the end, 2
        ...     return tf.one_hot(tf.ones_like(tokens) * 0, 5, on_value=-9.0), cache
        >>> keys = mixed_keys(tf.constant([5, 6, 5], tf.int64))
        >>> ids, log_probabilities = sample(step, {}, keys, 4, begin=1, end=2)
        >>> ids.shape, bool(tf.reduce_all(ids[0] == ids[2])), set(ids.numpy().ravel()) <= {0, 2, 3, 4}
        (TensorShape([3, 4]), True, True)
    """
    if isinstance(temperature, (int, float)):
        check_number("temperature", temperature, 0, above=True)
    if top_k is not None:
        check_positive("top_k", top_k)
    temperature, keys = tf.reshape(tf.cast(temperature, tf.float32), (-1, 1)), mixed_keys(keys)

    def choose(scores, position):
        if top_k is not None and top_k < scores.shape[-1]:
            least = tf.math.top_k(scores, top_k).values[:, -1:]
            scores = tf.where(scores < least, NEVER, scores)
        uniform = uniform_of_keys(keys, scores.shape[-1], position)
        # Less the best, which no temperature then takes out of reach; and what never is said stays so at any.
        likely = (scores - tf.reduce_max(scores, -1, keepdims=True)) / tf.maximum(temperature, LEAST_TEMPERATURE)
        likely = tf.where(scores <= NEVER, -np.inf, likely)
        drawn = tf.argmax(likely - tf.math.log(-tf.math.log(uniform)), -1, tf.int32)
        return tf.where(temperature[:, 0] > 0, drawn, tf.argmax(scores, -1, tf.int32))

    rows = keys.shape[0] or tf.shape(keys)[0]
    return _one_by_one(choose, step, cache, rows, max_length, begin, end, pad)


def beam_search(step, cache, rows, max_length, *, begin, end, pad=0, num_beams=4, length_penalty=0.6):
    """The sequences with the best log p(y) / ((5 + |y|) / 6)^alpha among those that a beam finds.

    Wu et al. 2016, equation 14, without the coverage term. A sequence that has ended keeps its place among the beams
    until better ones push it out. One beam is `greedy`; as many beams as there are sequences find the best of all.

    Args:
        step: As of `greedy`, with `num_beams` beams.
        cache: As of `greedy`.
        rows: As of `greedy`.
        max_length: As of `greedy`.
        begin: As of `greedy`.
        end: As of `greedy`.
        pad: As of `greedy`.
        num_beams: Sequences that are kept for each row.
        length_penalty: alpha, at least 0; 0 prefers short sequences, the paper's Transformer has 0.6.

    Returns:
        (ids, scores): int32 (rows, num_beams, max_length) and float32 (rows, num_beams), best first.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> def step(tokens, position, cache):  # what follows a token is the next one, or else the one after it
        ...     return tf.one_hot(tokens + 1, 6, 9.0) + tf.one_hot(tokens + 2, 6, 8.0), cache
        >>> ids, scores = beam_search(step, {}, rows=1, max_length=4, begin=1, end=3, num_beams=2, length_penalty=0.0)
        >>> ids.numpy()
        array([[[2, 3, 0, 0],
                [3, 0, 0, 0]]], dtype=int32)
    """
    check_positive("num_beams", num_beams)
    check_number("length_penalty", length_penalty, 0)

    def penalty(lengths):
        return ((5.0 + tf.cast(lengths, tf.float32)) / 6.0) ** length_penalty

    def body(position, tokens, ids, totals, lengths, ended, cache):
        logits, cache = step(tokens, position, cache)
        added = _log_probabilities(logits, begin, pad)
        size = added.shape[-1]
        # What has ended goes on with padding alone, at no cost.
        only_pad = tf.where(tf.range(size) == pad, 0.0, NEVER)
        added = tf.where(ended[..., None], only_pad, added)
        candidates = totals[..., None] + added
        longer = lengths + tf.cast(~ended, tf.int32)
        scores = candidates / penalty(longer)[..., None]
        _, best = tf.math.top_k(tf.reshape(scores, (rows, num_beams * size)), num_beams)
        parents, tokens = best // size, best % size

        def taken(one):
            return tf.gather(one, parents, axis=1, batch_dims=1)

        totals = tf.gather(tf.reshape(candidates, (rows, num_beams * size)), best, axis=1, batch_dims=1)
        lengths, ended = taken(longer), taken(ended) | (tokens == end)
        ids = _written(taken(ids), tokens, position)
        return position + 1, tokens, ids, totals, lengths, ended, tf.nest.map_structure(taken, cache)

    def goes_on(position, tokens, ids, totals, lengths, ended, cache):
        return (position < max_length) & ~tf.reduce_all(ended)

    shape = (rows, num_beams)
    start = (
        tf.constant(0),
        tf.fill(shape, begin),
        tf.fill((*shape, max_length), pad),
        # All beams begin alike, so one is enough.
        tf.repeat(tf.where(tf.range(num_beams) == 0, 0.0, NEVER)[None], rows, axis=0),
        tf.zeros(shape, tf.int32),
        tf.zeros(shape, tf.bool),
        cache,
    )
    _, _, ids, totals, lengths, _, _ = tf.while_loop(goes_on, body, start, parallel_iterations=1)
    scores, order = tf.math.top_k(totals / penalty(lengths), num_beams)
    return tf.gather(ids, order, axis=1, batch_dims=1), scores


def _one_by_one(choose, step, cache, rows, max_length, begin, end, pad):
    """Sequences whose tokens `choose` picks of log-probabilities (rows, size)."""

    def body(position, tokens, ids, totals, ended, cache):
        logits, cache = step(tokens[:, None], position, cache)
        scores = _log_probabilities(logits[:, 0], begin, pad)
        tokens = tf.where(ended, pad, choose(scores, position))
        added = tf.gather(scores, tokens, axis=1, batch_dims=1)
        totals += tf.where(ended, 0.0, added)
        return position + 1, tokens, _written(ids, tokens, position), totals, ended | (tokens == end), cache

    def goes_on(position, tokens, ids, totals, ended, cache):
        return (position < max_length) & ~tf.reduce_all(ended)

    start = (
        tf.constant(0),
        tf.fill((rows,), begin),
        tf.fill((rows, max_length), pad),
        tf.zeros((rows,)),
        tf.zeros((rows,), tf.bool),
        cache,
    )
    _, _, ids, totals, _, _ = tf.while_loop(goes_on, body, start, parallel_iterations=1)
    return ids, totals


def _log_probabilities(logits, begin, pad):
    """log p of each token, in float32, that of tokens which no sequence holds being out of reach."""
    tokens = tf.range(logits.shape[-1])
    return tf.where((tokens == begin) | (tokens == pad), NEVER, tf.nn.log_softmax(tf.cast(logits, tf.float32), axis=-1))


def _written(ids, tokens, position):
    """ids (..., length) with tokens (...) at a position."""
    return tf.where(tf.range(tf.shape(ids)[-1]) == position, tokens[..., None], ids)
