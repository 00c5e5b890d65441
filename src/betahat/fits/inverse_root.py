"""The way back from the coordinates of Z."""

from __future__ import annotations

from torch import Tensor

from betahat.fits.fit import Fit
from betahat.fits.remembered import of_fit


@of_fit
def inverse_root(fit: Fit) -> Tensor:
    """Return (r, k) W = ZᵀA, with W Z = I: changes of coefficients become steps, d = W (b* - b), and influence scores, s = Wᵀu."""
    return (fit.root.mT @ fit.triangle.mT) @ fit.triangle
