"""A covariance that the user has computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from betahat.covariance.base import Covariance, Estimator, keep_given
from betahat.covariance.checks import matrix_flaw
from betahat.data.container import to_tensor
from betahat.errors import OptionError, listed, shown
from betahat.fits.fit import Fit
from betahat.lazy import lazily

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


@dataclass(frozen=True, eq=False)
class Given(Estimator):
    """A matrix of your own, tested by the normal distribution; ``cov_type=matrix`` is the same.

    Attributes
    ----------
    matrix : array_like, Tensor or dataframe
        (k, k), symmetric.
    label : str
        What a summary calls it.

    Raises
    ------
    OptionError
        The wrong shape, values that are not finite, a matrix that is not symmetric or has a negative variance.

    References
    ----------
    ``statsmodels`` ``t_test(cov_p=...)``, which takes a matrix for one test.

    Examples
    --------
    >>> import betahat as bh
    >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0], bh.add_constant([1.0, 2.0, 3.0, 4.0])).fit()
    >>> res.with_cov([[0.04, -0.01], [-0.01, 0.01]]).bse
    array([0.2, 0.1])
    """

    matrix: Any
    label: str = "given"

    def __post_init__(self) -> None:
        """Refuse a label that is no text; keep the matrix as it is."""
        if not isinstance(self.label, str):
            raise OptionError(f"label is {shown(self.label)}; pass a string.")
        keep_given(self, "matrix")

    def __call__(self, fit: Fit) -> Covariance:
        """Check the matrix, and take it."""
        matrix, width = to_tensor(self.matrix, fit.params), len(fit.params)
        _check_labels(self.matrix, fit.names)
        if (
            matrix.shape == (fit.width, fit.width) and fit.width > width and not fit.equations
        ):  # NaN where columns were left out
            matrix = matrix[list(fit.kept)][:, list(fit.kept)]
        if matrix.shape != (width, width):
            raise OptionError(
                f"The covariance has shape {tuple(matrix.shape)}; pass ({width}, {width}), a row for each coefficient."
            )
        flaw = matrix_flaw(matrix)
        if flaw is not None:
            raise OptionError(f"The covariance {flaw}; pass a symmetric matrix of numbers without negative variances.")
        return Covariance(matrix.clone(), self.label, "Standard Errors are by a covariance that was given")


def _check_labels(matrix: Any, names: Sequence[str]) -> None:
    """Refuse a frame whose labels are those of other coefficients, or of these in another order."""
    if not isinstance(matrix, pd.DataFrame):
        return
    for labels in (list(matrix.index), list(matrix.columns)):
        if all(isinstance(label, str) for label in labels) and len(labels) == len(names) and labels != list(names):
            raise OptionError(
                f"The covariance is labelled {listed(labels)}, and the coefficients are {listed(names)}; bring its rows and columns into "
                "their order, with .loc say, or pass an array."
            )
