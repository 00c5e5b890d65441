"""What formulas of R have inside them and those of betahat beside them."""

from __future__ import annotations

import re
from collections.abc import Collection

_REMEDIES = {
    "offset": "an offset stands beside the formula, offset='{0}'",
    "strata": "strata stand beside the formula, strata='{0}'",
    "cluster": "clusters belong to the covariance, fit('cluster', {{'groups': data['{0}']}})",
    "weights": "weights stand beside the formula, weights='{0}'",
    "cbind": "successes and failures of bh.glm are written '{0} + {1} ~ ...'",
    "Surv": "write '{0} ~ ...' and pass status='{1}' beside the formula",
}


def remedy_of_r(text: str, absent: Collection[str]) -> str | None:
    """Return what to write in place of functions of R's that a formula calls; None where it calls none that are absent."""
    found = [
        remedy.format(*(*(part.strip() for part in inside.split(",")), "...", "..."))
        for word, remedy in _REMEDIES.items()
        if word in absent
        for inside in re.findall(rf"\b{word}\(([^()]*)\)", text)[:1]
    ]
    return "; ".join(found) or None
