"""What is imported when: a package that few calls need is imported by the first of them, in whichever thread that is."""

import inspect
import json
import subprocess
import sys

import pytest

from betahat.lazy import lazily

HEAVY = {
    *("scipy", "scipy.special", "scipy.stats", "scipy.sparse", "scipy.spatial", "statsmodels", "pandas", "formulaic"),
    *("patsy", "pyarrow", "polars", "matplotlib", "safetensors", "docx", "pypandoc"),
    *("maketables", "stargazer", "marginaleffects", "pyfixest"),
}
DATA = """
import json, sys
import numpy as np
import betahat as bh
rng = np.random.default_rng(7)
X, y = rng.standard_normal((40, 3)), rng.standard_normal(40)
"""


def of_fresh_process(script):
    """Return what a script prints as JSON."""
    done = subprocess.run([sys.executable, "-c", DATA + script], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def imported_by(script):
    return HEAVY & set(of_fresh_process(f"{script}\nprint(json.dumps([*sys.modules]))"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "script",
    [
        "",
        "bh.OLS(y, X).fit(cov_type='HC1').bse",
        "bh.Logit((y > 0) * 1.0, X).fit().bse",
    ],
    ids=["import", "OLS", "Logit"],
)
def test_betahat_and_fits_of_arrays_import_none_of_these(script):
    assert not imported_by(script)


def test_probabilities_import_no_more_than_special_functions():
    assert imported_by("bh.OLS(y, X).fit().pvalues") <= {"scipy", "scipy.special"}


def test_frames_do_not_import_formulas():
    script = "import pandas as pd\nbh.OLS(pd.Series(y), pd.DataFrame(X)).fit().bse"
    assert not imported_by(script) & {"formulaic", "patsy", "statsmodels", "scipy"}


def test_eight_threads_may_be_the_first():
    """All call at once what imports statsmodels, scipy.stats, patsy and formulaic."""
    texts = of_fresh_process("""
import threading
gate, texts = threading.Barrier(8), [None] * 8
table = {"y": y, "x": X[:, 0]}
def work(i):
    gate.wait(60)
    res = bh.ols("y ~ x", table).fit() if i % 2 else bh.OLS(y, X).fit()
    texts[i] = [str(res.t_test("x = 0" if i % 2 else "x1 = 0")), str(res.summary().tables[1])]
threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
[thread.start() for thread in threads]
[thread.join(120) for thread in threads]
print(json.dumps(texts))
""")
    assert None not in texts
    assert all(text == texts[i % 2] for i, text in enumerate(texts))


def test_a_module_to_be_imported_looks_as_it_will():
    later = lazily("scipy.stats")
    assert inspect.ismodule(later)
    assert later.__name__ == "scipy.stats"
    assert {"norm", "chi2"} <= set(dir(later))
    assert later.norm is sys.modules["scipy.stats"].norm
    with pytest.raises(AttributeError, match="no_such_distribution"):
        _ = later.no_such_distribution


def test_models_are_imported_when_they_are_first_used():
    known = of_fresh_process("""
before = [name for name in sys.modules if name.startswith("betahat.models.")]
bh.OLS(y, X).fit()
after = [name for name in sys.modules if name.startswith("betahat.models.")]
print(json.dumps([before, after, sorted(set(bh.__all__) - set(dir(bh))), hasattr(bh, "Nothing")]))
""")
    before, after, missing, nothing = known
    assert not before
    assert "betahat.models.linear" in after
    assert "betahat.models.survival" not in after
    assert not missing
    assert not nothing
