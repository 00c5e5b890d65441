"""Broken and forged files, bad places and saves that fail are errors, and leave what was there."""

import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from support.saved import FRAME, GENERAL, MODELS, agree, edited, forged, looked_up, parts

import betahat as bh
from betahat.saving import files, writing
from betahat.saving.records import fields_of


@pytest.fixture(autouse=True)
def _quietly():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.BetahatWarning)
        yield


# broken files and bad places


@pytest.fixture
def saved(tmp_path):
    return bh.ols("y ~ np.log(z) + C(c)", FRAME).fit("HC1").save(tmp_path / "r")


FIT = ("fields", "fit", "fields")
FORGERIES = {
    "unknown record": edited("record", to="Popen"),
    "import path": edited("record", to="os.system"),
    "class that is no enumeration": edited(*FIT, "bread_kind", to={"enum": ["OLS", "x"]}),
    "unknown member": edited(*FIT, "bread_kind", to={"enum": ["Bread", "__class__"]}),
    "enumeration as a record": edited(*FIT, "bread_kind", to={"record": "Bread", "fields": {}}),
    "another field": edited(*FIT, "evil", to=1),
    "missing field": lambda tree: tree["fields"]["fit"]["fields"].pop("root") and None,
    "wrong type": edited(*FIT, "params", to="abc"),
    "wrong kind of record": edited(*FIT, "problem", to={"record": "Tensors", "fields": {}}),
    "function in a field": edited("fields", "cov", "fields", "label", to={"eval": "1 + 1"}),
    "no such place": edited(*FIT, "given", to={"same": 10**6}),
    "place before the first": edited(*FIT, "given", to={"same": -1}),
    "no such tensor": edited(*FIT, "params", to={"tensor": "t999", "order": [0, 1]}),
    "other sizes": edited("fields", "cov", "fields", "matrix", to={"tensor": "t0", "order": [0, 1]}),
    "not finite": lambda tree: '{"tuple": [NaN]}',
    "no record at all": lambda tree: "3",
    "another record": lambda tree: '{"record": "Tensors", "fields": {}}',
    "no JSON": lambda tree: "{",
    "deep": lambda tree: '{"tuple": [' * 100_000,
    "deep and closed": lambda tree: '{"tuple": [' * 20_000 + "]}" * 20_000,
    "many digits": lambda tree: "9" * 100_000,
    "unhashable key": lambda tree: '{"dict": [[{"list": []}, 1]]}',
    "object array": edited(*FIT, "facts", to={"array": "t0", "dtype": "|O8", "shape": [1]}),
    "huge shape": edited(*FIT, "facts", to={"array": "t0", "dtype": "<f8", "shape": [10**18]}),
    "file as a time zone": edited(
        *FIT, "facts", to={"labels": {"zoned": 1, "zone": "dateutil//etc/passwd"}, "name": None, "freq": None}
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_forged_files_are_refused(name, saved):
    with pytest.raises(
        bh.DataError,
        match=r"contains what this version of betahat does not save|betahat results|not a complete file",
    ):
        bh.load(forged(saved, FORGERIES[name]))


def _nodes(node, path=()):
    yield path
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield from _nodes(child, (*path, key))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(4))
def test_a_tree_with_any_node_replaced_is_read_or_refused(saved, first):
    whole, refused = saved.read_bytes(), 0
    paths = list(_nodes(parts(saved)[1]))[1 + first :: 4]
    junk = [
        None,
        {},
        [],
        "x",
        -1,
        1e300,
        True,
        {"same": 3},
        {"tensor": "t1", "order": [0]},
        {"dict": []},
        {"tuple": [1]},
    ]
    for turn, path in enumerate(paths):
        saved.write_bytes(whole)
        forged(saved, edited(*path, to=junk[turn % len(junk)]))
        try:
            bh.load(saved)
        except bh.DataError:
            refused += 1
    assert refused > 0.7 * len(paths) > 25


def test_a_tree_that_is_not_forged_is_read(saved):
    assert bh.load(forged(saved)).cov_type == "HC1"


def test_files_of_others_are_refused(saved, tmp_path):
    for header, sentence in {
        "3 - {}": r"newer betahat \(version 3",
        "-1 - {}": "without betahat results",
        "\N{SUPERSCRIPT TWO} - {}": "without betahat results",
        "1": "was changed after it was written",
    }.items():
        save_file({"a": torch.ones(1)}, saved, {"betahat": header})
        with pytest.raises(bh.DataError, match=sentence):
            bh.load(saved)
    save_file({"a": torch.ones(1)}, tmp_path / "weights")
    with pytest.raises(bh.DataError, match="without betahat results"):
        bh.load(tmp_path / "weights")
    for content in (b"", b"x", b"\x80\x04\x95", b"\xff" * 64, (2**62).to_bytes(8, "little") + b"{}"):
        (tmp_path / "bytes").write_bytes(content)
        with pytest.raises(bh.DataError, match="not a complete file"):
            bh.load(tmp_path / "bytes")


def test_truncated_files_are_refused(saved):
    whole = saved.read_bytes()
    for length in [*range(0, len(whole), len(whole) // 40), len(whole) - 1]:
        saved.write_bytes(whole[:length])
        with pytest.raises(bh.DataError, match="not a complete file"):
            bh.load(saved)


def test_a_single_bit_that_flips_is_seen(saved):
    whole = saved.read_bytes()
    for place in [*range(8, len(whole), len(whole) // 200), len(whole) - 1]:
        saved.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(bh.DataError, match=r"complete file|was changed after|without betahat results"):
            bh.load(saved)


@pytest.mark.parametrize("name", MODELS)
def test_the_same_results_make_the_same_bytes(name, tmp_path):
    results = MODELS[name]().fit("HC0" if name in GENERAL else "HC1")
    first = results.save(tmp_path / "r").read_bytes()
    assert bh.load(tmp_path / "r").save(tmp_path / "again").read_bytes() == first
    assert results.save(tmp_path / "r").read_bytes() == first
    if name in ("formula", "weights"):  # formulaic's set of factors has another order in each process
        assert list(bh.load(tmp_path / "r").model.source.factors) == sorted(map(str, results.model.source.spec.factors))


def test_a_field_that_came_later_has_its_default(saved):
    def edit(tree):
        for field in ("df_tests", "clusters"):
            del tree["fields"]["cov"]["fields"][field]

    agree(bh.load(saved), bh.load(forged(saved, edit)))


def test_fields_are_read_in_the_order_of_the_file(tmp_path, monkeypatch):
    """A later version may order its fields otherwise, and a node is referred to by its number in the file."""
    results = bh.ols("y ~ x", FRAME).fit(bh.Cluster("g", "CR2"))
    monkeypatch.setattr(writing, "fields_of", lambda cls: (names := fields_of(cls)) and names[::-1])
    loaded = bh.load(results.save(tmp_path / "r"))
    agree(results, loaded)
    agree(results, loaded, looked_up)


def test_bad_places(tmp_path, saved):
    results = bh.load(saved)
    for path in (None, 3, [1]):
        for act in (results.save, bh.load):
            with pytest.raises(bh.OptionError, match="pass the name of a file"):
                act(path)
    assert bh.load(results.save(str(tmp_path / "é").encode())).names == results.names
    with pytest.raises(bh.DataError, match=r"The folder .* does not exist"):
        results.save(tmp_path / "nowhere" / "r")
    with pytest.raises(bh.DataError, match="is a folder"):
        results.save(tmp_path)
    with pytest.raises(bh.DataError, match="is a folder"):
        bh.load(tmp_path)
    with pytest.raises(bh.DataError, match="does not exist"):
        bh.load(tmp_path / "absent")
    with pytest.raises(bh.OptionError, match="device is 'nowhere'"):
        bh.load(saved, device="nowhere")
    assert bh.load(saved, device="cpu").params.equals(results.params)


@pytest.mark.parametrize("step", ["save_file", "replace"])
def test_a_save_that_fails_leaves_the_old_file(step, saved, monkeypatch):
    before, results = saved.read_bytes(), bh.ols("y ~ x", FRAME).fit()

    def fail(*given):
        if step == "save_file":
            Path(given[1]).write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(*((files, "save_file") if step == "save_file" else (files.os, "replace")), fail)
    with pytest.raises(bh.DataError, match="No space left"):
        results.save(saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]
    monkeypatch.undo()
    results.save(saved)
    assert bh.load(saved).names == ("Intercept", "x")
