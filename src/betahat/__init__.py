"""betahat: standard errors, tests and tables for anything fitted in PyTorch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from betahat.covariance.base import Covariance, Estimator
from betahat.covariance.bootstrap import Bootstrap
from betahat.covariance.classical import Classical, FixedScale
from betahat.covariance.cluster import Cluster
from betahat.covariance.conley import Conley
from betahat.covariance.driscoll_kraay import DriscollKraay
from betahat.covariance.given import Given
from betahat.covariance.hac import HAC
from betahat.covariance.hc import HC0, HC1, HC2, HC3, HC4, HC5, HC4m
from betahat.covariance.huber import H1, H2, H3
from betahat.covariance.jackknife import Jackknife
from betahat.covariance.names import register_covariance
from betahat.covariance.opg import OPG
from betahat.covariance.panel_corrected import PanelCorrected
from betahat.covariance.panel_newey_west import PanelNeweyWest
from betahat.covariance.sandwich import sandwich
from betahat.data.constant import add_constant
from betahat.data.workers import engine
from betahat.errors import (
    BetahatError,
    BetahatWarning,
    BootstrapWarning,
    ClusterWarning,
    CollinearityWarning,
    ConvergenceWarning,
    DataError,
    EstimationError,
    FormulaError,
    MissingPackageError,
    OptionError,
    RobustTestWarning,
    WeakInstrumentWarning,
    WorkerError,
)
from betahat.fits.at_optimum import fit_at
from betahat.fits.fit import Fit
from betahat.inference.ritest import ritest
from betahat.margins.data_grid import datagrid
from betahat.margins.pictures import plot_comparisons, plot_predictions, plot_slopes
from betahat.neighbours.introductions import introduce
from betahat.plots.coefficients import coefplot, plot_cov
from betahat.plots.draws import plot_draws, plot_ritest
from betahat.plots.event_times import eventplot
from betahat.plots.quantiles import plot_quantiles
from betahat.plots.rows import plot_diagnostics, plot_leverage, plot_qq, plot_residuals, plot_scale
from betahat.results.statsmodels_names import Results
from betahat.tables.adjusted import Adjust
from betahat.tables.comparison import compare
from betahat.tables.latex import LatexStyle
from betahat.tables.panels import panels
from betahat.tables.regression import regtable
from betahat.tables.romano_wolf import romano_wolf
from betahat.tables.sumtable import sumtable
from betahat.tables.table import Table
from betahat.tables.tex import Tex

if TYPE_CHECKING:
    from betahat.did.aggregate import aggregate
    from betahat.did.bacon import Bacon, bacon
    from betahat.did.event_study import event_study
    from betahat.did.gardner import did2s
    from betahat.did.study import EventStudy
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
    from betahat.models.stored import load
    from betahat.models.survival import PHReg, phreg
    from betahat.models.tobit import Tobit, tobit
    from betahat.models.torch_model import TorchModel
    from betahat.models.zero_inflated import (
        ZeroInflatedNegativeBinomialP,
        ZeroInflatedPoisson,
        zeroinflatednegativebinomialp,
        zeroinflatedpoisson,
    )

__all__ = [
    # models
    "OLS",
    "WLS",
    "Logit",
    "Probit",
    "Poisson",
    "NegativeBinomial",
    "ZeroInflatedPoisson",
    "ZeroInflatedNegativeBinomialP",
    "HurdlePoisson",
    "HurdleNegativeBinomial",
    "MNLogit",
    "GLM",
    "RLM",
    "OrderedModel",
    "Tobit",
    "QuantReg",
    "PHReg",
    "AFT",
    "TorchModel",
    "MEstimator",
    "GMM",
    "IV2SLS",
    "IVLIML",
    "IVGMM",
    "ols",
    "wls",
    "logit",
    "probit",
    "poisson",
    "negativebinomial",
    "zeroinflatedpoisson",
    "zeroinflatednegativebinomialp",
    "hurdlepoisson",
    "hurdlenegativebinomial",
    "mnlogit",
    "glm",
    "rlm",
    "ordered",
    "tobit",
    "quantreg",
    "phreg",
    "aft",
    "iv2sls",
    "ivliml",
    "ivgmm",
    "add_constant",
    "engine",
    "fit_at",
    # covariances
    "Classical",
    "FixedScale",
    "HC0",
    "HC1",
    "HC2",
    "HC3",
    "HC4",
    "HC4m",
    "HC5",
    "H1",
    "H2",
    "H3",
    "OPG",
    "Cluster",
    "Jackknife",
    "Bootstrap",
    "HAC",
    "DriscollKraay",
    "PanelNeweyWest",
    "PanelCorrected",
    "Conley",
    "Given",
    "Covariance",
    "Estimator",
    "sandwich",
    "register_covariance",
    # difference in differences
    "event_study",
    "did2s",
    "aggregate",
    "bacon",
    "EventStudy",
    "Bacon",
    # results and tables
    "Fit",
    "Results",
    "Table",
    "LatexStyle",
    "Tex",
    "Adjust",
    "ritest",
    "romano_wolf",
    "compare",
    "datagrid",
    "regtable",
    "sumtable",
    "panels",
    # files
    "load",
    # pictures
    "coefplot",
    "eventplot",
    "plot_cov",
    "plot_predictions",
    "plot_comparisons",
    "plot_slopes",
    "plot_draws",
    "plot_ritest",
    "plot_quantiles",
    "plot_diagnostics",
    "plot_residuals",
    "plot_qq",
    "plot_scale",
    "plot_leverage",
    # errors and warnings
    "BetahatError",
    "DataError",
    "EstimationError",
    "FormulaError",
    "MissingPackageError",
    "WorkerError",
    "OptionError",
    "BetahatWarning",
    "BootstrapWarning",
    "ClusterWarning",
    "CollinearityWarning",
    "ConvergenceWarning",
    "RobustTestWarning",
    "WeakInstrumentWarning",
]

# Models are imported when they are first used: the files of `models/`, and what each has; and so is what rests on them.
_MODELS = {
    "aft": "AFT aft",
    "binary": "Logit Probit logit probit",
    "counts": "NegativeBinomial Poisson negativebinomial poisson",
    "glm": "GLM glm",
    "gmm": "GMM",
    "hurdle": "HurdleNegativeBinomial HurdlePoisson hurdlenegativebinomial hurdlepoisson",
    "instruments": "IV2SLS IVGMM IVLIML iv2sls ivgmm ivliml",
    "linear": "OLS WLS ols wls",
    "m_estimator": "MEstimator",
    "multinomial": "MNLogit mnlogit",
    "ordered": "OrderedModel ordered",
    "quantile": "QuantReg quantreg",
    "robust": "RLM rlm",
    "stored": "load",
    "survival": "PHReg phreg",
    "tobit": "Tobit tobit",
    "torch_model": "TorchModel",
    "zero_inflated": "ZeroInflatedNegativeBinomialP ZeroInflatedPoisson zeroinflatednegativebinomialp zeroinflatedpoisson",
}
_DID = {
    "aggregate": "aggregate",
    "bacon": "Bacon bacon",
    "event_study": "event_study",
    "gardner": "did2s",
    "study": "EventStudy",
}
_FILES = {
    name: f"betahat.{room}.{file}"
    for room, files in (("models", _MODELS), ("did", _DID))
    for file, names in files.items()
    for name in names.split()
}


def __getattr__(name: str) -> Any:
    """Import a model, or `load`, which knows them all."""
    if name not in _FILES:
        raise AttributeError(f"module 'betahat' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_FILES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


introduce()

__version__ = "0.2.0"
