# Golden numbers for values of other periods, computed by plm, which finds them by time: a gap is missing.
#
# What it makes: tests/golden/lags.json: an unbalanced panel with gaps, in no order; lags, leads and differences of x in its rows, and the
# coefficients and classical standard errors of two models with some of them, pooled and within.
# Run from the project root:   Rscript tests/golden/lags.R
#
# Last made with R 4.2.2 Patched (Debian 12, x86_64), plm 2.6-2, jsonlite 1.8.4.

suppressPackageStartupMessages({
  library(plm)
  library(jsonlite)
})

set.seed(20261201)
panel <- expand.grid(year = 2001:2009, firm = 1:12)
panel <- panel[runif(nrow(panel)) > 0.25, ]
panel <- panel[sample(nrow(panel)), ]                        # in no order
panel$x <- round(rnorm(nrow(panel)), 3)
panel$y <- round(0.5 * panel$x + rnorm(12)[panel$firm] + rnorm(nrow(panel)), 3)
rows <- panel[order(panel$firm, panel$year), ]
p <- pdata.frame(rows, index = c("firm", "year"))

columns <- list(
  "lag(x, 1)" = plm::lag(p$x, 1, shift = "time"),
  "lag(x, 2)" = plm::lag(p$x, 2, shift = "time"),
  "lag(x, -1)" = plm::lag(p$x, -1, shift = "time"),
  "lead(x, 2)" = plm::lead(p$x, 2, shift = "time"),
  "diff(x)" = diff(p$x, 1, shift = "time"),
  "diff(x, 2)" = diff(p$x, 2, shift = "time")
)
number <- function(v) { v <- as.numeric(v); ifelse(is.na(v), NA, v) }
record <- function(fit) list(params = unname(coef(fit)), bse = unname(sqrt(diag(vcov(fit)))), nobs = nobs(fit))
models <- list(
  pooled = record(plm(y ~ plm::lag(y, 1) + x + plm::lag(x, 1), data = p, model = "pooling")),
  within = record(plm(diff(y) ~ diff(x) + plm::lag(x, 2), data = p, model = "within"))
)
writeLines(
  toJSON(list(data = as.list(rows), columns = lapply(columns, number), models = models), digits = NA, auto_unbox = TRUE, na = "null"),
  "tests/golden/lags.json"
)
