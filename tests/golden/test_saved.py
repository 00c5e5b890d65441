"""Files that earlier versions wrote are read, and say what they said. `saved_v1.py` and `saved_v2.py` wrote them."""

import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

import betahat as bh
from betahat.models.stored import OLDER, RECORDS

HERE = Path(__file__).parent
SCRIPTS = {version: importlib.import_module(f"golden.saved_v{version}") for version in (1, 2)}
NUMBERS = {
    version: json.loads((HERE / f"saved_v{version}" / "numbers.json").read_text(encoding="utf-8"))
    for version in SCRIPTS
}
# How many kinds of records the files of a version name.
KINDS = {1: 50, 2: 90}
# What is stored is the same to the bit; SciPy's quantiles and NumPy's splines may round otherwise one day.
DIGITS = 1e-12

pytestmark = pytest.mark.filterwarnings("ignore::betahat.BetahatWarning")
every_file = pytest.mark.parametrize(("version", "name"), [(v, name) for v, found in NUMBERS.items() for name in found])


def _file(version, name):
    return HERE / f"saved_v{version}" / f"{name}.betahat"


def _numbers(version, results):
    return SCRIPTS[version].numbers(results, SCRIPTS[version].data())


@every_file
def test_a_file_says_what_it_said(version, name):
    loaded = bh.load(_file(version, name))
    found, expected = _numbers(version, loaded), NUMBERS[version][name]
    assert found.keys() == expected.keys()
    assert found.pop("cov_type") == expected["cov_type"]
    np.testing.assert_array_equal(found["params"], expected["params"])
    for key, values in found.items():
        np.testing.assert_allclose(values, expected[key], rtol=DIGITS, atol=DIGITS, err_msg=key)
    assert str(loaded.summary())


@every_file
def test_a_file_is_written_again(version, name, tmp_path):
    loaded = bh.load(_file(version, name))
    again = bh.load(loaded.save(tmp_path / "again"))
    for key, values in _numbers(version, loaded).items():
        np.testing.assert_array_equal(_numbers(version, again)[key], values, err_msg=key)
    assert str(again.summary()) == str(loaded.summary())


@pytest.mark.parametrize(("version", "name"), [(1, "weights_two_ways"), (2, "wls_two_ways")])
def test_covariances_are_switched_with_the_rows_of_a_file(version, name):
    loaded, fresh = bh.load(_file(version, name)), SCRIPTS[version].CASES[name]()
    for cov_type in ("HC3", bh.Cluster("g", "CR2"), bh.HAC(2)):
        np.testing.assert_allclose(loaded.with_cov(cov_type).bse, fresh.with_cov(cov_type).bse, rtol=1e-10)


@pytest.mark.parametrize("version", SCRIPTS)
def test_every_record_has_a_reader(version):
    told = ""
    for path in sorted((HERE / f"saved_v{version}").glob("*.betahat")):
        with safe_open(path, framework="pt") as file:
            told += file.metadata()["betahat"]
    named = set(re.findall(r'"(?:record":|enum":\[)"(\w+)"', told))
    assert len(named) > KINDS[version]
    older = OLDER.get(version)
    renamed = set() if older is None else {*older.records, *older.members}
    assert named <= {cls.__name__ for cls in RECORDS} | renamed
