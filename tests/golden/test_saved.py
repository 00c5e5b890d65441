"""Files that earlier versions wrote are read, and say what they said. `saved_v1.py` wrote them."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

import betahat as bh
from betahat.models.stored import OLDER, RECORDS

HERE = Path(__file__).parent
FOLDER = HERE / "saved_v1"
NUMBERS = json.loads((FOLDER / "numbers.json").read_text())
# What is stored is the same to the bit; SciPy's quantiles and NumPy's splines may round otherwise one day.
DIGITS = 1e-12


def _script():
    spec = importlib.util.spec_from_file_location("saved_v1", HERE / "saved_v1.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


SCRIPT = _script()
pytestmark = pytest.mark.filterwarnings("ignore::betahat.BetahatWarning")


@pytest.mark.parametrize("name", NUMBERS)
def test_a_file_of_version_1_says_what_it_said(name):
    loaded = bh.load(FOLDER / f"{name}.betahat")
    found, expected = SCRIPT.numbers(loaded), NUMBERS[name]
    assert found.keys() == expected.keys()
    assert found.pop("cov_type") == expected["cov_type"]
    np.testing.assert_array_equal(found["params"], expected["params"])
    for key, values in found.items():
        np.testing.assert_allclose(values, expected[key], rtol=DIGITS, atol=DIGITS, err_msg=key)
    assert loaded.summary().as_text()


@pytest.mark.parametrize("name", NUMBERS)
def test_a_file_of_version_1_is_written_again(name, tmp_path):
    loaded = bh.load(FOLDER / f"{name}.betahat")
    again = bh.load(loaded.save(tmp_path / "again"))
    for key, values in SCRIPT.numbers(loaded).items():
        np.testing.assert_array_equal(SCRIPT.numbers(again)[key], values, err_msg=key)
    assert str(again.summary()) == str(loaded.summary())


def test_covariances_are_switched_with_the_rows_of_a_file():
    script, loaded = SCRIPT, bh.load(FOLDER / "weights_two_ways.betahat")
    fresh = script.CASES["weights_two_ways"]()
    for cov_type in ("HC3", bh.Cluster("g", "CR2"), bh.HAC(2)):
        np.testing.assert_allclose(loaded.with_cov(cov_type).bse, fresh.with_cov(cov_type).bse, rtol=1e-10)


def test_every_record_of_version_1_has_a_reader():
    told = ""
    for path in sorted(FOLDER.glob("*.betahat")):
        with safe_open(path, framework="pt") as file:
            told += file.metadata()["betahat"]
    named = set(re.findall(r'"(?:record":|enum":\[)"(\w+)"', told))
    assert len(named) > 50
    assert named <= {cls.__name__ for cls in RECORDS} | set(OLDER[1].records) | set(OLDER[1].members)
