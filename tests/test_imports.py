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


STAGES = {
    "import": ("", set()),
    "OLS": ("bh.OLS(y, X).fit(cov_type='HC1').bse", set()),
    "Logit": ("bh.Logit((y > 0) * 1.0, X).fit().bse", set()),
    "probabilities": ("bh.OLS(y, X).fit().pvalues", {"scipy", "scipy.special"}),
    "frames": (
        "import pandas as pd\nbh.OLS(pd.Series(y), pd.DataFrame(X)).fit().bse",
        {"scipy", "scipy.special", "pandas", "pyarrow"},
    ),
}


@pytest.fixture(scope="module")
def stages():
    """{stage: what has been imported by then}, in one process, one after the other; and the names that betahat does not show before it uses them."""
    lines = [f"{script}\nfound[{name!r}] = [*sys.modules]" for name, (script, _) in STAGES.items()]
    shown = "found['hidden'] = [*{*bh.__all__} - {*dir(bh)}, *['Nothing'][: hasattr(bh, 'Nothing')]]"
    return of_fresh_process("\n".join(["found = {}", *lines, shown, "print(json.dumps(found))"]))


@pytest.mark.parametrize("name", STAGES)
def test_no_stage_of_work_imports_what_the_next_one_needs(name, stages):
    assert HEAVY & {*stages[name]} <= STAGES[name][1]


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


def test_models_are_imported_when_they_are_first_used(stages):
    before, after = ({name for name in stages[at] if name.startswith("betahat.models.")} for at in ("import", "OLS"))
    assert not before
    assert "betahat.models.linear" in after
    assert "betahat.models.survival" not in after
    assert not stages["hidden"]
