"""Files of weights are read as what wrote them has them, and damaged or foreign ones are refused."""

import collections
import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from zoo.networks.state_dict import read_state_dict

# Written by PyTorch: golden/make_state_dicts.py.
GOLDEN = Path(__file__).parent / "golden"
NUMBERS = np.arange(24, dtype="float32").reshape(4, 6) / 8
EXPECTED = {
    "plain": NUMBERS,
    "transposed": NUMBERS.T,
    "window": NUMBERS[1:3, 2::2],
    "parameter": NUMBERS[0],
    "half": NUMBERS[0].astype("float16"),
    "bfloat16": NUMBERS[0],  # eighths below 1 are exact in it
    "double": NUMBERS[0].astype("float64"),
    "long": np.array([-(2**40), 2**40]),
    "int": np.array([-3, 3], "int32"),
    "byte": np.array([0, 255], "uint8"),
    "bool": np.array([True, False]),
    "scalar": np.array(7),
    "empty": np.zeros((0, 3), "float32"),
}


def check(found, expected):
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype and found[name].shape == value.shape, name
        np.testing.assert_array_equal(found[name], value, name)
        assert found[name].flags.writeable, name


@pytest.mark.parametrize("name", ["state_dict.pth", "state_dict_old.pth"])
def test_files_of_pytorch_are_read(name):
    check(read_state_dict(GOLDEN / name), EXPECTED)


def test_npz_is_read(tmp_path):
    np.savez(tmp_path / "weights.npz", **EXPECTED)
    check(read_state_dict(tmp_path / "weights.npz"), EXPECTED)


def write_safetensors(path, header, numbers):
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + numbers)


def test_safetensors_are_read(tmp_path):
    path = tmp_path / "weights.safetensors"
    # 1.5 in bfloat16 is the upper half of its float32, 0x3FC00000.
    header = {
        "__metadata__": {"format": "pt"},
        "kernel": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]},
        "scale": {"dtype": "BF16", "shape": [1], "data_offsets": [8, 10]},
        "steps": {"dtype": "I64", "shape": [], "data_offsets": [10, 18]},
    }
    write_safetensors(path, header, struct.pack("<ffHq", 0.5, -2.0, 0x3FC0, 9))
    expected = {"kernel": np.float32([[0.5], [-2]]), "scale": np.float32([1.5]), "steps": np.array(9)}
    check(read_state_dict(path), expected)


@pytest.mark.parametrize("old", [False, True])
def test_what_torch_writes_is_read(tmp_path, old):
    torch = pytest.importorskip("torch")
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ConvTranspose2d(4, 2, 2))
    state = network.state_dict()
    state["tied"] = state["0.weight"]
    state["expanded"] = torch.ones(1).expand(3)
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": state, "epoch": 3}, path, _use_new_zipfile_serialization=not old)
    check(read_state_dict(path), {name: one.numpy() for name, one in state.items()})


class Harmful:
    """Runs a function when it is loaded from a pickle."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def in_zip(path, content, **files):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        for name, one in files.items():
            archive.writestr(f"archive/{name}", one)


@pytest.mark.parametrize("is_zip", [True, False])
def test_nothing_in_a_file_is_run(tmp_path, is_zip):
    path, sign = tmp_path / "weights.pth", tmp_path / "sign"
    content = pickle.dumps({"kernel": Harmful(sign)}, protocol=2)
    in_zip(path, content) if is_zip else path.write_bytes(content)
    with pytest.raises(ValueError, match=r"holds more than weights: it asks for .*which is not loaded.*state_dict\(\)"):
        read_state_dict(path)
    assert not sign.exists()


def pickled(offset=0, shape=(2, 3), strides=(3, 1), count=6, kind="FloatStorage", name="0", view=()):
    """A pickle as PyTorch writes it, of one tensor."""

    class Written(pickle._Pickler):
        def persistent_id(self, one):
            return one.key if isinstance(one, Key) else None

        def save_global(self, one, name=None):
            module, name = (one.module, one.name) if isinstance(one, Named) else (one.__module__, one.__name__)
            self.write(b"c" + f"{module}\n{name}\n".encode())

    class Key:
        pass

    class Named:
        def __init__(self, module, name):
            self.module, self.name = module, name

        def __call__(self):
            raise NotImplementedError

        def __reduce__(self):
            return f"{self.module}.{self.name}"

    class Tensor:
        def __reduce__(self):
            return Named("torch._utils", "_rebuild_tensor_v2"), (key, offset, shape, strides, False, None)

    key = Key()
    key.key = ("storage", Named("torch", kind), name, "cpu", count, *view)
    file = io.BytesIO()
    Written(file, protocol=2).dump({"kernel": Tensor()})
    return file.getvalue()


def test_a_tensor_by_hand_is_read(tmp_path):
    path = tmp_path / "weights.pth"
    in_zip(path, pickled(), **{"data/0": np.arange(6, dtype="<f4").tobytes()})
    check(read_state_dict(path), {"kernel": np.arange(6, dtype="float32").reshape(2, 3)})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"offset": 1}, r"a tensor of shape \(2, 3\) lies outside of its storage of 6 numbers"),
        ({"offset": -1}, "lies outside"),
        ({"strides": (-3, 1)}, "lies outside"),
        ({"strides": (2**62, 2**62)}, "lies outside"),
        ({"shape": (2, 4)}, "lies outside"),
        ({"count": 7}, "a storage has 6 of 7 numbers"),
        ({"strides": (1,)}, "describes a tensor wrongly"),
        ({"shape": "ab"}, "describes a tensor wrongly"),
        ({"name": "1"}, "damaged or not whole"),
        ({"view": ((0, 0, 2),)}, "where a storage should be"),
    ],
)
def test_tensors_that_are_described_wrongly_are_refused(tmp_path, options, message):
    path = tmp_path / "weights.pth"
    in_zip(path, pickled(**options), **{"data/0": np.zeros(6, "<f4").tobytes()})
    with pytest.raises(ValueError, match=f"cannot be read as weights: .*{message}.*Download or save it again"):
        read_state_dict(path)


def test_other_kinds_of_numbers_are_refused(tmp_path):
    in_zip(tmp_path / "weights.pth", pickled(kind="ComplexFloatStorage"))
    with pytest.raises(ValueError, match="it asks for torch.ComplexFloatStorage"):
        read_state_dict(tmp_path / "weights.pth")


def test_big_endian_numbers_are_refused(tmp_path):
    in_zip(tmp_path / "weights.pth", pickled(), byteorder=b"big")
    with pytest.raises(ValueError, match="its numbers are big-endian"):
        read_state_dict(tmp_path / "weights.pth")


@pytest.mark.parametrize("name", ["state_dict.pth", "state_dict_old.pth"])
def test_cut_files_are_refused(tmp_path, name):
    content, path = (GOLDEN / name).read_bytes(), tmp_path / "weights.pth"
    for size in (*range(1, len(content), 97), len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match="cannot be read as weights"):
            read_state_dict(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins as none"),
        (b"GIF89a, say", "begins as none"),
        (struct.pack("<Q", 99) + b"{}", "should have 99 bytes, of which 2"),
        (struct.pack("<Q", 2) + b"{]", "damaged"),
        (struct.pack("<Q", 9) + b'{"a": []}', "damaged"),
        (pickle.dumps({"kernel": 1}, protocol=2), "not of PyTorch"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / "weights"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"cannot be read as weights: .*{message}"):
        read_state_dict(path)


@pytest.mark.parametrize(
    ("one", "message"),
    [
        ({"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}, "does not fit"),
        ({"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}, "does not fit"),
        ({"dtype": "F8_E4M3", "shape": [8], "data_offsets": [0, 8]}, "F8_E4M3"),
    ],
)
def test_safetensors_that_do_not_fit_are_refused(tmp_path, one, message):
    write_safetensors(tmp_path / "weights", {"kernel": one}, bytes(8))
    with pytest.raises(ValueError, match=message):
        read_state_dict(tmp_path / "weights")


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({}, "Received: nothing"),
        (3, "Received: 3"),
        ([1, 2], r"Received: \[1, 2\]"),
        ({"epoch": 3, "args": collections.OrderedDict()}, "Received also: epoch, args"),
    ],
)
def test_what_is_no_state_dict_is_refused(tmp_path, found, message):
    in_zip(tmp_path / "weights.pth", pickle.dumps(found, protocol=2))
    with pytest.raises(ValueError, match=f"must hold arrays by name.*{message}"):
        read_state_dict(tmp_path / "weights.pth")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file of weights at .*resnet50.pth"):
        read_state_dict(tmp_path / "resnet50.pth")
