"""Files of weights that were made to do harm, or are damaged anywhere: the right arrays, or one sentence, at once.

None may take more memory or time than files of its size do, run anything, or change anything of ours. Which sizes are
allowed is a decision of `zoo.archive`: 256 MiB, or 16 times the file. The instructions of pickles are those of Python's
`pickletools`; what PyTorch writes is seen in golden/; the rules of safetensors are those of its README ("Format").
"""

import gc
import io
import json
import pickle
import random
import resource
import struct
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from zoo.networks import state_dict
from zoo.networks.state_dict import read_state_dict

GOLDEN = Path(__file__).parent / "golden"
SENTENCE = (
    "cannot be read as weights: .*Download or save it again|holds more than weights: it asks for|must hold arrays by"
)


@pytest.fixture
def read(tmp_path):
    """Reads content within three seconds of processor time, and 100 MB more than the process ever had."""
    # What other tests have left is not looked through for garbage meanwhile, which takes seconds of its own.
    gc.freeze()

    def within(content):
        path = tmp_path / "weights"
        path.write_bytes(content)
        before, started = most_memory(), time.thread_time()
        try:
            return read_state_dict(path)
        finally:
            seconds, memory = time.thread_time() - started, most_memory() - before
            assert seconds < 3 and memory < 1e8, (seconds, memory)

    yield within
    gc.unfreeze()


def most_memory():
    """The most memory that this process had at once, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def refused(read, content, message=SENTENCE):
    with pytest.raises(ValueError, match=message) as raised:
        read(content)
    assert type(raised.value) is ValueError and len(str(raised.value)) < 1000
    return raised.value


# Instructions of pickles.
def text(one):
    return b"X" + struct.pack("<I", len(one)) + one.encode()


def number(one):
    size = one.bit_length() // 8 + 1
    assert size < 256
    return b"\x8a" + bytes([size]) + one.to_bytes(size, "little", signed=True)


def named(module, name):
    return b"c" + f"{module}\n{name}\n".encode()


def put(place):
    return b"r" + struct.pack("<I", place)


def get(place):
    return b"j" + struct.pack("<I", place)


def storage(count, name="0", kind="FloatStorage", key=None):
    key = key or text("storage") + named("torch", kind) + text(name) + text("cpu") + number(count)
    return b"(" + key + b"tQ"


def numbers(*found):
    return b"(" + b"".join(map(number, found)) + b"t"


def tensor(shape=(6,), strides=(1,), offset=0, count=6, of=None):
    arguments = (of or storage(count)) + number(offset) + numbers(*shape) + numbers(*strides) + b"\x89N"
    return named("torch._utils", "_rebuild_tensor_v2") + b"(" + arguments + b"tR"


def dictionary(**items):
    return b"}(" + b"".join(text(name) + one for name, one in items.items()) + b"u"


NUMBERS = np.arange(6, dtype="<f4").tobytes()
NAME, OLD_NUMBERS = text("0"), struct.pack("<q", 6) + NUMBERS


def in_zip(pickled, content=NUMBERS, compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + pickled + b".")
        archive.writestr("archive/data/0", content)
    return file.getvalue()


def in_old(pickled, content=OLD_NUMBERS):
    magic, protocol = number(0x1950A86A20F9469CFC6C), number(1001)
    parts = (magic, protocol, b"}", pickled, b"](" + NAME + b"e")
    return b"".join(b"\x80\x02" + part + b"." for part in parts) + content


# Containers that hold the one before twice, and so on: 2**60 in all, in a few hundred bytes.
LEVELS = [(level, get(max(level - 1, 0)), put(level)) for level in range(60)]
LISTS = b"](]" + put(0) + b"".join(b"](" + one + one + b"e" + kept for _, one, kept in LEVELS[1:]) + b"e"
DICTS = b"}(" + text("0") + b"}" + put(0)
DICTS += b"".join(text(f"{level}") + dictionary(a=one, b=one) + kept for level, one, kept in LEVELS[1:]) + b"u"
TUPLES = b")" + b"".join(put(level) + get(level) + b"\x86" for level in range(60))
ITSELF = b"}" + put(0) + b"(" + text("state_dict") + get(0) + text("kernel") + get(0) + b"u"
REBUILD = named("torch._utils", "_rebuild_tensor_v2")


def test_tensors_of_these_instructions_are_read(read):
    """So that what is refused below is so for the one thing that is wrong."""
    expected = np.arange(6, dtype="float32")
    np.testing.assert_array_equal(read(in_zip(dictionary(kernel=tensor())))["kernel"], expected)
    np.testing.assert_array_equal(read(in_old(dictionary(kernel=tensor())))["kernel"], expected)


def test_what_python_2_wrote_is_read(read):
    """Its ordered dictionaries are made of pairs, and its texts are bytes (U), as in weights published before 2019."""
    pair = b"](" + b"U\x06kernel" + tensor() + b"e"
    pickled = named("collections", "OrderedDict") + b"(](" + pair + b"etR"
    np.testing.assert_array_equal(read(in_zip(pickled))["kernel"], np.arange(6, dtype="float32"))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_all_protocols_are_read(read, protocol):
    """Beside tensors, dictionaries and what is found in checkpoints, by Python's own pickler."""
    rest = {"lists": [1, [2.5, None]], (1, 2): {3: True}, "big": 2**100, "bytes": "" if protocol < 3 else b"abc"}
    items = pickle.dumps({"epoch": 3, "rest": rest, "set": [] if protocol < 4 else {1, 2}}, protocol)[2:-1]
    whole = items if protocol < 4 else items[9:]  # without the length of a frame
    pickled = whole + text("state_dict") + dictionary(kernel=tensor()) + b"s"
    np.testing.assert_array_equal(read(in_zip(pickled))["kernel"], np.arange(6, dtype="float32"))


GRAPHS = {"lists": LISTS, "tuples": TUPLES, "dicts": DICTS, "itself": ITSELF}
DEEP = {
    "lists": b"]" * 20_000 + b"a" * 19_999,
    "dicts": (b"}" + text("a")) * 20_000 + b"N" + b"s" * 20_000,
    "tuples": b")" + b"\x85" * 20_000,
}


@pytest.mark.parametrize("make", [in_zip, in_old])
@pytest.mark.parametrize("graph", [*GRAPHS.values(), *DEEP.values()], ids=[*GRAPHS, *(f"deep {name}" for name in DEEP)])
@pytest.mark.parametrize(
    "place",
    [
        lambda graph: graph,
        lambda graph: dictionary(kernel=graph),
        lambda graph: dictionary(state_dict=dictionary(kernel=tensor(), other=graph)),
        lambda graph: b"}" + graph + b"Ns",
        lambda graph: dictionary(kernel=graph + b"Q"),
        lambda graph: dictionary(kernel=tensor(of=storage(6, key=text("storage") + graph * 4))),
        lambda graph: dictionary(kernel=REBUILD + graph + b"R"),
        lambda graph: dictionary(kernel=REBUILD + b"(" + storage(6) + graph * 4 + b"tR"),
    ],
    ids=["all", "value", "wrapped", "key", "storage", "kind", "arguments", "shape"],
)
def test_containers_that_hold_each_other_are_refused_at_once(read, make, graph, place):
    refused(read, make(place(graph)))


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
@pytest.mark.parametrize("place", [1, 2, 4])
def test_so_are_those_around_the_weights_of_the_old_format(read, graph, place):
    parts = [number(0x1950A86A20F9469CFC6C), number(1001), b"}", dictionary(kernel=tensor()), b"](" + text("0") + b"e"]
    parts[place] = graph
    content = b"".join(b"\x80\x02" + part + b"." for part in parts) + struct.pack("<q", 6) + bytes(24)
    if place == 2 and graph in (DICTS, ITSELF):  # a dictionary that says nothing of the order of bytes
        assert list(read(content)) == ["kernel"]
    else:
        refused(read, content)


def test_containers_in_these_tests_are_what_they_should_be():
    """By Python's own unpickler: of 60 levels, each twice the one before."""
    for graph, first, second in ((LISTS, 0, 1), (TUPLES, 0, 1), (DICTS, "a", "b")):
        whole, depth = pickle.loads(b"\x80\x02" + graph + b"."), 0
        one = whole if graph == TUPLES else list(whole.values())[-1] if graph == DICTS else whole[-1]
        while one:
            assert one[first] is one[second]
            one, depth = one[first], depth + 1
        assert depth in (59, 60)


def test_what_is_beside_the_weights_does_no_harm(read):
    """A checkpoint may hold anything that its pickle can; the state dict alone is looked at."""
    content = in_zip(dictionary(optimizer=DICTS, args=LISTS, state_dict=dictionary(kernel=tensor())))
    assert list(read(content)) == ["kernel"]


MANY = b"".join(text(str(place)) + tensor((10**6,), (1,), count=10**6) for place in range(2000))


@pytest.mark.parametrize(
    "content",
    [
        in_zip(dictionary(kernel=tensor((10**6, 10**6), (0, 0)))),
        in_zip(dictionary(kernel=tensor((2**31, 2**31, 2**31), (0, 0, 0)))),
        in_zip(b"}(" + MANY + b"u", bytes(4 * 10**6)),
        in_old(dictionary(kernel=tensor((10**12,), (0,)))),
        in_zip(dictionary(kernel=tensor(count=2**61))),
        in_old(dictionary(kernel=tensor(count=2**61))),
        in_old(dictionary(kernel=tensor((2**61,), (1,), count=2**61))),
        in_zip(dictionary(kernel=tensor((0, 2**70), (1, 1)))),
        in_zip(dictionary(kernel=tensor((2**500,), (2**500,)))),
        in_zip(dictionary(kernel=tensor((1,) * 65, (1,) * 65))),
        in_zip(dictionary(kernel=tensor(count=-6))),
        in_zip(b"\x8b" + struct.pack("<I", 10**6) + b"\x7f" * 10**6),
        in_zip(b"\x8d" + struct.pack("<Q", 2**62) + b"a"),
        in_old(b"\x8d" + struct.pack("<Q", 2**62) + b"a"),
        in_zip(b"}" + b"".join(number((2**61 - 1) * place) + b"Ns" for place in range(1, 60_000))),
        in_zip(
            b"]("
            + b"]NaNa" * 1000
            + b"e"
            + put(0)
            + b"0"
            + b"("
            + (named("collections", "OrderedDict") + put(1) + b"0") * 1
            + (get(1) + get(0) + b"\x85R") * 20_000
            + b"t"
        ),
    ],
    ids=[
        *("stride 0", "stride 0 in three", "one storage, often", "stride 0, old", "count", "count, old"),
        *("count and shape, old", "empty and long", "long numbers", "dimensions", "negative"),
        *("a number of a megabyte", "a text of 4 exabytes", "the same, old", "keys of one hash", "copies of a list"),
    ],
)
def test_sizes_are_seen_before_anything_of_that_size_is_made(read, content):
    refused(read, content)


def test_a_far_place_to_keep_something_takes_no_memory(read):
    """Python's unpickler makes a list up to it."""
    assert list(read(in_zip(dictionary(kernel=tensor()) + b"r\xff\xff\xff\x7f"))) == ["kernel"]


# (instruction with what it takes from the stack, what a pickle asks for by it)
@pytest.mark.parametrize(
    "harmful",
    [
        named("os", "system") + text("true") + b"\x85R",
        named("builtins", "eval") + text("1") + b"\x85R",
        named("zoo.networks.state_dict", "read_state_dict") + text("/") + b"\x85R",
        named("numpy.core.multiarray", "_reconstruct"),
        named("collections", "OrderedDict.fromkeys") + text("ab") + b"\x85R",
        b"\x8c\x02os\x8c\x06system\x93" + text("true") + b"\x85R",
        b"\x82\x01",
        b"\x83\x01\x00",
        b"(ios\nsystem\n",
        b"(" + named("collections", "OrderedDict") + b"o",
        named("collections", "OrderedDict") + b")\x81",
        b"Pstorage\n",
        b"I1\n",
        b"\x97",
        b"2",
    ],
    ids=lambda harmful: str(harmful[:24]),
)
@pytest.mark.parametrize("make", [in_zip, in_old])
def test_all_but_dictionaries_and_tensors_is_refused(read, make, harmful):
    assert "because that may run code" in str(refused(read, make(dictionary(kernel=harmful))))


@pytest.mark.parametrize(
    "target",
    [
        REBUILD,
        named("torch._utils", "_rebuild_parameter"),
        named("collections", "OrderedDict"),
        named("torch", "FloatStorage"),
        b"]",
    ],
    ids=["function", "other function", "class", "kind", "list"],
)
def test_nothing_of_ours_can_be_changed(read, target):
    """BUILD sets attributes of what it is given: `_tensor` was the function itself, which all later files met."""
    before = {
        name: dict(vars(one)) for name, one in vars(state_dict).items() if callable(one) and hasattr(one, "__dict__")
    }
    refused(read, in_zip(dictionary(kernel=target + dictionary(mark=b"K\x01") + b"b")))
    after = {
        name: dict(vars(one)) for name, one in vars(state_dict).items() if callable(one) and hasattr(one, "__dict__")
    }
    assert before == after
    assert "kernel" in read(in_zip(dictionary(kernel=tensor())))


def bomb(directory_says, compression=zipfile.ZIP_DEFLATED, real=2**26):
    """An archive whose numbers are `real` zeros, of which the directory says that there are `directory_says`."""
    content = in_zip(dictionary(kernel=tensor((real // 4,), (1,), count=real // 4)), bytes(real), compression)
    return content.replace(struct.pack("<I", real), struct.pack("<I", directory_says))


@pytest.mark.parametrize(
    "content",
    [
        bomb(24),
        bomb(2**32 - 2),
        in_zip(dictionary(kernel=tensor((2**28,), (0,), count=2**24)), bytes(2**26), zipfile.ZIP_DEFLATED),
        in_zip(dictionary(kernel=tensor()), bytes(2**26), zipfile.ZIP_BZIP2),
        in_zip(dictionary(kernel=tensor()), bytes(2**26), zipfile.ZIP_LZMA),
        in_zip(dictionary(kernel=tensor()) + b"N0" * 2**25, compression=zipfile.ZIP_DEFLATED),
        in_zip(b"]" + b"Na" * 2_000_001, compression=zipfile.ZIP_DEFLATED),
        in_zip(dictionary(kernel=tensor())).replace(
            b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01"
        ),
    ],
    ids=["less", "more", "and stride 0", "bzip2", "lzma", "pickle", "instructions", "encrypted"],
)
def test_archives_that_grow_are_refused(tmp_path, content):
    """Within the time and memory that a pickle of two million instructions takes."""
    path = tmp_path / "weights"
    path.write_bytes(content)
    assert len(content) < 1e6
    started, before = time.process_time(), most_memory()
    with pytest.raises(ValueError, match=SENTENCE):
        read_state_dict(path)
    assert time.process_time() - started < 15 and most_memory() - before < 4e8


def test_numbers_that_were_compressed_are_read(read, tmp_path):
    """16 MB of zeros in 16 kB, as of a model's first moments: less than every computer has."""
    file = io.BytesIO()
    np.savez_compressed(file, kernel=np.zeros((2048, 2048), "float32"))
    assert read(file.getvalue())["kernel"].shape == (2048, 2048)


def npz(header, content=b""):
    text = repr(header).encode() + b"\n"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("kernel.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content)
    return file.getvalue()


@pytest.mark.parametrize(
    ("header", "content"),
    [
        ({"descr": "<f4", "fortran_order": False, "shape": (10**12,)}, b""),
        ({"descr": "<f4", "fortran_order": False, "shape": (10**30, 10**30)}, b""),
        ({"descr": "<f4", "fortran_order": False, "shape": (0, 10**30)}, b""),
        ({"descr": "<f4", "fortran_order": False, "shape": (-1,)}, bytes(4)),
        ({"descr": "|V0", "fortran_order": False, "shape": (10**12,)}, b""),
        ({"descr": "<U0", "fortran_order": False, "shape": (10**12,)}, b""),
        ({"descr": "|O", "fortran_order": False, "shape": (1,)}, pickle.dumps([1])),
        ({"descr": [("a", "|O")], "fortran_order": False, "shape": (1,)}, pickle.dumps([1])),
        ({"descr": "<U3", "fortran_order": False, "shape": (1,)}, bytes(12)),
        ({"descr": "<f4", "fortran_order": False, "shape": (2,)}, bytes(12)),
        (["no header"], b""),
    ],
    ids=lambda one: str(one)[:60],
)
def test_npz_of_strangers(read, header, content):
    refused(read, npz(header, content))


def safetensors(header, content=bytes(8)):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header)) + header + content


@pytest.mark.parametrize(
    "content",
    [
        safetensors({str(one): {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for one in range(1000)}),
        safetensors({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}),
        safetensors({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}),
        safetensors({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 8]}}),
        safetensors({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, -4]}}),
        safetensors({"a": {"dtype": "F32", "shape": [2.0], "data_offsets": [0, 8]}}),
        safetensors({"a": {"dtype": "F32", "shape": [10**4000] * 4000, "data_offsets": [0, 8]}}),
        safetensors({"a": {"dtype": "F32", "shape": [0, 10**18, 10**18], "data_offsets": [0, 0]}}, b""),
        safetensors({"a": {"dtype": ["F32"], "shape": [2], "data_offsets": [0, 8]}}),
        safetensors({"a": 3}),
        safetensors(b'{"a":' + b"[" * 100_000),
        safetensors(b'{"a":' + b'{"a":' * 100_000),
        safetensors(b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "a": {}}'),
        safetensors({"__metadata__": {"format": "pt"}}, b""),
        safetensors({}, b""),
        struct.pack("<Q", 2**63) + b"{}",
        b"\x00" * 8 + b"{",
    ],
    ids=[
        *("overlap", "hole", "rest", "any side", "backwards", "fractions", "long numbers", "empty and long", "kind"),
        *("no tensor", "deep lists", "deep objects", "a name twice", "metadata alone", "no names", "length", "nothing"),
    ],
)
def test_safetensors_of_strangers(read, content):
    refused(read, content)


def test_messages_are_short_and_of_one_line(read):
    message = str(refused(read, in_zip(dictionary(**{"a\x1b[31m\nb" + "c" * 10_000: b"N"}))))
    assert message.isprintable() and len(message) < 400
    message = str(refused(read, in_zip(named("os" * 5000, "a\x1b[2J"))))
    assert message.isprintable() and len(message) < 400


def mutated(content, rng):
    """A file with a few bytes changed, left out, repeated or put in, or cut."""
    content = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        place, kind = rng.randrange(len(content)), rng.randrange(5)
        if kind == 0:
            content[place] = rng.randrange(256)
        elif kind == 1:
            content[place] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del content[place : place + rng.choice([1, 2, 8])]
        elif kind == 3:
            content[place:place] = content[place : place + rng.choice([1, 4, 64])]
        else:
            content[place : place + 4] = rng.choice([b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f", b".\x80\x02c"])
    return bytes(content or b"\0")


def samples():
    golden = {name: (GOLDEN / name).read_bytes() for name in ("state_dict.pth", "state_dict_old.pth")}
    compressed = io.BytesIO()
    np.savez_compressed(compressed, a=np.arange(24.0).reshape(4, 6), b=np.zeros((3, 50), "float16"))
    header = {"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, "__metadata__": {"format": "pt"}}
    golden |= {"npz": compressed.getvalue(), "safetensors": safetensors(header, bytes(24))}
    with zipfile.ZipFile(GOLDEN / "state_dict.pth") as archive:  # past the check sums of zip, its pickle
        golden["pickle"] = archive.read("state_dict/data.pkl")
    return golden


SAMPLES = samples()


@pytest.mark.parametrize("name", SAMPLES)
def test_files_with_changed_bytes_are_read_or_refused(tmp_path, name):
    """300 of each kind. Zip has check sums, so where its files are read, they are as they were."""
    rng, path, read_well = random.Random(0), tmp_path / "weights", 0
    (tmp_path / "whole").write_bytes(SAMPLES[name])
    whole = read_state_dict(tmp_path / "whole") if name != "pickle" else {}
    started, before = time.process_time(), most_memory()
    for _ in range(300):
        content = mutated(SAMPLES[name], rng)
        if name == "pickle":
            path.write_bytes(rezipped(content))
        else:
            path.write_bytes(content)
        try:
            found = read_state_dict(path)
        except ValueError as error:
            assert type(error) is ValueError and error.__cause__ is None, error
            continue
        read_well += 1
        assert all(isinstance(key, str) and one.dtype.kind in "biufc" for key, one in found.items())
        if name in ("state_dict.pth", "npz"):
            assert list(found) == list(whole)
            assert all(np.array_equal(found[key], whole[key], equal_nan=True) for key in whole)
    assert time.process_time() - started < 30 and most_memory() - before < 3e8
    assert 0 < read_well < 300


def rezipped(pickled):
    """The golden file with another pickle, and right check sums."""
    file = io.BytesIO()
    with zipfile.ZipFile(GOLDEN / "state_dict.pth") as archive, zipfile.ZipFile(file, "w") as written:
        for name in archive.namelist():
            written.writestr(name, pickled if name.endswith("data.pkl") else archive.read(name))
    return file.getvalue()


def test_check_sums_are_of_the_content():
    """`bomb` changes what a directory says, and zip's check sum is of the numbers: else its cases would show less."""
    assert (
        zlib.crc32(bytes(2**10))
        == zipfile.ZipFile(io.BytesIO(in_zip(b"N", bytes(2**10)))).getinfo("archive/data/0").CRC
    )
