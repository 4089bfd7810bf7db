"""The parts of a batch that processes and replicas get, and that each reads only its own."""

import numpy as np
import pytest
from PIL import Image

from zoo import data
from zoo.data import records

PIXELS = np.random.RandomState(0).randint(0, 256, (26, 4, 4, 1)).astype("uint8")


class Counting:
    """Pictures in "files" that note which rows were read."""

    def __init__(self, pixels=PIXELS):
        self.pixels, self.shape, self.rows = pixels, pixels.shape, []

    def __len__(self):
        return len(self.pixels)

    def read(self, row):
        self.rows.append(int(row))
        return self.pixels[row]


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """The same images in memory, in a folder and in records."""
    folder = tmp_path_factory.mktemp("sets")
    for split, rows in (("train", range(23)), ("test", range(23, 26))):
        (folder / "pictures" / split).mkdir(parents=True)
        for row in rows:
            Image.fromarray(PIXELS[row, ..., 0]).save(folder / "pictures" / split / f"{row:02}.png")
    for split in ("train", "test"):
        records.write(data.load(folder / "pictures", split=split), folder / "records", split)
    return {
        "memory": data.Source("memory", PIXELS[:23]),
        "folder": data.load(folder / "pictures"),
        "records": data.load(folder / "records"),
    }


@pytest.mark.parametrize(("batch_size", "group", "total"), [(7, None, 3), (4, 2, 2)])
def test_the_parts_together_are_the_batches(sources, batch_size, group, total):
    options = {"seed": 5, "group": group, "first_epoch": 1, "first_step": 1}
    steps = 2 * sources["memory"].steps_per_epoch(batch_size, group)
    whole = [batch.numpy() for batch in sources["memory"].batches(batch_size, **options).take(steps)]
    for kind in sources:
        parts = [[] for _ in range(steps)]
        for first, count in ((0, 1), (1, total - 1)):
            own = sources[kind].batches(batch_size, **options, replicas=(first, count, total)).take(steps * count)
            for number, part in enumerate(own):
                parts[number // count].append(part.numpy())
        for batch, found in zip(whole, parts, strict=True):
            assert [len(part) for part in found] == [len(part) for part in np.array_split(batch, total)]
            np.testing.assert_array_equal(np.concatenate(found), batch)


def test_seven_over_two_is_four_then_three_and_even_parts_are_static():
    source = data.Source("memory", PIXELS)
    assert [len(part) for part in source.batches(7, replicas=(0, 2, 2)).take(4)] == [4, 3, 4, 3]
    assert [len(part) for part in source.batches(7, replicas=(1, 1, 2)).take(2)] == [3, 3]
    assert source.batches(8, group=3, replicas=(0, 2, 4)).element_spec.shape == (2, 3, 4, 4, 1)
    assert source.batches(7, group=3, replicas=(0, 2, 2)).element_spec.shape == (None, 3, 4, 4, 1)


def test_a_process_decodes_only_its_own_rows_and_none_that_are_skipped():
    # An epoch far longer than what is read ahead, so that nothing of the next one is read.
    numbers = np.arange(6000)
    order = data.Source("numbers", numbers[:, None].astype("float32")).batches(6).take(1000)
    parts = [np.array_split(batch[:, 0].astype(int), 2) for batch in order.as_numpy_iterator()]
    for first, first_step in ((0, 0), (1, 2)):
        counting = Counting(np.zeros((6000, 1, 1, 1), "uint8"))
        batches = data.Source("counting", counting).batches(6, first_step=first_step, replicas=(first, 1, 2))
        for _ in batches.take(4):
            pass
        own = [set(part[first]) for part in parts[first_step:]]
        assert set.union(*own[:4]) <= set(counting.rows) <= set.union(*own)


@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_a_step_within_an_epoch_is_where_a_resumed_run_begins(sources, kind):
    source = sources[kind]
    uninterrupted = [batch.numpy() for batch in source.batches(5, seed=1, first_epoch=2).take(9)]
    resumed = [batch.numpy() for batch in source.batches(5, seed=1, first_epoch=2, first_step=3).take(6)]
    np.testing.assert_array_equal(resumed, uninterrupted[3:])
    skipped = [batch.numpy() for batch in source.batches(5, seed=1, first_epoch=2).skip(3).take(6)]
    np.testing.assert_array_equal(skipped, resumed)


@pytest.mark.parametrize("batch_size", [6, 7])
def test_each_replica_of_a_strategy_gets_its_part(sources, two_replicas, batch_size):
    source = sources["folder"]
    total = two_replicas.num_replicas_in_sync

    def feed(context):
        first = context.input_pipeline_id * total // context.num_input_pipelines
        return source.batches(batch_size, seed=2, group=2, replicas=(first, total, total))

    steps = iter(two_replicas.distribute_datasets_from_function(feed))
    for batch in source.batches(batch_size, seed=2, group=2).take(3):
        found = two_replicas.experimental_local_results(next(steps))
        for part, expected in zip(found, np.array_split(batch.numpy(), total), strict=True):
            np.testing.assert_array_equal(part, expected)


def test_files_are_split_over_replicas_by_the_strategy_itself_as_well(sources, two_replicas):
    batches = sources["folder"].batches(6, seed=2, group=2)
    steps = iter(two_replicas.experimental_distribute_dataset(batches))
    for batch in batches.take(3):
        found = two_replicas.experimental_local_results(next(steps))
        np.testing.assert_array_equal(np.concatenate(found), batch)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"replicas": (0, 1)}, r"`replicas` must be three whole numbers \(first, count, total\).*Received: \(0, 1\)"),
        ({"replicas": (1, 2, 2)}, r"`first \+ count` at most `total`. Received: \(1, 2, 2\)"),
        ({"replicas": (0, 0, 2)}, r"`replicas \(count\)` must be a whole number from 1"),
        ({"replicas": (0, 1, 6)}, "A batch of 5 examples cannot be split over 6 replicas"),
        ({"first_step": 5}, "`first_step` must be a whole number from 0 to 4. Received: 5"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        data.Source("memory", PIXELS).batches(5, **options)
