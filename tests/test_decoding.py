"""Decoding against NumPy: one token at a time, and all sequences that there are."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from zoo import decoding
from zoo.random import mixed_keys, uniform_of_keys

PAD, BOS, EOS = 0, 1, 2
WORDS = (3, 4)
ROWS, LENGTH, SIZE, STATES = 3, 4, 5, 97
LOGITS = np.random.default_rng(0).normal(size=(ROWS, LENGTH, STATES, SIZE)).astype("float32") * 1.5
LOGITS[..., EOS] -= 1.0
# What no sequence may hold is what the network finds most likely.
LOGITS[..., [PAD, BOS]] += 3.0
MARKS = {"begin": BOS, "end": EOS}


def step(tokens, position, cache):
    """What follows depends on the row, the position and all tokens so far, of which the cache has a hash."""
    state = (cache["state"] * 7 + tokens) % STATES
    row = tf.repeat(tf.range(tf.shape(tokens)[0])[:, None], tokens.shape[1], axis=1)
    places = tf.stack([row, tf.fill(tf.shape(row), position), state], -1)
    # A second one, of another rank and type, which only has to agree with the first.
    again = tf.concat([cache["again"][..., 1:], tf.cast(tokens, tf.float32)[..., None]], -1)
    return tf.gather_nd(LOGITS, places), {"state": state, "again": again}


def cache_of(num_beams=1, rows=ROWS):
    return {"state": tf.zeros((rows, num_beams), tf.int32), "again": tf.zeros((rows, num_beams, 2))}


def log_p(row, tokens, after=BOS):
    """log p of the next token after some others, float64 (SIZE,)."""
    state = 0
    for token in (after, *tokens):
        state = (state * 7 + token) % STATES
    logits = LOGITS[row, len(tokens), state].astype("float64")
    return logits - np.log(np.exp(logits).sum())


def total(row, sequence):
    return sum(log_p(row, sequence[:place])[token] for place, token in enumerate(sequence))


def padded(sequence, length=LENGTH):
    return [*sequence, *[PAD] * (length - len(sequence))]


def greedy_by_hand(row):
    tokens = []
    while len(tokens) < LENGTH and EOS not in tokens:
        told = log_p(row, tokens)
        tokens.append(max((EOS, *WORDS), key=lambda token: told[token]))
    return tokens


def every_sequence():
    """Words and their end, or as many words as there is room for: 1 + 2 + 4 + 8 + 16."""
    for count in range(LENGTH):
        yield from ((*words, EOS) for words in itertools.product(WORDS, repeat=count))
    yield from itertools.product(WORDS, repeat=LENGTH)


def ranked(row, alpha):
    """All sequences and their scores by Wu et al. 2016, equation 14, best first."""
    scored = [(total(row, one) / ((5 + len(one)) / 6) ** alpha, one) for one in every_sequence()]
    return sorted(scored, reverse=True)


def in_graph(function, *arguments):
    return tf.function(lambda *given: function(*given))(*arguments)


@pytest.mark.parametrize("run", [lambda function: function(), in_graph], ids=["eager", "graph"])
def test_greedy_takes_the_most_likely_token_at_each_place(run):
    ids, scores = run(lambda: decoding.greedy(step, cache_of(), ROWS, LENGTH, **MARKS))
    expected = [greedy_by_hand(row) for row in range(ROWS)]
    assert len({len(one) for one in expected}) > 1, "the rows should end at different places"
    np.testing.assert_array_equal(ids, [padded(one) for one in expected])
    np.testing.assert_allclose(scores, [total(row, one) for row, one in enumerate(expected)], rtol=1e-5)
    assert ids.dtype == tf.int32 and scores.dtype == tf.float32


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
def test_one_beam_is_greedy(alpha):
    ids, scores = decoding.greedy(step, cache_of(), ROWS, LENGTH, **MARKS)
    found, points = decoding.beam_search(step, cache_of(), ROWS, LENGTH, num_beams=1, length_penalty=alpha, **MARKS)
    np.testing.assert_array_equal(found[:, 0], ids)
    lengths = (ids.numpy() != PAD).sum(1)
    np.testing.assert_allclose(points[:, 0], scores / ((5 + lengths) / 6) ** alpha, rtol=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.6])
@pytest.mark.parametrize("run", [lambda function: function(), in_graph], ids=["eager", "graph"])
def test_as_many_beams_as_sequences_find_all_of_them_in_order(run, alpha):
    """Exhaustive enumeration, in float64: each sequence in its place and its score; caches follow their parents."""
    count = len(list(every_sequence()))
    options = {"num_beams": count, "length_penalty": alpha, **MARKS}
    ids, scores = run(lambda: decoding.beam_search(step, cache_of(count), ROWS, LENGTH, **options))
    for row in range(ROWS):
        expected = ranked(row, alpha)
        np.testing.assert_array_equal(ids[row], [padded(one) for _, one in expected])
        np.testing.assert_allclose(scores[row], [score for score, _ in expected], rtol=1e-4)


def test_the_penalty_changes_the_order():
    """Otherwise the test above could not tell one alpha from another."""
    orders = [[[one for _, one in ranked(row, alpha)] for row in range(ROWS)] for alpha in (0.0, 0.6)]
    assert all(one != other for one, other in zip(*orders, strict=True))


@pytest.mark.parametrize("num_beams", [2, 3, 5])
def test_a_narrow_beam_tells_true_scores_in_order_and_is_as_a_beam_by_hand(num_beams):
    """The oracle keeps the best `num_beams` of all continuations at each place, as lists."""
    ids, scores = decoding.beam_search(step, cache_of(num_beams), ROWS, LENGTH, num_beams=num_beams, **MARKS)
    for row in range(ROWS):

        def points(one, row=row):
            return total(row, one) / ((5 + len(one)) / 6) ** 0.6

        kept = [()]
        for _ in range(LENGTH):
            longer = [(*one, token) for one in kept if EOS not in one for token in (EOS, *WORDS)]
            kept = sorted([*longer, *(one for one in kept if EOS in one)], key=points, reverse=True)[:num_beams]
        np.testing.assert_array_equal(ids[row], [padded(one) for one in kept])
        np.testing.assert_allclose(scores[row], [points(one) for one in kept], rtol=1e-4)
        assert np.all(np.diff(scores[row]) <= 0)


def ending(calls, ends_at):
    """A step that counts its calls, and whose row r ends after `ends_at[r]` tokens with a probability near 1."""
    ends_at = tf.constant(ends_at)

    def step(tokens, position, cache):
        calls.assign_add(1)
        ends = tf.cast(position >= ends_at, tf.float32)[:, None]
        # PAD and BOS are the most likely of all.
        logits = tf.stack([30 + 0 * ends, 30 + 0 * ends, 40 * ends - 20, 1 + 0 * ends, 0 * ends], -1)
        return tf.repeat(logits, tokens.shape[1], axis=1), cache

    return step


@pytest.mark.parametrize("ends_at, longest", [([0, 0], 1), ([2, 5], 6)])
def test_it_ends_as_soon_as_every_sequence_has(ends_at, longest):
    for search in (
        lambda step: decoding.greedy(step, cache_of(1, 2), 2, 10_000, **MARKS)[0],
        lambda step: decoding.sample(step, cache_of(1, 2), tf.constant([1, 2], tf.int64), 10_000, top_k=1, **MARKS)[0],
        lambda step: decoding.beam_search(step, cache_of(1, 2), 2, 10_000, num_beams=1, **MARKS)[0][:, 0],
    ):
        calls = tf.Variable(0)
        ids = in_graph(lambda search=search, calls=calls: search(ending(calls, ends_at))).numpy()
        assert calls.numpy() == longest
        assert ids.shape == (2, 10_000)
        for row, count in zip(ids, ends_at, strict=True):
            np.testing.assert_array_equal(row, padded([3] * count + [EOS], 10_000))
    calls = tf.Variable(0)
    in_graph(lambda: decoding.beam_search(ending(calls, ends_at), cache_of(4, 2), 2, 10_000, num_beams=4, **MARKS))
    # Beams whose first words are the second best end with the first one, or some tokens later.
    assert longest <= calls.numpy() <= longest + 3


def test_padding_and_beginnings_are_never_said():
    """Though they are the most likely tokens of all: rows hold words, at most one end, and padding behind it."""
    keys = tf.range(ROWS, dtype=tf.int64)
    for ids in (
        decoding.greedy(step, cache_of(), ROWS, LENGTH, **MARKS)[0],
        decoding.sample(step, cache_of(), keys, LENGTH, temperature=50.0, **MARKS)[0],
        decoding.beam_search(step, cache_of(31), ROWS, LENGTH, num_beams=31, **MARKS)[0],
    ):
        possible = {tuple(padded(one)) for one in every_sequence()}
        assert {tuple(row) for row in ids.numpy().reshape(-1, LENGTH)} <= possible


@pytest.mark.parametrize("options", [{"temperature": 1e-4}, {"top_k": 1}, {"temperature": 5.0, "top_k": 1}])
def test_sampling_what_is_most_likely_is_greedy(options):
    expected, scores = decoding.greedy(step, cache_of(), ROWS, LENGTH, **MARKS)
    keys = tf.constant([5, 6, 2**32 - 1], tf.int64)
    ids, found = in_graph(lambda: decoding.sample(step, cache_of(), keys, LENGTH, **MARKS, **options))
    np.testing.assert_array_equal(ids, expected)
    np.testing.assert_allclose(found, scores, rtol=1e-5)


def alike(tokens, position, cache):
    """A step that says the same of all rows."""
    state = (cache["state"] * 7 + tokens) % STATES
    places = tf.stack([tf.zeros_like(state), tf.fill(tf.shape(state), position), state], -1)
    return tf.gather_nd(LOGITS, places), {**cache, "state": state}


def drawn(keys, step=alike, **options):
    keys = tf.constant(keys, tf.int64)
    return decoding.sample(step, cache_of(1, len(keys)), keys, LENGTH, **MARKS, **options)


def test_a_key_draws_the_same_sequence_whatever_the_batch():
    keys = np.arange(100, 140)
    ids, scores = drawn(keys)
    again, scores_again = in_graph(lambda: drawn(keys[::-1][5:25]))
    np.testing.assert_array_equal(again, ids.numpy()[::-1][5:25])
    np.testing.assert_allclose(scores_again, scores.numpy()[::-1][5:25], rtol=1e-6)
    np.testing.assert_array_equal(drawn([107])[0], ids[7:8])
    assert len({tuple(row) for row in ids.numpy()}) > 5
    lengths = [len([token for token in row if token]) for row in ids.numpy()]
    expected = [total(0, tuple(row[:count])) for row, count in zip(ids.numpy(), lengths, strict=True)]
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


@pytest.mark.parametrize("temperature, top_k", [(1.0, None), (2.5, None), (1.0, 2)])
def test_frequencies_are_those_of_the_softmax(temperature, top_k):
    """Pearson's statistic of first and second tokens together; 99.99 % of chi-squared with 6 degrees are below 28."""
    count = 8000
    ids = drawn(np.random.default_rng(0).integers(0, 2**32, count), temperature=temperature, top_k=top_k)[0].numpy()

    def shares(tokens):
        told = log_p(0, tokens)[[EOS, *WORDS]]
        told = np.where(told < np.sort(told)[-(top_k or 3)], -np.inf, told) / temperature
        return dict(zip((EOS, *WORDS), np.exp(told) / np.exp(told).sum(), strict=True))

    expected = {(EOS, PAD): shares(())[EOS]}
    for word in WORDS:
        expected |= {(word, token): shares(())[word] * share for token, share in shares((word,)).items()}
    assert sum(expected.values()) == pytest.approx(1)
    found = {pair: np.all(ids[:, :2] == pair, 1).sum() for pair in expected}
    assert sum(found.values()) == count
    assert all(found[pair] == 0 for pair, share in expected.items() if not share)
    terms = [(found[pair] - count * share) ** 2 / (count * share) for pair, share in expected.items() if share]
    assert len(terms) >= 3 and sum(terms) < 28


def test_temperatures_of_rows_are_their_own():
    keys = np.random.default_rng(1).integers(0, 2**32, 60)
    mixed = drawn(keys, temperature=tf.constant([1e-4] * 30 + [3.0] * 30))[0].numpy()
    np.testing.assert_array_equal(mixed[:30], np.tile(drawn([0], top_k=1)[0], (30, 1)))
    np.testing.assert_array_equal(mixed[30:], drawn(keys[30:], temperature=3.0)[0])


def test_tokens_are_drawn_by_gumbel_noise_of_mixed_keys():
    """Seeds of rows follow each other; tests/test_random.py shows that their numbers are independent once mixed."""
    keys = np.arange(50)
    uniform = uniform_of_keys(mixed_keys(tf.constant(keys)), SIZE).numpy().astype("float64")
    likely = np.where(np.isin(np.arange(SIZE), [PAD, BOS]), -np.inf, log_p(0, ()) / 2)
    np.testing.assert_array_equal(drawn(keys, temperature=2.0)[0][:, 0], (likely - np.log(-np.log(uniform))).argmax(1))


def test_no_temperature_says_what_is_never_said_and_0_of_a_row_is_greedy():
    """Near infinity all words are alike, and near 0 the most likely is all that is left; in float32."""
    expected = decoding.greedy(step, cache_of(), ROWS, LENGTH, **MARKS)[0]
    keys = tf.range(ROWS, dtype=tf.int64)
    for cold in (0.0, 1e-45, 1e-38, 1e-30):
        found = decoding.sample(step, cache_of(), keys, LENGTH, temperature=tf.fill([ROWS], cold), **MARKS)[0]
        np.testing.assert_array_equal(found, expected)
    count = 3000
    for options in ({}, {"top_k": 2}):
        ids = drawn(range(count), temperature=tf.fill([count], 3e38), **options)[0].numpy()
        shares = np.bincount(ids[:, 0], minlength=SIZE) / count
        kinds = 2 if options else 3
        # Five standard deviations.
        assert abs(shares[[EOS, *WORDS]][shares[[EOS, *WORDS]] > 0] - 1 / kinds).max() < 5 * (kinds * count) ** -0.5
        assert not shares[[PAD, BOS]].any()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: drawn([1], temperature=0), "`temperature` must be a finite number above 0. Received: 0"),
        (lambda: drawn([1], temperature=float("nan")), "`temperature` must be a finite number above 0"),
        (lambda: drawn([1], top_k=0), "`top_k` must be a whole number of at least 1. Received: 0"),
        (
            lambda: decoding.beam_search(step, cache_of(), ROWS, LENGTH, num_beams=0, **MARKS),
            "`num_beams` must be a whole number of at least 1. Received: 0",
        ),
        (
            lambda: decoding.beam_search(step, cache_of(), ROWS, LENGTH, num_beams=1, length_penalty=-0.1, **MARKS),
            "`length_penalty` must be a finite number of at least 0. Received: -0.1",
        ),
    ],
)
def test_bad_numbers_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
