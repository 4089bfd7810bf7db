"""Folders and files around the versions: what TF Serving would pass over or refuse; hand-written entries stay."""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import keras
import pytest
import tensorflow as tf

from zoo.serving import publish
from zoo.serving.checking.layout import base_problems, model_problems, served_versions
from zoo.serving.formats.folders import find_models, is_a_model, is_a_version
from zoo.serving.formats.models_config import read_config, write_config


def make(base, *versions):
    """Empty graphs: enough for whoever looks at folders only."""
    for version in versions:
        (base / version).mkdir(parents=True)
        (base / version / "saved_model.pb").touch()


def entry(name, more="", path=None):
    path = path or f"/models/{name}"
    return f'config {{ name: "{name}" base_path: "{path}" model_platform: "tensorflow" {more} }}\n'


def write(base, *entries):
    (base / "models.config").write_text("# by hand\nmodel_config_list {\n" + "".join(entries) + "}\n")


def test_a_good_base_directory(tmp_path):
    make(tmp_path, "a/1", "a/2", "b/1")
    write_config(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "a" / ".next.partial-0123").mkdir()
    (tmp_path / "a" / "README.md").touch()
    assert base_problems(tmp_path) == model_problems(tmp_path / "a") == []
    assert served_versions(tmp_path) == [("a", tmp_path / "a" / "2"), ("b", tmp_path / "b" / "1")]


def test_stray_folders(tmp_path):
    make(tmp_path, "a/1", "a/01", "a/latest")
    (tmp_path / "a" / "3").touch()
    (tmp_path / "a" / str(2**63)).mkdir()
    problems = model_problems(tmp_path / "a")
    for words in (
        "passes over `latest` in silence, because it is not named by an integer",
        f"passes over `{2**63}` in silence",
        "takes `3` for a version, but it is a file",
        "Several folders are version 1",
    ):
        assert any(words in problem for problem in problems), problems
    assert len(problems) == 4
    make(tmp_path, "b")
    unversioned, empty = model_problems(tmp_path / "b")
    assert "move it to `b/1`" in unversioned and "No versions of servable b found under base path" in empty


ENTRIES = {
    "version 7 of model a, which is not currently available": entry("a", 'version_labels { key: "stable" value: 7 }'),
    "labels version 1 `stable`, but TF Serving serves 2": entry("a", 'version_labels { key: "stable" value: 1 }'),
    "label 'not-a-word'": entry("a", 'version_labels { key: "not-a-word" value: 2 }'),
    "asks for version 5": entry("a", "model_version_policy { specific { versions: [2, 5] } }"),
    "No versions of servable gone found under base path /models/gone": entry("gone"),
    "name that is not made of letters": entry("a-b", path="/models/a"),
    "has the model_platform ''": 'config { name: "a" base_path: "/models/a" }',
    "Expected model a to have an absolute path or URI; got base_path()=a": entry("a", path="a"),
    "lists the model `a` 2 times": entry("a") + entry("a"),
    "TF Serving does not start: ": "config { nme: 1 }",
    'does not list `a`: "Servable not found for request: Latest(a)"': entry("b", path="/models/b"),
}


@pytest.mark.parametrize("words", ENTRIES)
def test_models_config_faults(tmp_path, words):
    make(tmp_path, "a/1", "a/2", "b/1")
    write(tmp_path, ENTRIES[words], "" if "b/1" in words or 'name: "b"' in ENTRIES[words] else entry("b"))
    assert any(words in problem for problem in base_problems(tmp_path)), base_problems(tmp_path)


def test_bases_models_and_versions_are_told_apart(tmp_path):
    make(tmp_path, "a/1", "2024/1", "2024/2", "bare", "b/latest")
    (tmp_path / "c" / ".next.partial-0123").mkdir(parents=True)
    (tmp_path / "c" / ".next.partial-0123" / "saved_model.pb").touch()
    assert [path.name for path in find_models(tmp_path)] == ["2024", "a", "b", "bare"]
    assert [is_a_model(tmp_path / name) for name in (".", "2024", "a", "b")] == [False, True, True, True]
    assert [is_a_version(tmp_path / name) for name in (".", "2024", "a/1", "bare")] == [False, False, True, True]


def test_labels_of_versions_that_are_served(tmp_path):
    make(tmp_path, "a/1", "a/2", "a/3")
    labels = 'version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 2 }'
    write(tmp_path, entry("a", "model_version_policy { specific { versions: [1, 2] } }" + labels))
    assert base_problems(tmp_path) == []
    assert [folder.name for _, folder in served_versions(tmp_path)] == ["1", "2"]
    assert [folder.name for _, folder in served_versions(tmp_path / "a" / "3")] == ["3"]
    write(tmp_path, entry("a", "model_version_policy { latest { num_versions: 2 } }"))
    assert [folder.name for _, folder in served_versions(tmp_path / "a")] == ["2", "3"]


def test_no_models_and_bad_names(tmp_path):
    no_model, no_config = base_problems(tmp_path)
    assert "There is no model in" in no_model and "There is no models.config" in no_config
    assert "`zoo.serving.publish(model, " in no_config and "`model.export` writes a version alone" in no_config
    make(tmp_path, "a-b/1")
    write_config(tmp_path)
    (bad,) = base_problems(tmp_path)
    assert "`a-b` cannot be served" in bad


def test_batching_config(tmp_path):
    """What it may hold is in test_batching.py."""
    (tmp_path / "batching.config").write_text("max_batch_size: 8")
    assert any("does not parse as BatchingParameters" in problem for problem in base_problems(tmp_path))


def test_write_config_keeps_what_was_written_by_hand(tmp_path):
    make(tmp_path, "a/1", "b/1", "d/1")
    pinned = "model_version_policy { specific { versions: 1 } } version_labels { key: 'stable' value: 1 }"
    write(tmp_path, entry("a", pinned), entry("gone"), entry("c", path="/other/c"), entry("alias", path="/models/d"))
    write_config(tmp_path)
    a, c, alias, b = read_config(tmp_path / "models.config").model_config_list.config
    assert (a.name, list(a.model_version_policy.specific.versions), dict(a.version_labels)) == ("a", [1], {"stable": 1})
    assert (c.name, c.base_path, alias.name, b.name) == ("c", "/other/c", "alias", "b")
    text = (tmp_path / "models.config").read_text() + "# a comment\n"
    (tmp_path / "models.config").write_text(text)
    make(tmp_path, "a/2")
    write_config(tmp_path)
    assert (tmp_path / "models.config").read_text() == text  # nothing to add: not rewritten


class Tiny(SimpleNamespace):
    def signatures(self):
        specs = {"x": tf.TensorSpec((None, 2))}
        return {"serving_default": (lambda x: {"y": keras.ops.tanh(x)}, specs)}


def test_a_models_config_that_does_not_parse_stops_publish_at_once(tmp_path):
    (tmp_path / "models.config").write_text("model_config_list {")
    with pytest.raises(ValueError, match="does not parse as the ModelServerConfig"):
        publish(Tiny(), tmp_path, "tiny", card={})
    with pytest.raises(ValueError, match="does not parse"):
        write_config(tmp_path)
    (tmp_path / "models.config").write_text("custom_model_config {}")
    with pytest.raises(ValueError, match="Expected: a model_config_list"):
        write_config(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["models.config"]


@contextlib.contextmanager
def as_nobody():
    """Root may write everywhere; the user with number 65534 may not."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def public():
    """A base directory that any user can reach."""
    base = Path(tempfile.mkdtemp())
    base.chmod(0o755)
    yield base
    for path in (base, *base.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(base)


def test_publishing_where_nobody_may_write(public):
    make(public, "tiny/1")
    write_config(public)
    (public / "tiny").chmod(0o555)
    public.chmod(0o555)
    before = sorted(public.rglob("*"))
    with as_nobody():
        for name in ("tiny", "other"):
            with pytest.raises(OSError, match="Cannot write below .*Permission denied.* choose another folder"):
                publish(Tiny(), public, name, card={})
    assert sorted(public.rglob("*")) == before


def test_a_models_config_that_cannot_be_written(public):
    make(public, "tiny/1")
    public.chmod(0o555)
    with as_nobody(), pytest.raises(OSError, match="Cannot write .*models.config.*TF Serving hears of no new models"):
        write_config(public)
