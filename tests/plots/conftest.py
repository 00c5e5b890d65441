"""Pictures without a screen."""

import pytest

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
