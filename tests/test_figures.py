"""Figures of the README that take minutes: `make slow`. The bounds leave room for other machines' rounding."""

import json

import pytest

pytestmark = pytest.mark.slow


def test_wgan_gp_finds_all_modes_of_the_grid_and_the_ring(tmp_path):
    """README, table of modes: 25 of 25 and 8 of 8 on every seed; here seed 0 at fewer steps."""
    from benchmarks import modes

    for name, count in (("grid", 25), ("ring", 8)):
        out = tmp_path / f"{name}.json"
        modes.main(modes.Config(models=("wgan_gp",), sets=(name,), seeds=1, steps=3000, out=out))
        (result,) = json.loads(out.read_text()).values()
        assert result["modes_found"] == count


def test_demo_reaches_its_frechet_distance(tmp_path, capsys):
    """README: the demo's figure beside real and untrained."""
    from dataclasses import replace

    from recipes import demo

    demo.train(replace(demo.config(), out=tmp_path / "run", exports=tmp_path / "exports"))
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["frechet_distance"] < 20 < metrics["untrained"]["frechet_distance"]
    assert (tmp_path / "run" / "samples.png").exists()
