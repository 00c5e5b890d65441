# Golden numbers for linear models of several responses, computed by R: lm(cbind(...)) and sandwich.
#
# What it makes: tests/golden/multivariate.json, one record for each model with its responses, its design matrix and what
# R says of the fit.
# Run from the project root:   Rscript tests/golden/multivariate.R
#
# Last made with R 4.2.2 Patched (Debian 12, x86_64), sandwich 3.0-2, jsonlite 1.8.4 (also under "meta" in the JSON).
# The data ship in R's own `datasets`. Numbers are written with the fewest digits (15, 16 or 17) that read back to the
# same double.

suppressPackageStartupMessages({
  library(sandwich)
  library(jsonlite)
})

number <- function(x) {
  one <- function(v) {
    if (!is.finite(v)) return("null")
    for (digits in 15:17) {
      s <- sprintf("%.*g", digits, v)
      if (as.numeric(s) == v) return(s)
    }
    s
  }
  vapply(x, one, "")
}

verbatim <- function(text) structure(text, class = "json")
row_text <- function(x) paste0("[", paste(number(x), collapse = ","), "]")
ready <- function(x) {
  if (is.matrix(x))
    return(verbatim(paste0("[", paste(apply(unname(x), 1, row_text), collapse = ",\n"), "]")))
  if (is.numeric(x)) return(verbatim(row_text(x)))
  if (is.list(x)) return(lapply(x, ready))
  unbox(x)
}

record <- function(formula, data, cluster) {
  fit <- lm(formula, data)
  tables <- coef(summary(fit))
  list(
    call = deparse1(formula),
    responses = colnames(coef(fit)),
    regressors = rownames(coef(fit)),
    y = unname(as.matrix(model.response(model.frame(fit)))),
    x = unname(model.matrix(fit)),
    cluster = as.numeric(as.integer(factor(data[[cluster]]))),
    coef = coef(fit),                                   # (k, m)
    vcov = vcov(fit),                                   # (m k, m k), response by response
    sigma = estVar(fit),                                # E'E / (n - k)
    df_residual = as.numeric(df.residual(fit)),
    # (k, m): each response's own t tests
    t_values = sapply(tables, function(table) table[, "t value"]),
    p_values = sapply(tables, function(table) table[, "Pr(>|t|)"]),
    vcovHC = sapply(c("HC0", "HC1", "HC2", "HC3", "HC4", "HC4m", "HC5"),
                    function(type) vcovHC(fit, type = type), simplify = FALSE),
    vcovCL = vcovCL(fit, cluster = factor(data[[cluster]])),              # the default type of an mlm, HC0
    vcovCL_unadjusted = vcovCL(fit, cluster = factor(data[[cluster]]), cadjust = FALSE)
  )
}

records <- list(
  mtcars = record(cbind(mpg, qsec, drat) ~ wt + hp + am, transform(mtcars, pair = gear * 10 + carb), "pair"),
  co2 = record(cbind(uptake, log(uptake)) ~ log(conc) + Treatment, CO2, "Plant")
)
meta <- list(
  R = R.version.string,
  sandwich = as.character(packageVersion("sandwich")),
  jsonlite = as.character(packageVersion("jsonlite")),
  made_by = "tests/golden/multivariate.R"
)
named <- lapply(records, function(r) {
  r$responses <- verbatim(toJSON(r$responses))
  r$regressors <- verbatim(toJSON(r$regressors))
  r
})
out <- list(meta = lapply(meta, unbox), models = lapply(named, function(r) lapply(r, function(v) {
  if (inherits(v, "json")) v else ready(v)
})))
writeLines(toJSON(out, pretty = FALSE, json_verbatim = TRUE), "tests/golden/multivariate.json")
