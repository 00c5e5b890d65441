# Golden numbers for quantile regression, computed by R's quantreg.
#
# What it makes: tests/golden/quantile.json: coefficients of `rq` and standard errors of `summary.rq` under se = "iid", "nid" and "ker", of the
# Engel data (quantreg's own), of the stack loss data (many ties), and of Engel with weights.
# Run from the project root:   Rscript tests/golden/quantile.R
#
# Last made with R 4.2.2 Patched (Debian 12, x86_64), quantreg 5.94, jsonlite 1.8.4.
#
# "ker" takes the spread of the residuals for the bandwidth where it is less than their interquartile range over 1.34; betahat, as statsmodels,
# that of the dependent variable. "scale_is_range" says whether R took the range.

suppressPackageStartupMessages({
  library(quantreg)
  library(jsonlite)
})

number <- function(x) {
  one <- function(v) {
    for (digits in 15:17) {
      s <- sprintf("%.*g", digits, v)
      if (as.numeric(s) == v) return(s)
    }
    s
  }
  vapply(x, one, "")
}
row_text <- function(x) structure(paste0("[", paste(number(x), collapse = ","), "]"), class = "json")

data(engel)
data(stackloss)

record <- function(name, formula, data, tau, weights = NULL) {
  data$w <- if (is.null(weights)) rep(1, nrow(data)) else weights
  fit <- if (is.null(weights)) rq(formula, tau = tau, data = data) else rq(formula, tau = tau, data = data, weights = w)
  errors <- function(se) summary(fit, se = se, covariance = TRUE)$cov
  u <- residuals(fit)
  list(
    name = unbox(paste(name, tau)),
    data = unbox(name),
    tau = unbox(tau),
    weights = if (is.null(weights)) NULL else row_text(weights),
    coef = row_text(coef(fit)),
    iid = row_text(as.vector(errors("iid"))),
    nid = row_text(as.vector(suppressWarnings(errors("nid")))),
    ker = row_text(as.vector(errors("ker"))),
    scale_is_range = unbox(unname((quantile(u, .75) - quantile(u, .25)) / 1.34 < sqrt(var(u))))
  )
}

w <- round(0.5 + 1.5 * ((7 * seq_len(nrow(engel))) %% 235) / 235, 6)
records <- c(
  lapply(c(.1, .25, .5, .75, .9), function(tau) record("engel", foodexp ~ income, engel, tau)),
  lapply(c(.3, .5, .65), function(tau) record("stackloss", stack.loss ~ Air.Flow + Water.Temp + Acid.Conc., stackloss, tau)),
  lapply(c(.25, .5, .8), function(tau) record("weighted engel", foodexp ~ income, engel, tau, w))
)
out <- list(
  meta = list(R = unbox(R.version.string), quantreg = unbox(as.character(packageVersion("quantreg")))),
  engel = list(income = row_text(engel$income), foodexp = row_text(engel$foodexp)),
  stackloss = lapply(stackloss, row_text),
  bofinger = row_text(sapply(c(.1, .25, .5), function(p) bandwidth.rq(p, 235, hs = FALSE))),
  fits = records
)
write(toJSON(out, pretty = TRUE, null = "null", json_verbatim = TRUE), "tests/golden/quantile.json")
