"""`Covariance`, and the protocol of its estimators."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from betahat.covariance.option_words import OptionWords
from betahat.data.groups import Groups
from betahat.data.handed_out import hands_out_copies
from betahat.data.kept import keep_labels
from betahat.fits.fit import Fit
from betahat.saving.records import plain_record
from betahat.solvers.least_squares import RowSum


@hands_out_copies
@dataclass(frozen=True, eq=False)
class Covariance:
    """A covariance of the parameters and the inference that goes with it.

    Attributes
    ----------
    matrix : Tensor
        (k, k).
    label : str
        What a summary calls it: "nonrobust", "HC3".
    note : str
        The sentence under a summary.
    df : float, Tensor or None
        Degrees of freedom of its t tests: one number, (k,) of them, or None for the normal distribution.
    draws : Tensor or None
        (reps, k) where it was resampled.
    robust : bool
        Whether it does without the assumption of homoskedastic errors whose variance is estimated.
    noise : float or None
        The variance of an observation, where the estimator knows it; None takes the fit's dispersion.
    core : Tensor or None
        (r, r) C with Z C Z' the matrix, Z the fit's root, where the estimator has it, or () a multiple of the
        identity: tests of collinear coefficients keep their digits through it.
    df_tests : float or None
        Degrees of freedom of F tests, and of t tests where the user asks for t; None is n - k.
    small_sample : SmallSample or None
        Degrees of freedom of any contrast, where `df` is a tensor.
    resampling : Resampling or None
        What intervals and tests may ask of `draws`.
    clusters : tuple of Clustering
        The ways in which rows belong together, for tables; none where rows are independent.
    rounding : Tensor or None
        (r, r) B beside the core C: a linear function R b whose variance t'C t is below t'B t, t = Z'R, has none, since what the sums left of
        it is rounding. None where no function is.
    asked_t : bool or None
        What the user asked for, t tests or not, which stays when the covariance is switched; None if nothing.
    own_df, own_small_sample
        What `df` and `small_sample` are if the user asks for nothing.
    options : tuple of (str, str)
        The estimator's options in words, for tables that have several covariances of one name.
    estimator : Estimator or None
        What estimated it, which other regressions of the same rows are given to; None if it is no `Estimator`, and in files
        if its options are more than numbers and words.
    """

    matrix: Tensor
    label: str
    note: str
    df: float | Tensor | None = None
    draws: Tensor | None = None
    robust: bool = True
    noise: float | None = None
    core: Tensor | None = None
    df_tests: float | None = None
    small_sample: SmallSample | None = None
    resampling: Resampling | None = None
    clusters: tuple[Clustering, ...] = ()
    rounding: Tensor | None = None
    asked_t: bool | None = None
    own_df: float | Tensor | None = None
    own_small_sample: SmallSample | None = None
    options: OptionWords = ()
    estimator: Estimator | None = field(default=None, repr=False, metadata={"stored": plain_record})


@dataclass(frozen=True)
class Clustering:
    """One way of clustering.

    Attributes
    ----------
    column : str
        The column's name; nothing where labels came as a vector without one.
    count : int
        G, the clusters in it.
    smallest, largest : int
        The rows in the smallest and the largest of them; 0 in files that do not say.
    """

    column: str
    count: int
    smallest: int = 0
    largest: int = 0


def clusterings(groups: Iterable[Groups]) -> tuple[Clustering, ...]:
    """Return the names and sizes of partitions, for tables."""
    return tuple(Clustering(way.column, way.count, int(way.sizes.min()), int(way.sizes.max())) for way in groups)


class SmallSample(ABC):
    """Degrees of freedom of linear functions of the coefficients, each its own."""

    @abstractmethod
    def t_df(self, matrix: Tensor) -> Tensor:
        """Return (J,) those of the t tests of the rows of (J, k) R."""

    @abstractmethod
    def f_df(self, matrix: Tensor) -> float:
        """Return those of the joint test of R b = q, eta: (eta - J + 1) / (eta J) times W is F(J, eta - J + 1)."""


class Resampling(ABC):
    """Replicates of the estimates, and what is known of them beside `Covariance.draws`.

    Attributes
    ----------
    kind : str
        How they were drawn.
    seed : int
        The same seed gives the same replicates.
    reps, failed : int
        How many were drawn, and how many of them have no estimate and are left out.
    exhaustive : bool
        Whether these are all there are, and so no sample of them.
    """

    kind: str
    seed: int
    reps: int
    failed: int
    exhaustive: bool

    @abstractmethod
    def variances(self, jacobian: Tensor, jacobians: Tensor) -> tuple[Tensor, Tensor]:
        """Return (m,) the variance of g(b) that the sample has by itself, and (R, m) those of the replicates.

        Parameters
        ----------
        jacobian : Tensor
            (m, k) of g at the estimate.
        jacobians : Tensor
            (R, m, k) of g at each replicate, or (1, m, k) for all.
        """

    @abstractmethod
    def acceleration(self, jacobian: Tensor) -> Tensor:
        """Return (m,) the acceleration of g(b): a sixth of the skewness of the units' influence, (m, k) being its Jacobian."""

    @abstractmethod
    def pvalues(self, matrix: Tensor, values: Tensor) -> Tensor | None:
        """Return (J,) p-values of R b = q by the kind's own test; None where it has none."""

    @abstractmethod
    def interval(self, matrix: Tensor, alpha: float) -> Tensor | None:
        """Return (J, 2) intervals of R b by inverting the kind's own test."""


class Estimator(ABC):
    """A covariance estimator: a frozen, callable record of its options."""

    @abstractmethod
    def __call__(self, fit: Fit) -> Covariance:
        """Estimate the covariance of `fit.params`."""

    @property
    def row_sums(self) -> tuple[RowSum, ...]:
        """The sums over rows that it will ask of the fit; the solver may take them along."""
        return ()


def keep_given(estimator: Estimator, *options: str) -> None:
    """Copy the labels given to an estimator, so that later changes in place do not reach it."""
    for option in options:
        object.__setattr__(estimator, option, keep_labels(getattr(estimator, option)))


def with_distribution(covariance: Covariance, fit: Fit, use_t: bool | None) -> Covariance:
    """Set t with n - r degrees of freedom, or the normal distribution; None leaves the estimator's own."""
    if use_t is None and covariance.asked_t is None:
        return covariance
    asked = covariance.asked_t is not None
    df = covariance.own_df if asked else covariance.df
    small_sample = covariance.own_small_sample if asked else covariance.small_sample
    own: dict[str, Any] = {"asked_t": use_t, "own_df": df, "own_small_sample": small_sample}
    if use_t is False:
        df = small_sample = None
    elif use_t and df is None:
        df = fit.df_resid if covariance.df_tests is None else covariance.df_tests
    return replace(covariance, df=df, small_sample=small_sample, **own)
