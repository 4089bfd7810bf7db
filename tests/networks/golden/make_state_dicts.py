"""Writes state_dict.pth and state_dict_old.pth beside itself, with PyTorch 2.14.1."""

import collections
from pathlib import Path

import torch

numbers = torch.arange(24, dtype=torch.float32).reshape(4, 6) / 8
state = collections.OrderedDict(
    {
        "plain": numbers,
        "transposed": numbers.T,
        "window": numbers[1:3, 2::2],
        "parameter": torch.nn.Parameter(numbers[0].clone()),
        "half": numbers.half()[0],
        "bfloat16": numbers.bfloat16()[0],
        "double": numbers.double()[0],
        "long": torch.tensor([-(2**40), 2**40]),
        "int": torch.tensor([-3, 3], dtype=torch.int32),
        "byte": torch.tensor([0, 255], dtype=torch.uint8),
        "bool": torch.tensor([True, False]),
        "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 3),
    }
)
# As modules leave it on theirs.
state._metadata = collections.OrderedDict({"": {"version": 1}})
folder = Path(__file__).parent
torch.save(state, folder / "state_dict.pth")
torch.save({"model": state}, folder / "state_dict_old.pth", _use_new_zipfile_serialization=False)
