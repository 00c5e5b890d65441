"""Pictures without a screen."""

import pytest

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def _no_figures():
    """Begin without the figures that tests elsewhere left open."""
    matplotlib.pyplot.close("all")
