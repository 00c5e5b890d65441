"""How far intervals reach that hold all of several numbers at once, by the distribution of their largest t statistic."""

from __future__ import annotations

import torch
from torch import Tensor

from betahat.inference.distribution import check_alpha, quantile

# So many draws leave an error of about 0.005 in the critical value.
_DRAWS, _SEED = 100_000, 0


def sup_t(covariance: Tensor, alpha: float, df: float | None) -> float:
    """Return c for which the m intervals of c standard errors all hold with probability 1 - alpha, for normal numbers with an (m, m) covariance.

    With `df` the variances are estimated with as many degrees of freedom. Numbers without a variance are left out. Montiel Olea and Plagborg-Moller (2019),
    Simultaneous confidence bands, J. Appl. Econometrics 34(1).
    """
    check_alpha(alpha)
    there = covariance.diagonal() > 0
    errors = covariance.diagonal()[there].sqrt()
    values, vectors = torch.linalg.eigh(covariance[there][:, there] / errors / errors[:, None])
    half = vectors * values.clamp_min(0.0).sqrt()
    generator = torch.Generator().manual_seed(_SEED)
    draws = torch.randn(_DRAWS, len(errors), generator=generator, dtype=torch.float64, device="cpu") @ half.cpu().mT
    largest = draws.abs().amax(1)
    if df is not None:
        chi2 = torch.distributions.Chi2(torch.tensor(df, dtype=torch.float64, device="cpu"))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED)
            largest = largest / (chi2.sample((_DRAWS,)) / df).sqrt()
    single = quantile(alpha, df)
    return max(float(torch.quantile(largest, 1.0 - alpha)), float(single))
