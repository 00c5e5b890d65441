"""The decomposition of two-way fixed effects: naive differences in differences, weights that sum to one, and the estimate they sum to."""

import numpy as np
import pandas as pd
import pytest
from support.closeness import close
from support.staggered import panel

import betahat as bh

SAME = 1e-11  # a few sums of some hundred numbers


def regression(data):
    return float(bh.ols("y ~ treated | unit + year", data).fit().params["treated"])


@pytest.mark.parametrize("recode", [{}, {0: 1990}, {0: 2008}], ids=["never", "always", "late"])
def test_it_sums_to_the_regression(recode):
    data = panel()
    data["cohort"] = data.cohort.replace(recode)
    data["treated"] = ((data.cohort > 0) & (data.year >= data.cohort)).astype(float)
    found = bh.bacon(data, "y", "unit", "year", "cohort")
    close(found.estimate, regression(data), SAME)
    pairs = found.pairs
    close(pairs.weight.sum(), 1.0, SAME)
    close((pairs.weight * pairs.estimate).sum(), found.estimate, SAME)
    close((found.kinds().weight * found.kinds().estimate).sum(), found.estimate, SAME)
    last = {"1990": "Treated vs always treated", "2008": "Earlier vs later treated"}
    kinds = {last[str(value)] for value in recode.values()} or {"Treated vs untreated"}
    assert kinds <= set(pairs.kind)


def test_each_pair_is_a_regression_on_its_rows():
    """A comparison is two-way fixed effects on two groups, while one of them does not change its treatment."""
    data = panel()
    pairs = bh.bacon(data, "y", "unit", "year", "cohort").pairs
    assert len(pairs) == 4
    for pair in pairs.itertuples():
        treated = int(pair.treated)
        control = 0 if pair.control == "never" else int(pair.control)
        own = data[data.cohort.isin([treated, control])]
        if control:
            own = own[(own.year < control) if treated < control else (own.year >= control)]
        own = own.assign(treated=((own.cohort == treated) & (own.year >= treated)).astype(float))
        close(pair.estimate, regression(own), SAME)


def test_a_published_decomposition():
    """Stata's bacondecomp on three units in ten periods (Naqvi, DiD, asjadnaqvi.github.io/DiD, printed to three digits)."""
    data = pd.DataFrame(
        [(i, t, g) for i, g in ((1, np.nan), (2, 5), (3, 8)) for t in range(1, 11)], columns=["id", "t", "g"]
    )
    data["y"] = np.where(data.t >= data.g, data.g.map({5.0: 2.0, 8.0: 4.0}), 0.0)
    found = bh.bacon(data, "y", "id", "t", "g")
    close(found.estimate, 2.909, 2e-4)
    table = found.kinds()
    close(table.loc["Earlier vs later treated"], [0.182, 2.0], 2e-3)
    close(table.loc["Later vs earlier treated"], [0.136, 4.0], 3e-3)
    close(table.loc["Treated vs untreated"], [0.682, 2.933], 4e-4)


def test_its_table():
    found = bh.bacon(panel(), "y", "unit", "year", "cohort")
    assert found.table().to_frame().equals(found.kinds().assign(pairs=[2, 1, 1])[["pairs", "weight", "estimate"]])
    assert "Two-way fixed effects" in repr(found)
    assert r"\toprule" in found.table(digits=2).to_latex()
