"""`load`, and the table of all that a file of results may hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any, BinaryIO

import torch

from betahat.calculus.absorbed import Absorbed
from betahat.calculus.counts import EffectSize
from betahat.calculus.problem import Local, Problem
from betahat.calculus.rows import Bread
from betahat.covariance.base import Clustering, Covariance
from betahat.covariance.names import OURS
from betahat.covariance.replicates import Resampled, RowsGone, WildTest
from betahat.covariance.satterthwaite import Adjusted
from betahat.data.container import Arrays, Frames, Tensors
from betahat.data.datasets.compressed import Compression
from betahat.data.design import Constant, Design
from betahat.data.effects import Levels
from betahat.data.formulas.stored import StoredFactor, StoredFormula, StoredPart, StoredTerm
from betahat.data.sample import WithoutRows
from betahat.data.schema import Schema
from betahat.data.scored import Scored
from betahat.data.source import Held, Replaced
from betahat.data.turned import Selected
from betahat.data.user_data import UserData
from betahat.errors import DataError
from betahat.fits.diagnostics import Diagnostics
from betahat.fits.fit import Fit
from betahat.fits.instrumented import Instruments, LimitedInformation, TwoStages, Weighting
from betahat.inference.diagnostics import ResidualDiagnostics
from betahat.inference.goodness import SumsOfSquares
from betahat.inference.survival import Sizes
from betahat.lazy import lazily
from betahat.margins.estimates import MarginResults
from betahat.margins.inferred import Kept
from betahat.models.registry import MODELS
from betahat.objectives import families, links, probability_links
from betahat.objectives.base import Route
from betahat.objectives.density import Density
from betahat.objectives.dispersion import (
    DevianceVariance,
    EfficientMoments,
    GaussianVariance,
    KnownVariance,
    PearsonVariance,
    Quasi,
    QuasiBinomial,
    ResidualVariance,
    Undefined,
    Unity,
    WeightedMoments,
)
from betahat.objectives.equation import Equation
from betahat.objectives.instrumented import BestWeights, KClassVariance, OtherWeights, TwoStageVariance
from betahat.objectives.latent import LatentCauchy, LatentLargest, LatentLogistic, LatentNormal, LatentSmallest
from betahat.objectives.own import UnstoredPenalty
from betahat.objectives.softmax import MultinomialLogit
from betahat.resampling.refits import Replicates
from betahat.resampling.resamplers import Multiplied, Redrawn, Weighted, unit_scores
from betahat.resampling.targets import FromModel, FromResiduals, FromSizes
from betahat.resampling.weights import (
    AllSigns,
    Blocks,
    Exponential,
    Multinomial,
    Multipliers,
    PoissonCounts,
    RowWeights,
    Subsample,
)
from betahat.resampling.wild import WildClusters, jackknifed_scores
from betahat.results.core import UnstoredModel
from betahat.results.general import ModelView
from betahat.results.moments import MomentView
from betahat.results.statsmodels_names import Results
from betahat.saving.records import Older, Stored
from betahat.solvers.instruments import InstrumentTriangle
from betahat.solvers.newton import Optimum

if TYPE_CHECKING:
    from betahat.saving import files
else:
    files = lazily("betahat.saving.files")

# Each is numbers, words and others of these; none does anything when it is made.
RECORDS: tuple[type, ...] = (
    *{entry.results: None for entry in MODELS},
    *(entry.model for entry in MODELS if issubclass(entry.model, Stored)),
    *{objective: None for entry in MODELS for objective in entry.objectives},
    *(LatentLogistic, LatentNormal, LatentSmallest, LatentLargest, LatentCauchy),
    *(ModelView, MomentView, WeightedMoments, EfficientMoments, UnstoredModel, UnstoredPenalty, Equation, Density),
    *(StoredFormula, StoredFactor, StoredTerm, StoredPart),
    *(ResidualVariance, PearsonVariance, DevianceVariance, KnownVariance, Quasi, QuasiBinomial, GaussianVariance),
    *(Unity, Undefined),
    *(families.GaussianFamily, families.PoissonFamily, families.GammaFamily, families.InverseGaussianFamily),
    *(families.TweedieFamily, families.NegativeBinomialFamily),
    *(
        links.LogLink,
        links.PowerLink,
        links.NegativeBinomialLink,
        probability_links.LogitLink,
        probability_links.ProbitLink,
        probability_links.CauchyLink,
        probability_links.CLogLogLink,
    ),
    *(probability_links.LogLogLink, probability_links.LogCLink),
    *(Fit, Diagnostics, Problem, Local, Optimum, Bread, Route, SumsOfSquares, ResidualDiagnostics, Sizes),
    *(Levels, EffectSize, Absorbed),
    *(Instruments, InstrumentTriangle, TwoStages, LimitedInformation, Weighting, Scored),
    *(TwoStageVariance, KClassVariance, BestWeights, OtherWeights),
    *(Design, Constant, Schema, Compression, WithoutRows, Held, Replaced, Selected, UserData, Arrays, Frames, Tensors),
    *OURS,
    *(Covariance, Clustering, Adjusted, Resampled, WildTest, WildClusters, RowsGone, Replicates),
    *(Weighted, Redrawn, Multiplied, FromModel, FromResiduals, FromSizes, RowWeights),
    *(AllSigns, Blocks, Exponential, Multinomial, Multipliers, PoissonCounts, Subsample),
    *(MarginResults, Kept),
)

# What version 1 said of a loss.
_CLAIMS = {"LEAST_SQUARES": ResidualVariance(), "LIKELIHOOD": Unity(), "NONE": Undefined()}


def _design_of_1(fields: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Put the tensors of a design into a source, and what is known beside them into a schema."""
    columns = {name: fields[name] for name in ("exog", "endog", "weights", "offset", "counts")}
    there = {name: column for name, column in columns.items() if column is not None}
    known = {name: fields[name] for name in ("container", "endog_name", "given_names", "hasconst", "terms")}
    return "Design", {"schema": Schema(**known), "source": Held(there, fields["given"])}


def _user_data_of_1(fields: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return "UserData", {"data": fields["data"], "rows": fields["rows"], "in_use": fields["kept"]}


def _removed_of_1(fields: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return "WithoutRows", {"schema": Schema(**fields)}


def renamed(name: str) -> Callable[[dict[str, Any]], tuple[str, dict[str, Any]]]:
    """Return the conversion of a record that has another name today, and the same fields."""
    return lambda fields: (name, fields)


def _fit_of_1(fields: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Convert a fit of version 1, which held the names of its equations itself."""
    names, problem = fields.pop("equations"), fields["problem"]
    if not names:
        return "Fit", fields
    objective = MultinomialLogit(equations=tuple(map(Equation, names)))
    return "Fit", {**fields, "problem": replace(problem, objective=objective)}


def _multiplied_of_1(fields: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Convert a wild bootstrap of version 1, which held the clusters' hat matrices instead of the scores that they make."""
    hats = fields.pop("jackknifed", None)
    scores = None if hats is None else jackknifed_scores(hats, unit_scores(fields["fit"], fields["weights"]))
    return "Multiplied", {**fields, "scores": scores}


# Records whose names or fields are others in a version of the format: old name -> a function of the old fields, which returns the name and
# the fields of today. A record that was only renamed takes `renamed`.
OLDER: dict[int, Older] = {
    1: Older(
        records={
            "Design": _design_of_1,
            "Removed": _removed_of_1,
            "Origin": _user_data_of_1,
            "Fit": _fit_of_1,
            "Drawn": renamed("RowsGone"),
            "Multiplied": _multiplied_of_1,
        },
        members={"Claim": lambda name: _CLAIMS[name]},
    )
}


def load(path: str | PathLike[str] | BinaryIO, device: torch.device | str | None = None) -> Results | MarginResults:
    """Read results, or margins, that ``res.save(path)`` wrote. Nothing in the file is run, whoever made it.

    Parameters
    ----------
    path : str, path, or binary file
        The file; one that is open is read to its end.
    device : torch.device or str, optional
        Where the tensors go; None is the CPU.

    Returns
    -------
    Results or MarginResults
        Of the same class, with the same tensors bit for bit, and the same container. Those of `TorchModel`, `MEstimator` and `GMM`
        come without the module or the loss; see `Results.save`.

    Raises
    ------
    DataError
        There is no such file, it is damaged, another version wrote it, or it holds something that betahat does not write.
    OptionError
        There is no such device.

    Notes
    -----
    A file is data in the safetensors format with a tree of words and numbers in its header. The tree names records from a fixed
    table; no name is looked up elsewhere, and nothing is unpickled, imported or evaluated. A formula is evaluated when
    `predict` needs it, and only where all that it calls is known to be harmless.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import betahat as bh
    >>> data = {"y": [1.0, 2.0, 4.0, 5.0], "x": [1.0, 2.0, 3.0, 4.0]}
    >>> res = bh.ols("y ~ x", data).fit("HC1")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     again = bh.load(res.save(Path(folder) / "line.betahat"))
    >>> again.predict({"x": [5.0]})
    0    6.5
    dtype: float64
    """
    found = files.read(path, RECORDS, device, OLDER)
    results = found.of if isinstance(found, MarginResults) else found
    if not isinstance(results, Results) or not _is_whole(results) or not _fits(found, results):
        raise DataError(f"{str(path)!r} does not contain betahat results; pass a file written by res.save(path).")
    whole: Results | MarginResults = found
    return whole


def _fits(found: Results | MarginResults, results: Results) -> bool:
    """Tell whether margins have a row of labels and of derivatives for each of them."""
    if not isinstance(found, MarginResults):
        return True
    count = len(found.estimates)
    same = found.estimates.ndim == 1 and found.jacobian.shape == (count, len(results.fit.params))
    return same and len(found.labels) == count


def _is_whole(results: Results) -> bool:
    """Tell whether the sizes agree: k parameters, with a root of the bread and a covariance."""
    fit, count = results.fit, len(results.fit.params)
    square = (count, count)
    return fit.params.ndim == 1 and fit.root.shape[:1] == (count,) and tuple(results.cov.matrix.shape) == square
