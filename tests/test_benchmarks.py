"""The command lines of the benchmarks refuse at once what would fail after the measuring."""

import importlib
import re

import pytest


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        ("gan_step.__main__", ["--rounds", "0"], "--rounds: expected a whole number of at least 1, received '0'"),
        ("import_cost", ["--rounds", "two"], "--rounds: expected a whole number of at least 1, received 'two'"),
        ("seq2seq_step", ["--parts", "nmt"], "--parts: invalid choice: 'nmt'"),
        ("seq2seq_step", ["--batch-size", "0"], "--batch-size: expected a whole number of at least 1, received '0'"),
        ("mask_rcnn", ["--parts", "infer"], "--parts: invalid choice: 'infer'"),
        ("mask_rcnn", ["--sides", "300"], "--sides must be multiples of 32, .* Received: .300."),
        ("fcn", ["--stride", "4"], "--stride: invalid choice: 4"),
        ("decoding", ["--length", "80"], "--length 80 is more than --max-length 64"),
        ("scale", ["--batch-size", "-1"], "--batch-size: expected a whole number of at least 1, received '-1'"),
        (
            "scale",
            ["--models", "NoSuch"],
            "--models: expected names of gan, .*wgan_gp, .*ot_gan, .*vae, seq2seq, mask_rcnn, fcn. Received: NoSuch",
        ),
    ],
)
def test_wrong_options_are_refused_at_once(monkeypatch, capsys, module, arguments, message):
    command = importlib.import_module(f"benchmarks.{module}")
    monkeypatch.setattr("sys.argv", ["benchmark", *arguments])
    with pytest.raises(SystemExit):
        command.main()
    assert re.search(message, capsys.readouterr().err)
