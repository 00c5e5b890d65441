"""Neighbours learn of betahat in either order of imports; betahat imports none of them, and none can break it."""

import importlib.util
import subprocess
import sys
from types import ModuleType

import pytest

import betahat as bh
from betahat.neighbours import introductions

USES = {
    "maketables": "from maketables import ETable\ndef use_maketables(): assert '2.8' in ETable(res).df.to_string()",
    "stargazer": "from stargazer.stargazer import Stargazer\ndef use_stargazer(): assert '2.8' in Stargazer([res]).render_html()",
    "marginaleffects": "from marginaleffects import avg_predictions, hypotheses\n"
    "def use_marginaleffects():\n"
    "    assert round(avg_predictions(res)['estimate'][0], 6) == 2.8\n"
    "    assert hypotheses(res).shape[0] == 1",
}
FIT = "import betahat as bh\nres = bh.OLS([2.0, 3.0, 3.4], [[1.0], [1.0], [1.0]]).fit()"


def there():
    return [name for name in USES if importlib.util.find_spec(name)]


@pytest.mark.slow
@pytest.mark.parametrize("first", ["betahat", "neighbours"])
def test_either_order_of_imports(first):
    uses = "\n".join(USES[name] for name in there())
    calls = "\n".join(f"use_{name}()" for name in there())
    alone = f"import sys\nassert not {set(USES)} & set(sys.modules), sys.modules"
    parts = [FIT, alone, uses, calls] if first == "betahat" else [uses, FIT, calls]
    subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", "\n".join(parts)], check=True)


@pytest.mark.parametrize("neighbour", introductions.NEIGHBOURS)
def test_another_version_stays_importable(neighbour):
    """A module without what ours looks for: one warning, which names the package and the remedy."""
    meet = introductions._introduction(introductions.NEIGHBOURS[neighbour])
    package = neighbour.partition(".")[0]
    with pytest.warns(
        bh.BetahatWarning, match=rf"version of {package} cannot take betahat.*betahat\[ecosystem\]"
    ) as caught:
        meet(ModuleType(neighbour))
    assert len(caught) == 1
