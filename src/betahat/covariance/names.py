"""The only table of names: strings end here."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import torch
from narwhals.dependencies import is_pandas_dataframe

from betahat.covariance.base import Covariance, Estimator, with_distribution
from betahat.covariance.bootstrap import Bootstrap
from betahat.covariance.checks import check_held, matrix_flaw
from betahat.covariance.classical import Classical, FixedScale
from betahat.covariance.cluster import Cluster
from betahat.covariance.conley import Conley
from betahat.covariance.defined import defined
from betahat.covariance.driscoll_kraay import DriscollKraay
from betahat.covariance.given import Given
from betahat.covariance.hac import HAC
from betahat.covariance.hc import HC0, HC1, HC2, HC3, HC4, HC5, HC4m
from betahat.covariance.huber import H1, H2, H3
from betahat.covariance.jackknife import Jackknife
from betahat.covariance.kernels import KernelName
from betahat.covariance.opg import OPG
from betahat.covariance.option_words import options_in_words
from betahat.covariance.panel_corrected import PanelCorrected
from betahat.covariance.panel_newey_west import PanelNeweyWest
from betahat.covariance.quantile import IidErrors, KernelErrors, NidErrors, PowellErrors
from betahat.covariance.small_samples import Correction, Kind
from betahat.data.handed_out import outside
from betahat.errors import EstimationError, OptionError, described, is_flag, listed, shown
from betahat.fits.fit import Fit
from betahat.lazy import lazily

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

Factory = Callable[..., Callable[[Fit], Covariance]]
CovType: TypeAlias = "str | Callable[[Fit], Covariance] | torch.Tensor | np.ndarray | pd.DataFrame | list[Any]"


def _cluster(
    groups: Any = None,
    use_correction: bool = True,
    df_correction: bool | None = True,
    kind: Kind | None = None,
    multiway: Literal["each", "min"] = "each",
    target: Literal["identity", "inverse_weights"] = "identity",
    correction: Correction | None = None,
    psd: Literal["repair"] | None = None,
) -> Cluster:
    plain: Kind = "CR1S" if use_correction else "CR0"
    return Cluster(
        groups, plain if kind is None else kind, multiway, target, correction, psd, df_correction is not False
    )


def _cluster_crv3(
    groups: Any = None, use_correction: bool = True, df_correction: bool | None = True
) -> Cluster | Jackknife:
    if use_correction:
        return Cluster(groups, "jackknife", df_correction=df_correction is not False)
    return _jackknife_of(groups, "estimate", use_correction, df_correction)


def _cluster_jk(groups: Any = None, use_correction: bool = True, df_correction: bool | None = True) -> Jackknife:
    return _jackknife_of(groups, "mean", use_correction, df_correction)


def _jackknife_of(
    groups: Any, center: Literal["mean", "estimate"], correction: bool, df_correction: bool | None
) -> Jackknife:
    if groups is None:
        raise OptionError(
            "groups is None; pass a column's name, or a vector with a label for each row, in cov_kwds={'groups': ...}."
        )
    return Jackknife(groups, center, correction=correction, df_correction=df_correction is not False)


def _hac(
    maxlags: int | Literal["newey-west"] | None = None,
    kernel: KernelName = "bartlett",
    use_correction: bool = False,
    bandwidth: float | Literal["newey-west", "andrews"] | None = None,
    prewhiten: int = 0,
    time: Any = None,
) -> HAC:
    return HAC(maxlags, kernel, bandwidth, prewhiten, use_correction, time)


def _hac_panel(
    groups: Any = None,
    time: Any = None,
    maxlags: int | None = None,
    kernel: KernelName = "bartlett",
    use_correction: Literal["hac", "cluster", False] = "hac",
    df_correction: bool | None = True,
) -> PanelNeweyWest:
    if groups is None and time is None:
        raise OptionError(
            "groups and time are None; pass the units, or the periods of units that follow each other, a column's name or a label for each "
            "row, in cov_kwds={'groups': ..., 'time': ...}."
        )
    return PanelNeweyWest(groups, time, maxlags, kernel, None, use_correction or None, df_correction is not False)


def _hac_groupsum(
    time: Any = None,
    maxlags: int | None = None,
    kernel: KernelName = "bartlett",
    use_correction: Literal["hac", "cluster", False] = "cluster",
    df_correction: bool | None = True,
) -> DriscollKraay:
    return DriscollKraay(time, maxlags, kernel, None, use_correction or None, df_correction is not False)


_NAMES: dict[str, Factory] = {
    "nonrobust": Classical,
    "fixed scale": FixedScale,
    "HC0": HC0,
    "HC1": HC1,
    "HC2": HC2,
    "HC3": HC3,
    "HC4": HC4,
    "HC4m": HC4m,
    "HC5": HC5,
    "H1": H1,
    "H2": H2,
    "H3": H3,
    "OPG": OPG,
    "cluster": _cluster,
    "cluster-crv3": _cluster_crv3,
    "cluster-jk": _cluster_jk,
    "jackknife": Jackknife,
    "HAC": _hac,
    "hac-panel": _hac_panel,
    "hac-groupsum": _hac_groupsum,
    "panel-corrected": PanelCorrected,
    "Conley": Conley,
    "bootstrap": Bootstrap,
}
# The names that a kind of model has for covariances of its own, before those of all models; the first is its default.
Names = Mapping[str, Factory]
NO_NAMES: Names = {}
QUANTILE_NAMES: Names = {
    "kernel": KernelErrors,
    "robust": KernelErrors,
    "iid": IidErrors,
    "nonrobust": IidErrors,
    "nid": NidErrors,
    "powell": PowellErrors,
    "ker": PowellErrors,
}
_ALIASES = {
    "classical": "nonrobust",
    "fixed_scale": "fixed scale",
    "nw-panel": "hac-panel",
    "nw-groupsum": "hac-groupsum",
}
# What Stata, fixest, pyfixest, linearmodels, modelsummary and estimatr call some of them, and what a sentence proposes instead.
_ELSEWHERE = {
    "robust": "'HC1' (Stata) or 'HC3' (modelsummary)",
    "hetero": "'HC1'",
    "stata": "'HC1'",
    "white": "'HC0'",
    "heteroskedastic": "'HC0' (linearmodels' own) or 'HC1'",
    "iid": "'nonrobust'",
    "unadjusted": "'nonrobust'",
    "homoskedastic": "'nonrobust'",
    "clustered": "bh.Cluster('firm')",
    "twoway": "bh.Cluster(['firm', 'year'])",
    "crv1": "bh.Cluster('firm')",
    "cr2": "bh.Cluster('firm', kind='CR2')",
    "crv3": "bh.Cluster('firm', kind='CR3')",
    "nw": "bh.HAC(maxlags)",
    "dk": "bh.DriscollKraay('year', maxlags)",
}


def register_covariance(name: str, factory: Factory) -> None:
    """Give an estimator of your own a name that `cov_type` understands.

    Parameters
    ----------
    name : str
        The name for `cov_type`; letter case does not matter.
    factory : callable
        Called with the options in `cov_kwds`; returns the estimator, a callable that maps a `Fit` to a
        `Covariance`. A class of estimators is its own factory.

    Raises
    ------
    OptionError
        The name is taken by one of betahat's own, or the factory cannot be called.

    Examples
    --------
    >>> import betahat as bh
    >>> def halved():
    ...     note = "Half of the bread"
    ...     return lambda fit: bh.Covariance(fit.bread / 2, "halved", note, fit.df_resid)
    >>> bh.register_covariance("halved", halved)
    >>> bh.OLS([1.0, 2.0, 4.0, 5.0], [1.0, 2.0, 3.0, 4.0]).fit("halved").cov_type
    'halved'
    """
    if not isinstance(name, str):
        raise OptionError(f"The name is {shown(name)}; pass a string, to be used as cov_type.")
    taken = _BUILT_IN.get(name.lower())
    if taken is not None:
        raise OptionError(f"{shown(name)} is betahat's own name for {taken}; choose another.")
    if not callable(factory):
        raise OptionError(
            f"The factory of {shown(name)} is {described(factory)}; pass a class, or a function that returns the estimator."
        )
    _NAMES[name] = factory


@dataclass(frozen=True)
class Choice:
    """A covariance as the user wants it: an estimator, and t or normal tests; None takes those asked for before, else its own."""

    estimator: Callable[[Fit], Covariance]
    use_t: bool | None


def resolve(
    cov_type: CovType | None, cov_kwds: Mapping[str, Any] | None, use_t: bool | None, own: Names = NO_NAMES
) -> Choice:
    """Turn a `cov_type` (a name in any case, one of the model's `own` first, an estimator or a (k, k) matrix) and its options into an estimator."""
    if cov_kwds is not None and not isinstance(cov_kwds, Mapping):
        raise OptionError(f"cov_kwds is {shown(cov_kwds)}; pass a dict of options, such as {{'groups': 'firm'}}.")
    options = dict(cov_kwds or {})
    choose = partial(Choice, use_t=_read_use_t(use_t, options))
    if cov_type is None:
        cov_type = next(iter(own), "nonrobust")
    if not isinstance(cov_type, str | Estimator) and _is_matrix(cov_type):
        cov_type = Given(cov_type)
    if not isinstance(cov_type, str):
        if isinstance(cov_type, type) or not callable(cov_type):
            inside = "" if isinstance(cov_type, type) and _has_defaults(cov_type) else "..."
            hint = f"{cov_type.__name__}({inside})" if isinstance(cov_type, type) else "bh.HC3()"
            raise OptionError(f"cov_type is {shown(cov_type)}; pass a name or an estimator, such as {hint}.")
        if options:
            raise OptionError(f"cov_kwds goes with a name; give the options {listed(options)} to the estimator itself.")
        return choose(cov_type)
    factory = _lookup(cov_type, own)
    _check_options(cov_type, factory, options)
    return choose(factory(**options))


def _read_use_t(use_t: bool | None, options: dict[str, Any]) -> bool | None:
    """Take `use_t` from where the user put it: beside the options, or among them."""
    among = options.pop("use_t", None)
    for value in (use_t, among):
        check_use_t(value)
    if use_t is not None and among is not None and use_t != among:
        raise OptionError(f"use_t is {shown(use_t)}, and {shown(among)} in cov_kwds; pass one of them.")
    chosen = among if use_t is None else use_t
    return None if chosen is None else bool(chosen)


def _is_matrix(given: Any) -> bool:
    """Tell whether what was given as `cov_type` holds numbers."""
    if isinstance(given, torch.Tensor | np.ndarray) or is_pandas_dataframe(given):
        return bool(given.ndim == 2)
    return isinstance(given, list | tuple) and all(isinstance(row, list | tuple) for row in given) and bool(given)


def covariance_of(fit: Fit, choice: Choice) -> Covariance:
    """Apply an estimator, and check what it returns unless it is one of ours."""
    if not callable(choice.estimator):
        raise EstimationError(
            f"The factory made {described(choice.estimator)}; it must make a function of a fit, such as an estimator."
        )
    if not len(fit.params):  # absorbed effects alone: there is no variance to estimate
        return with_distribution(Classical()(fit), fit, choice.use_t)
    ours = isinstance(choice.estimator, OURS)
    covariance = choice.estimator(fit) if ours else outside(choice.estimator, fit)
    if not isinstance(covariance, Covariance):
        raise EstimationError(
            f"The estimator returned a value of type {type(covariance).__name__}; it must return bh.Covariance(matrix, label, note, df)."
        )
    matrix, params, df = covariance.matrix, fit.params, covariance.df
    width = len(params)
    if not isinstance(matrix, torch.Tensor) or matrix.layout != torch.strided:
        came = "sparse" if isinstance(matrix, torch.Tensor) else f"of type {type(matrix).__name__}"
        raise EstimationError(f"The estimator's matrix is {came}; it must be a dense tensor.")
    if not (df is None or isinstance(df, Real) or (isinstance(df, torch.Tensor) and df.shape == params.shape)):
        raise EstimationError(
            f"The estimator's df is {shown(df)}; it must be a number, (k,) of them, or None for the normal distribution."
        )
    if matrix.shape != (width, width):
        raise EstimationError(
            f"The estimator's matrix has shape {tuple(matrix.shape)}; it must have shape ({width}, {width})."
        )
    if not ours:
        flaw = "is complex" if matrix.is_complex() else matrix_flaw(matrix.to(fit.params))
        if flaw is not None:
            raise EstimationError(
                f"The estimator's matrix {flaw}; it must be a symmetric matrix of numbers without negative variances."
            )
    positive = check_held(fit, covariance)
    options = {**dict(options_in_words(choice.estimator)), **dict(covariance.options)}
    own = choice.estimator if isinstance(choice.estimator, Estimator) else None
    labelled = replace(covariance, matrix=matrix.to(fit.params), options=tuple(options.items()), estimator=own)
    return with_distribution(defined(fit, labelled, positive=positive), fit, choice.use_t)


def check_use_t(use_t: bool | None) -> None:
    """Refuse what is neither yes, no nor None."""
    if use_t is not None and not is_flag(use_t):
        raise OptionError(f"use_t is {shown(use_t)}; use True for t, False for the normal distribution, or None.")


def _lookup(name: str, own: Names) -> Factory:
    if name.lower() in own:
        return own[name.lower()]
    if name in _NAMES:
        return _NAMES[name]
    wanted = _ALIASES.get(name.lower(), name).lower()
    known = {known.lower(): factory for known, factory in _NAMES.items()}
    if wanted not in known:
        close = [_ELSEWHERE.get(wanted), *map(repr, difflib.get_close_matches(name, _NAMES, n=1))]
        if name.startswith("~"):
            close = [f"bh.Cluster({name.removeprefix('~').strip()!r})"]
        hint = next((f", did you mean {found}?" for found in close if found), ".")
        raise OptionError(
            f"cov_type {shown(name)} is unknown{hint} The known ones are {listed({**own, **_NAMES}, limit=40)}."
        )
    return known[wanted]


def _check_options(name: str, factory: Factory, options: dict[str, Any]) -> None:
    if not options and factory in _BUILT_IN_FACTORIES:
        return
    signature = inspect.signature(factory)
    try:
        signature.bind(**options)
    except TypeError as error:
        known = f"its options are {listed(signature.parameters)}" if signature.parameters else "it has no options"
        raise OptionError(f"cov_kwds of {shown(name)} does not fit: {error}; {known}.") from error


def _has_defaults(factory: Factory) -> bool:
    try:
        options = inspect.signature(factory).parameters.values()
    except ValueError:  # a type of Python's own
        return False
    return all(option.default is not option.empty for option in options)


# Betahat's own estimators, which say themselves which variances there are not; files may name them.
OURS = (
    *(Bootstrap, Classical, Cluster, Conley, DriscollKraay, FixedScale, HAC, HC0, HC1, HC2, HC3, HC4, HC4m, HC5),
    *(H1, H2, H3, Jackknife, OPG, PanelCorrected, PanelNeweyWest),
    *(IidErrors, KernelErrors, NidErrors, PowellErrors),
)
# Where every option has a default, no options are right options, which saves a look at the signature.
_BUILT_IN_FACTORIES = frozenset(factory for factory in _NAMES.values() if _has_defaults(factory))
_BUILT_IN = {name.lower(): factory.__name__ for name, factory in _NAMES.items()} | {
    alias: _NAMES[name].__name__ for alias, name in _ALIASES.items()
}
