"""Ratios in one run: reads the JSON of `make bench` and prints medians, ratios and limits as Markdown."""

import json
import re
import sys
from pathlib import Path

# numerator, denominator, and the limit on their ratio (or, with a minus, on its inverse).
QUESTIONS = [
    ("OLS + HC1 in units of one X'X in NumPy", "large::test_betahat[HC1]", "large::test_numpy_gram", "at most 3"),
    ("statsmodels over OLS + HC1", "large::test_statsmodels_hc1", "large::test_betahat[HC1]", "at least 12"),
    ("HC3 over HC1", "large::test_betahat[HC3]", "large::test_betahat[HC1]", "at most 1.6"),
    ("TSQR + HC1 in units of one X'X", "large::test_betahat_collinear_hc1", "large::test_numpy_gram", ""),
    ("WLS + HC1 in units of one X'X", "large::test_betahat_wls_hc1", "large::test_numpy_gram", ""),
    ("pyfixest over a formula", "frame::test_pyfixest", "frame::test_betahat_formula", "at least 6"),
    ("pyfixest over columns of a frame", "frame::test_pyfixest", "frame::test_betahat_columns", "at least 6"),
    ("statsmodels' formula over ours", "frame::test_statsmodels_formula", "frame::test_betahat_formula", ""),
    (
        "small OLS of arrays over statsmodels",
        "small::test_betahat_arrays",
        "small::test_statsmodels[nonrobust]",
        "at most 1.5",
    ),
    *(
        (f"small {name} over statsmodels", f"small::test_betahat[{name}]", f"small::test_statsmodels[{name}]", limit)
        for name, limit in {
            "nonrobust": "at most 1.5",
            "HC1": "at most 1.5",
            "HC3": "",
            "cluster": "at most 1.5",
            "HAC": "at most 1.5",
            "Logit": "at most 1.5",
            "MNLogit": "at most 1.5",
        }.items()
    ),
    *(
        (f"busy over quiet: {what}", f"busy::test_{name}[busy]", f"busy::test_{name}[quiet]", "at most 3")
        for name, what in {
            "ols_small": "OLS + HC1, n = 200",
            "logit_small": "Logit + HC0, n = 200",
            "ols_large": "OLS + HC1, n = 3e5, k = 20",
            "logit_large": "Logit + HC0, n = 3e5, k = 20",
        }.items()
    ),
    *(
        (
            f"small {what} over statsmodels, both busy",
            f"busy::test_{name}_small[busy]",
            f"busy::test_statsmodels_{name}_small[busy]",
            "at most 3",
        )
        for name, what in {"ols": "OLS + HC1", "logit": "Logit + HC0"}.items()
    ),
    ("a Logit of two processes over one's", "busy::test_simulation[2]", "busy::test_simulation[1]", "at most 1.5"),
    (
        "statsmodels over Logit + HC0",
        "likelihood_large::test_statsmodels[Logit]",
        "likelihood_large::test_betahat[Logit]",
        "at least 5",
    ),
    *(
        (
            f"statsmodels over PHReg, {ties}",
            f"cox::test_statsmodels[{ties}]",
            f"cox::test_betahat[{ties}]",
            "at least 20",
        )
        for ties in ("breslow", "efron")
    ),
    (
        "glum over Logit + HC0",
        "likelihood_large::test_glum[Logit]",
        "likelihood_large::test_betahat[Logit]",
        "at least 3",
    ),
    (
        "statsmodels over Poisson + HC0",
        "likelihood_large::test_statsmodels[Poisson]",
        "likelihood_large::test_betahat[Poisson]",
        "at least 5",
    ),
    (
        "glum over Poisson + HC0",
        "likelihood_large::test_glum[Poisson]",
        "likelihood_large::test_betahat[Poisson]",
        "at least 3",
    ),
    ("Logit HC3 over HC0", "likelihood_large::test_betahat_hc3[Logit]", "likelihood_large::test_betahat[Logit]", ""),
    (
        "statsmodels over MNLogit, n = 2e5, k = 8, 4 classes",
        "likelihood_large::test_statsmodels_mnlogit",
        "likelihood_large::test_mnlogit",
        "",
    ),
    (
        "Logit, n = 20,000, k = 1,000, in units of one X'X in NumPy",
        "likelihood_large::test_wide_logit",
        "likelihood_large::test_wide_gram",
        "",
    ),
    ("Probit over Logit", "likelihood_large::test_betahat[Probit]", "likelihood_large::test_betahat[Logit]", ""),
    (
        "statsmodels over OLS + one-way clusters",
        "covariances_large::test_statsmodels_cluster",
        "covariances_large::test_cluster",
        "at least 16",
    ),
    (
        "pyfixest over OLS + one-way clusters",
        "covariances_large::test_pyfixest_cluster",
        "covariances_large::test_cluster",
        "at least 15",
    ),
    (
        "two-way over one-way",
        "covariances_large::test_cluster_two_ways",
        "covariances_large::test_cluster",
        "at most 3",
    ),
    (
        "statsmodels over OLS + HAC, 20 lags",
        "covariances_large::test_statsmodels_hac",
        "covariances_large::test_hac",
        "at least 6",
    ),
    (
        "statsmodels' cluster-jk over the jackknife",
        "covariances_large::test_statsmodels_jackknife",
        "covariances_large::test_jackknife",
        "at least 20",
    ),
    (
        "CR2 over CR1S, n = 1e5, 1,000 clusters",
        "covariances_large::test_unbalanced[CR2]",
        "covariances_large::test_unbalanced[CR1S]",
        "",
    ),
    (
        "CR2 of Logit over CR2 of OLS, n = 1e6, 10,000 clusters",
        "covariances_large::test_cr2_of_logit",
        "covariances_large::test_cr2",
        "at most 5",
    ),
    (
        "CR2 of Logit, n = 2e5 in 4 clusters, over CR2 of OLS",
        "covariances_large::test_cr2_of_logit_of_four_clusters",
        "covariances_large::test_cr2",
        "",
    ),
    *(
        (
            f"{peer} over pairs of OLS, a replicate, n = {rows}, k = {width}",
            f"bootstrap::test_{peer.lower()}_pairs[({rows}, {width})]",
            f"bootstrap::test_pairs[({rows}, {width})]",
            f"at least {limit}",
        )
        for rows, width, limits in ((10_000, 10, (25, 3)), (100_000, 20, (20, 5)))
        for peer, limit in zip(("statsmodels", "NumPy"), limits, strict=True)
    ),
    (
        "statsmodels over pairs of Logit, a replicate, n = 20000, k = 20",
        "bootstrap::test_statsmodels_logit_pairs",
        "bootstrap::test_logit_pairs",
        "at least 10",
    ),
    (
        "wildboottest over a test by wild clusters, 9,999 replicates, 50 clusters",
        "bootstrap::test_wildboottest",
        "bootstrap::test_wild_clusters",
        "at least 3",
    ),
    *(
        (
            f"{model} of a {frame} by a formula with C(g) over statsmodels', n = {rows}",
            f"formulas::test_betahat[{rows}-{model}-{frame}]",
            f"formulas::test_statsmodels[{rows}-{model}]",
            "at most 1",
        )
        for rows in (200, 100_000)
        for model in ("ols", "logit")
        for frame in ("pandas", "polars")
    ),
    *(
        (
            f"labels of a million rows, {kind}, over pandas' sorted factorize",
            f"labels::test_labels[{kind}]",
            f"labels::test_pandas[{kind}]",
            "at most 60 ms",
        )
        for kind in (
            "objects",
            "text",
            "pandas str",
            "pandas category",
            "pandas intervals",
            "integers",
            "sparse integers",
            "floats",
            "dates",
            "polars text",
            "polars category",
            "Arrow text",
            "list of text",
            "list of integers",
        )
    ),
    (
        "linear module over Logit, n = 1e5",
        "likelihood_module::test_linear_module",
        "likelihood_module::test_logit",
        "at most 4",
    ),
    *(
        (
            f"{model}, k = 1,000 of which {count} dependent, {rank}, over statsmodels",
            f"dependent_columns::test_betahat[{count}-{model}-{rank}]",
            f"dependent_columns::test_statsmodels[{count}-{model}]",
            "at most 1",
        )
        for count in (1, 300)
        for model in ("OLS", "Logit")
        for rank in ("pinv", "drop")
    ),
    (
        "Conley, 40,000 rows, over all distances of 5,000 by NumPy",
        "conley::test_conley[uniform]",
        "conley::test_numpy",
        "at most 0.6",
    ),
    ("import betahat over import torch", "import::test_first[betahat]", "import::test_first[torch]", "at most 1.5"),
    (
        "import betahat and a first linear module over import torch",
        "import::test_first[module]",
        "import::test_first[torch]",
        "",
    ),
    ("import betahat and a first OLS over import torch", "import::test_first[fit]", "import::test_first[torch]", ""),
    (
        "Hessian of a network, 1,501 parameters over 501, n = 4,000",
        "modules::test_hessian[1501]",
        "modules::test_hessian[501]",
        "at most 9",
    ),
    (
        "Hessian, scores and errors of 501 parameters over torch's Hessian alone",
        "modules::test_hessian[501]",
        "modules::test_torch_hessian",
        "",
    ),
    (
        "Gauss-Newton, scores and errors of 501 parameters over those by the Hessian",
        "modules::test_gauss_newton[501]",
        "modules::test_hessian[501]",
        "at most 0.8",
    ),
    (
        "Gauss-Newton of a network, 2,001 parameters over 501, n = 4,000",
        "modules::test_gauss_newton[2001]",
        "modules::test_gauss_newton[501]",
        "at most 20",
    ),
    (
        "linear module, squared error, HC1, over OLS, n = 1e6, k = 20",
        "modules::test_linear_module_mse",
        "modules::test_ols",
        "at most 2.5",
    ),
    (
        "linear module, cross entropy, HC0, over Logit, n = 1e6, k = 20",
        "modules::test_linear_module_bce",
        "modules::test_logit",
        "at most 1.8",
    ),
    (
        "a backward pass for each row, 8,000 rows over 2,000",
        "modules::test_own_operation[8000]",
        "modules::test_own_operation[2000]",
        "at most 5",
    ),
]


def main(path):
    found = json.loads(Path(path).read_text(encoding="utf-8"))
    medians = {
        re.sub(r"benchmarks/bench_(ols_)?|\.py", "", entry["fullname"]): entry["stats"]["median"]
        / entry["extra_info"].get("replicates", 1)
        for entry in found["benchmarks"]
    }
    print("| question | median | of | ratio | limit |\n|---|---|---|---|---|")
    for question, top, bottom, limit in QUESTIONS:
        if top in medians and bottom in medians:
            a, b = medians[top], medians[bottom]
            print(f"| {question} | {a * 1e3:.4g} ms | {b * 1e3:.4g} ms | {a / b:.2f} | {limit} |")
    for name, limit in (("test_network", "at most 10 s"), ("test_network_polished", "")):
        seconds = medians.get(f"likelihood_module::{name}")
        if seconds is not None:
            what = "Hessian, scores, table" + (", from the optimum" if "polished" in name else "")
            print(f"| network of 481 parameters, 20,000 rows: {what} | {seconds:.3g} s |  |  | {limit} |")


if __name__ == "__main__":
    main(sys.argv[1])
