"""Families and links by the names of statsmodels' classes: from what a user gives to the loss of a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from betahat.data.design import Design
from betahat.errors import OptionError, is_number, listed, shown
from betahat.objectives.base import LinearIndex
from betahat.objectives.bernoulli import Logistic, Normit
from betahat.objectives.binomial import BinomialCounts, BinomialShares
from betahat.objectives.dispersion import (
    DevianceVariance,
    Dispersion,
    GaussianVariance,
    KnownVariance,
    PearsonVariance,
    Quasi,
    QuasiBinomial,
    Unity,
)
from betahat.objectives.families import (
    Family,
    GammaFamily,
    GaussianFamily,
    InverseGaussianFamily,
    NegativeBinomialFamily,
    PoissonFamily,
    TweedieFamily,
)
from betahat.objectives.gaussian import Gaussian
from betahat.objectives.generalized import FamilyAndLink
from betahat.objectives.links import Link, LogLink, NegativeBinomialLink, PowerLink
from betahat.objectives.poisson import PoissonLog
from betahat.objectives.probability_links import CauchyLink, CLogLogLink, LogCLink, LogitLink, LogLogLink, ProbitLink

_OF_PLAIN_NUMBERS = "leave such rows out, or use Poisson for counts"
_POWERS = ("Identity", "InversePower", "InverseSquared", "Sqrt", "Power")


@dataclass(frozen=True)
class Kind:
    """A family as the table has it.

    Attributes
    ----------
    links : tuple of str
        The links that it takes; the first is its default.
    advice : str
        What to do about values outside its support.
    scaled : callable
        What becomes of the way a scale is found, `fit(scale=...)`.
    dispersion : Dispersion
        What the scale is unless that is said.
    """

    links: tuple[str, ...]
    advice: str
    scaled: Callable[[Dispersion], Dispersion]
    dispersion: Dispersion


def _itself(dispersion: Dispersion) -> Dispersion:
    return dispersion


KINDS: dict[str, Kind] = {
    "Gaussian": Kind(("Identity", "Log", "InversePower", "Power", "Sqrt"), "pass numbers", _itself, PearsonVariance()),
    "Binomial": Kind(
        ("Logit", "Probit", "Cauchy", "CLogLog", "LogLog", "Log", "LogC", "Identity", "Power"),
        "recode them, (y > 0) * 1 say, or pass two columns, successes and failures",
        QuasiBinomial,
        Unity(),
    ),
    "Poisson": Kind(("Log", "Identity", "Sqrt", "Power"), "pass numbers of zero or more", Quasi, Unity()),
    "Gamma": Kind(
        ("InversePower", "Log", "Identity", "InverseSquared", "Sqrt", "Power"),
        _OF_PLAIN_NUMBERS,
        _itself,
        PearsonVariance(),
    ),
    "InverseGaussian": Kind(
        ("InverseSquared", "InversePower", "Identity", "Log", "Sqrt", "Power"),
        _OF_PLAIN_NUMBERS,
        _itself,
        PearsonVariance(),
    ),
    "NegativeBinomial": Kind(
        ("Log", "CLogLog", "NegativeBinomial", *_POWERS), "pass numbers of zero or more", Quasi, Unity()
    ),
    "Tweedie": Kind(
        ("Log", *_POWERS),
        "leave such rows out, or take a power between 1 and 2, which has zeros",
        _itself,
        PearsonVariance(),
    ),
}
_QUASI = Quasi(PearsonVariance())
# What statsmodels calls its links, and the names that it deprecates; a link that has a number is made of the user's.
_LINKS: dict[str, Callable[[Any], Link]] = {
    "Logit": lambda given: LogitLink(),
    "Probit": lambda given: ProbitLink(),
    "Cauchy": lambda given: CauchyLink(),
    "CLogLog": lambda given: CLogLogLink(),
    "LogLog": lambda given: LogLogLink(),
    "Log": lambda given: LogLink(),
    "LogC": lambda given: LogCLink(),
    "Identity": lambda given: PowerLink(1.0),
    "InversePower": lambda given: PowerLink(-1.0),
    "InverseSquared": lambda given: PowerLink(-2.0),
    "Sqrt": lambda given: PowerLink(0.5),
    "Power": lambda given: PowerLink(_number(given.power, "the power of the link", positive=False)),
    "NegativeBinomial": lambda given: NegativeBinomialLink(_number(given.alpha, "alpha of the link")),
}
_DEPRECATED = {
    **{
        name.lower(): name
        for name in ("Logit", "Probit", "Cauchy", "CLogLog", "LogLog", "Log", "LogC", "Identity", "Sqrt")
    },
    **{"inverse_power": "InversePower", "inverse_squared": "InverseSquared", "nbinom": "NegativeBinomial"},
}
_STATSMODELS = {"families": "statsmodels.genmod.families.family", "links": "statsmodels.genmod.families.links"}


@dataclass(frozen=True)
class FamilyChoice:
    """A family and a link, as they were given.

    Attributes
    ----------
    family, link : str
        The names of statsmodels' classes.
    record : Family or None
        The distribution of y given its mean; None is the binomial one, which goes by the probability of a yes.
    link_record : Link
        The mean of an index.
    """

    family: str
    link: str
    record: Family | None
    link_record: Link

    def loss(self, design: Design, trials: bool) -> LinearIndex:
        """Return the loss of a row; closed forms where there are some, which Logit, Probit and Poisson have too.

        `design` has the values of y, and `trials` is whether they are shares of successes in numbers of trials.
        """
        link = self.link_record
        if self.record is None:
            if trials:
                return BinomialCounts(link)
            closed = {LogitLink(): Logistic(), ProbitLink(): Normit()}
            return closed[link] if link in closed and not design.tally(_neither)[0] else BinomialShares(link)
        if self.record == GaussianFamily() and link == PowerLink(1.0):
            return Gaussian(GaussianVariance(PearsonVariance()))
        if self.family == "Poisson" and link == LogLink():
            return PoissonLog()
        if self.family == "Tweedie" and self.record == PoissonFamily():  # there are such counts only with a scale of 1
            return FamilyAndLink(self.record, link, _QUASI)
        return FamilyAndLink(self.record, link, KINDS[self.family].dispersion)


def read_family(given: Any) -> FamilyChoice:
    """Read a family and its link, from a name or from one of statsmodels' family objects; None is the Gaussian one, as in statsmodels."""
    if given is None or isinstance(given, str):
        name = "Gaussian" if given is None else _named(given)
        if name in ("NegativeBinomial", "Tweedie"):
            number = "alpha=1.0" if name == "NegativeBinomial" else "var_power=1.5"
            raise OptionError(
                f"family is {shown(given)}, whose variance depends on a number; pass statsmodels' object, such as "
                f"sm.families.{name}({number})."
            )
        link = KINDS[name].links[0]
        return FamilyChoice(name, link, _record(name, given), _LINKS[link](given))
    if isinstance(given, type) and given.__module__ == _STATSMODELS["families"]:
        raise OptionError(f"family is the class {given.__name__}; pass an instance, sm.families.{given.__name__}().")
    name = type(given).__name__
    if type(given).__module__ != _STATSMODELS["families"] or name not in KINDS:
        raise OptionError(f"family is {shown(given)}, which GLM does not know; {_known()}.")
    link = type(given.link).__name__
    called = _DEPRECATED.get(link, link)
    if type(given.link).__module__ != _STATSMODELS["links"] or called not in KINDS[name].links:
        hint = "; for CDFLink take Probit or Cauchy" if link == "CDFLink" else ""
        raise OptionError(
            f"The {name} family does not take the link {link}; use one of {listed(KINDS[name].links, limit=30)}{hint}."
        )
    return FamilyChoice(name, link, _record(name, given), _LINKS[called](given.link))


def scaled(family: str, own: Dispersion, scale: Any) -> Dispersion:
    """Return the dispersion that `fit(scale=...)` asks for, as statsmodels means it; `own` is the one that the loss has without it."""
    if scale is None:
        return own
    word = scale.lower() if isinstance(scale, str) else None
    if word not in ("x2", "dev") and not (is_number(scale) and scale > 0.0):
        raise OptionError(
            f"scale is {shown(scale)}; use None (the family's own), 'X2' (Pearson's statistic over n - k), 'dev' (the deviance over n - k) or a "
            "positive number."
        )
    if own == Unity() and word is None and float(scale) == 1.0:
        return own
    found: Dispersion = (
        KnownVariance(float(scale)) if word is None else PearsonVariance() if word == "x2" else DevianceVariance()
    )
    if own.squares:
        return GaussianVariance(found)
    return Quasi(found) if own == _QUASI else KINDS[family].scaled(found)


def _record(name: str, given: Any) -> Family | None:
    """Return the family of a name, with the numbers that statsmodels' object has."""
    if name == "Binomial":
        return None
    if name == "NegativeBinomial":
        return NegativeBinomialFamily(_number(given.alpha, "alpha of the family"))
    if name == "Tweedie":
        return _tweedie(given)
    plain: dict[str, Family] = {
        "Gaussian": GaussianFamily(),
        "Poisson": PoissonFamily(),
        "Gamma": GammaFamily(),
        "InverseGaussian": InverseGaussianFamily(),
    }
    return plain[name]


def _tweedie(given: Any) -> Family:
    power = _number(given.var_power, "var_power of the family", positive=False, zero=True)
    if power < 1.0:
        raise OptionError(
            f"var_power is {power:g}; use a number from 1 upward: 1 is a Poisson variance, 2 a gamma, 3 an inverse Gaussian one, and 0 would be the "
            "Gaussian family."
        )
    if power in (1.0, 2.0):  # whose log-likelihoods are those, also as extended quasi-likelihoods
        return PoissonFamily() if power == 1.0 else GammaFamily()
    return TweedieFamily(power, bool(given.eql))


def _number(value: Any, what: str, *, positive: bool = True, zero: bool = False) -> float:
    if not is_number(value) or (positive and value <= 0.0) or (value == 0.0 and not zero):
        wanted = "above 0" if positive else "other than 0"
        raise OptionError(f"{what} is {shown(value)}; pass a number {wanted}.")
    return float(value)


def _named(given: str) -> str:
    """Return the name of statsmodels' class."""
    plain = {name.lower(): name for name in KINDS}
    found = plain.get("".join(letter for letter in given.lower() if letter.isalpha()))
    if found is None:
        raise OptionError(f"family is {shown(given)}, which GLM does not know; {_known()}.")
    return found


def _known() -> str:
    names = [name.lower() for name in KINDS if name not in ("NegativeBinomial", "Tweedie")]
    return f"use one of {listed(names, limit=30)}, or a family object of statsmodels, sm.families.Tweedie(var_power=1.5) say"


def _neither(y: Tensor) -> tuple[Tensor]:
    """Count values other than 0 and 1."""
    return (((y != 0) & (y != 1)).sum(),)
