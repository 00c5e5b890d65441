"""The one table of models: what saving, the command line, the documentation and the tests ask of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from betahat.models.aft import AFT, aft
from betahat.models.binary import Logit, Probit, logit, probit
from betahat.models.counts import NegativeBinomial, Poisson, negativebinomial, poisson
from betahat.models.glm import GLM, glm
from betahat.models.gmm import GMM
from betahat.models.hurdle import HurdleNegativeBinomial, HurdlePoisson, hurdlenegativebinomial, hurdlepoisson
from betahat.models.instruments import IV2SLS, IVGMM, IVLIML, iv2sls, ivgmm, ivliml
from betahat.models.linear import OLS, WLS, ols, wls
from betahat.models.m_estimator import MEstimator
from betahat.models.multinomial import MNLogit, mnlogit
from betahat.models.ordered import OrderedModel, ordered
from betahat.models.quantile import QuantReg, quantreg
from betahat.models.robust import RLM, rlm
from betahat.models.survival import TIES, PHReg, phreg
from betahat.models.tobit import Tobit, tobit
from betahat.models.torch_model import TorchModel
from betahat.models.zero_inflated import (
    ZeroInflatedNegativeBinomialP,
    ZeroInflatedPoisson,
    zeroinflatednegativebinomialp,
    zeroinflatedpoisson,
)
from betahat.objectives.base import Objective
from betahat.objectives.bernoulli import Logistic, Normit
from betahat.objectives.binomial import BinomialCounts, BinomialShares
from betahat.objectives.censored import Duration, Limited
from betahat.objectives.check import Check, Checks
from betahat.objectives.gaussian import Gaussian
from betahat.objectives.generalized import FamilyAndLink
from betahat.objectives.huber import Huber
from betahat.objectives.hurdle import Hurdle
from betahat.objectives.negative_binomial import Geometric, NegativeBinomial1, NegativeBinomial2
from betahat.objectives.ordered import Ordered
from betahat.objectives.own import Unstored
from betahat.objectives.poisson import PoissonIndices, PoissonLog
from betahat.objectives.robust import NORMS
from betahat.objectives.softmax import MultinomialLogit, Softmax
from betahat.objectives.zero_inflated import ZeroInflated
from betahat.results.censored import AFTResults, TobitResults
from betahat.results.counts import CountResults
from betahat.results.discrete import DiscreteResults
from betahat.results.excess_zeros import HurdleResults, ZeroInflatedResults
from betahat.results.general import GeneralResults
from betahat.results.glm import GLMResults
from betahat.results.instruments import InstrumentResults
from betahat.results.linear import LinearResults
from betahat.results.moments import GMMResults
from betahat.results.multinomial import MultinomialResults
from betahat.results.ordered import OrderedResults
from betahat.results.quantile import QuantRegResults
from betahat.results.robust import RLMResults
from betahat.results.statsmodels_names import Results
from betahat.results.survival import PHRegResults


@dataclass(frozen=True)
class Entry:
    """A model.

    Attributes
    ----------
    model : type
        The class.
    results : type
        What `fit` returns.
    objectives : tuple of type
        The losses that it may have, as far as a file can hold them.
    formula : callable or None
        Makes it of a formula and data.
    command : str or None
        What the command line calls it.
    """

    model: type
    results: type[Results]
    objectives: tuple[type[Objective], ...]
    formula: Callable[..., Any] | None = None
    command: str | None = None


MODELS = (
    Entry(OLS, LinearResults, (Gaussian,), ols, "ols"),
    Entry(WLS, LinearResults, (Gaussian,), wls),
    Entry(IV2SLS, InstrumentResults, (Gaussian,), iv2sls),
    Entry(IVLIML, InstrumentResults, (Gaussian,), ivliml),
    Entry(IVGMM, InstrumentResults, (Gaussian,), ivgmm),
    Entry(Logit, DiscreteResults, (Logistic,), logit, "logit"),
    Entry(Probit, DiscreteResults, (Normit,), probit, "probit"),
    Entry(Poisson, DiscreteResults, (PoissonLog,), poisson, "poisson"),
    Entry(
        NegativeBinomial,
        CountResults,
        (NegativeBinomial2, NegativeBinomial1, Geometric),
        negativebinomial,
        "negativebinomial",
    ),
    Entry(
        ZeroInflatedPoisson,
        ZeroInflatedResults,
        (ZeroInflated, PoissonIndices, Logistic, Normit),
        zeroinflatedpoisson,
        "zeroinflatedpoisson",
    ),
    Entry(
        ZeroInflatedNegativeBinomialP,
        ZeroInflatedResults,
        (ZeroInflated, NegativeBinomial2, NegativeBinomial1, Logistic, Normit),
        zeroinflatednegativebinomialp,
        "zeroinflatednegativebinomialp",
    ),
    Entry(HurdlePoisson, HurdleResults, (Hurdle, PoissonIndices, Logistic, Normit), hurdlepoisson, "hurdlepoisson"),
    Entry(
        HurdleNegativeBinomial,
        HurdleResults,
        (Hurdle, NegativeBinomial2, Logistic, Normit),
        hurdlenegativebinomial,
        "hurdlenegativebinomial",
    ),
    Entry(MNLogit, MultinomialResults, (MultinomialLogit,), mnlogit, "mnlogit"),
    Entry(
        GLM,
        GLMResults,
        (Gaussian, Logistic, Normit, PoissonLog, FamilyAndLink, BinomialShares, BinomialCounts),
        glm,
        "glm",
    ),
    Entry(OrderedModel, OrderedResults, (Ordered,), ordered, "ordered"),
    Entry(Tobit, TobitResults, (Limited,), tobit, "tobit"),
    Entry(AFT, AFTResults, (Duration,), aft, "aft"),
    Entry(RLM, RLMResults, NORMS, rlm, "rlm"),
    Entry(QuantReg, QuantRegResults, (Check, Checks), quantreg, "quantreg"),
    Entry(PHReg, PHRegResults, tuple(map(type, TIES.values())), phreg, "phreg"),
    # Losses that are code are stored without it.
    Entry(TorchModel, GeneralResults, (Gaussian, Logistic, PoissonLog, Softmax, Huber, Unstored)),
    Entry(MEstimator, GeneralResults, (Unstored,)),
    Entry(GMM, GMMResults, (Unstored,)),
)
