"""Pictures that are decoded once."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from zoo import data
from zoo.data import cache, records


@pytest.mark.parametrize("as_records", [False, True])
def test_each_file_is_decoded_once(tmp_path, as_records):
    pixels = np.random.RandomState(0).randint(0, 256, (20, 5, 4, 3)).astype("uint8")
    folder = tmp_path / "set"
    folder.mkdir()
    for row in range(20):
        Image.fromarray(pixels[row]).save(folder / f"{row:02}.png")
    if as_records:
        for split in ("train", "test"):
            records.write(data.load(folder, split=split), tmp_path / "records", split)
        folder = tmp_path / "records"
    plain, cached = data.load(folder), data.load(folder, cache=True)
    whole = plain.examples()
    np.testing.assert_array_equal(cached.examples(), whole)
    for path in folder.iterdir():
        path.unlink()
    np.testing.assert_array_equal(cached.examples(), whole)
    epochs = np.concatenate(list(cached.batches(6, seed=4).take(6).as_numpy_iterator()))
    memory = data.Source("memory", np.concatenate(list(cached.pixels())))
    np.testing.assert_array_equal(epochs, np.concatenate(list(memory.batches(6, seed=4).take(6).as_numpy_iterator())))


def test_a_set_that_memory_cannot_hold_is_refused(tmp_path):
    for row in range(2):
        Image.new("L", (4, 4)).save(tmp_path / f"{row}.png")
    # 2^22 rows and columns: 16 TiB.
    with pytest.raises(ValueError, match=r"`cache=True` keeps all 1 decoded images .* 16384.00 GiB. Available: "):
        data.load(tmp_path, image_size=2**22, cache=True)
    assert data.load("digits", cache=True).size == 1618


@pytest.mark.parametrize("available, is_kept", [(400, True), (399, False), (None, False)])
def test_pictures_are_kept_by_themselves_where_they_take_a_quarter_of_the_memory(
    available, is_kept, tmp_path, monkeypatch
):
    """Of three pictures two are to train: 100 bytes."""
    monkeypatch.setattr(cache, "available_memory", lambda: available)
    for row in range(3):
        Image.new("L", (5, 10)).save(tmp_path / f"{row}.png")
    source = data.load(tmp_path, cache=None)
    assert source.size == 2
    source.examples()
    for path in tmp_path.iterdir():
        path.unlink()
    if is_kept:
        assert source.examples().shape == (2, 10, 5, 1)
    else:
        with pytest.raises(Exception, match="could be read before and now cannot be"):
            source.examples()


def test_available_memory_comes_from_the_system_or_is_unknown(monkeypatch):
    assert 2**20 < cache.available_memory() < 2**50

    def fail(*_):
        raise OSError("not here")

    monkeypatch.setattr(cache, "Path", lambda path: SimpleNamespace(read_text=fail))
    numbers = {"SC_AVPHYS_PAGES": 5, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(cache.os, "sysconf", numbers.get)
    assert cache.available_memory() == 5 * 4096
    monkeypatch.setattr(cache.os, "sysconf", fail)
    assert cache.available_memory() is None
