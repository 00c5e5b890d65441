# Golden numbers for two-stage least squares, computed by R: AER::ivreg with sandwich and clubSandwich.
#
# What it makes: tests/golden/instruments.json: one data set, and for each model the coefficients, the covariances, and
# AER's diagnostics. Of models with firms' dummies, only the other coefficients are kept.
# Run from the project root:   Rscript tests/golden/instruments.R
#
# Last made with R 4.2.2 Patched (Debian 12, x86_64), AER 1.2-10, sandwich 3.0-2, clubSandwich 0.5.8, lmtest 0.9-40, jsonlite 1.8.4.
#
# Scores are xhat e. sandwich's HC2 and HC3 take AER's hatvalues, x (Xhat'Xhat)^-1 xhat', and clubSandwich the hats of xhat.
# AER's hatvalues forget the weights, so that HC2 and HC3 of weighted models are written out here.
# What is left out: sandwich's clustered HC2 and HC3, and clubSandwich's CR3 where clusters hold the firms (see absorbed.R).

suppressPackageStartupMessages({
  library(AER)
  library(sandwich)
  library(clubSandwich)
  library(jsonlite)
})

set.seed(20261201)
firms <- 30; n <- 270
d <- data.frame(firm = sample(firms, n, replace = TRUE), year = sample(2001:2009, n, replace = TRUE))
d <- d[ave(d$year, d$firm, FUN = length) >= 4, ]
n <- nrow(d)
d$region <- (d$firm - 1) %/% 3
ability <- rnorm(firms)
common <- rnorm(n)
d$x1 <- round(rnorm(n) + 0.4 * ability[d$firm], 6)
d$x2 <- round(runif(n), 6)
d$z1 <- round(rnorm(n) + 0.3 * d$x1, 6)
d$z2 <- round(rnorm(n) + 0.3 * ability[d$firm], 6)
d$z3 <- round(rexp(n), 6)
d$p <- round(0.7 * d$z1 + 0.5 * d$z2 + 0.3 * d$x1 + common + rnorm(n) + ability[d$firm], 6)
d$q <- round(0.6 * d$z3 - 0.4 * d$z1 + 0.5 * common + rnorm(n), 6)
d$w <- round(runif(n, 0.3, 3), 6)
d$y <- round(0.5 * d$x1 - 0.4 * d$x2 + 0.8 * d$p + 0.3 * d$q + common + (0.4 + 0.4 * d$x2) * rnorm(n) + ability[d$firm] + 0.6 * rnorm(firms)[d$firm], 6)
rownames(d) <- NULL

one <- unbox
cases <- list(
  list(name = "just identified", exog = c("x1", "x2"), endog = "p", instruments = "z1"),
  list(name = "overidentified", exog = c("x1", "x2"), endog = "p", instruments = c("z1", "z2", "z3")),
  list(name = "two endogenous", exog = "x1", endog = c("p", "q"), instruments = c("z1", "z2", "z3")),
  list(name = "two, just identified", exog = c("x1", "x2"), endog = c("p", "q"), instruments = c("z1", "z3")))
hc <- function(m, power) {
  xhat <- model.matrix(m, component = "projected"); x <- model.matrix(m, component = "regressors")
  w <- if (is.null(weights(m))) rep(1, n) else weights(m)
  bread <- solve(crossprod(sqrt(w) * xhat))
  hats <- w * rowSums((x %*% bread) * xhat)
  V <- bread %*% crossprod(xhat * w * (d$y - drop(x %*% coef(m))) / (1 - hats)^(power / 2)) %*% bread
  dimnames(V) <- dimnames(vcov(m))
  V
}
ways <- list("firm", "region", "year", c("firm", "year"))

records <- list()
for (case in cases) for (weighted in c(FALSE, TRUE)) for (dummies in c(FALSE, TRUE)) {
  firm <- if (dummies) "factor(firm)" else NULL
  formula <- as.formula(paste("y ~", paste(c(case$exog, case$endog, firm), collapse = " + "), "|", paste(c(case$exog, case$instruments, firm), collapse = " + ")))
  m <- if (weighted) ivreg(formula, data = d, weights = w, x = TRUE) else ivreg(formula, data = d, x = TRUE)
  kept <- c(if (!dummies) "(Intercept)", case$exog, case$endog)
  entry <- function(kind, V, ...) c(list(kind = one(kind)), lapply(list(...), function(v) if (length(v) == 1) one(v) else v), list(vcov = unname(as.matrix(V)[kept, kept])))
  entries <- list(entry("vcov", vcov(m)), entry("HC0", vcovHC(m, type = "HC0")), entry("HC1", vcovHC(m, type = "HC1")),
    entry("HC2", hc(m, 1)), entry("HC3", hc(m, 2)))
  if (!weighted) stopifnot(max(abs(hc(m, 1) / vcovHC(m, type = "HC2") - 1)) < 1e-8, max(abs(hc(m, 2) / vcovHC(m, type = "HC3") - 1)) < 1e-8)
  for (way in ways) for (type in c("HC0", "HC1")) for (cadjust in c(TRUE, FALSE))
    entries <- c(entries, list(entry("vcovCL", vcovCL(m, cluster = d[way], type = type, cadjust = cadjust), type = type, cadjust = cadjust, cluster = way)))
  if (!dummies) for (lag in c(0, 2, 5))
    entries <- c(entries, list(entry("NeweyWest", NeweyWest(m, lag = lag, prewhite = FALSE), lag = lag),
      entry("NeweyWest", NeweyWest(m, lag = lag, prewhite = FALSE, adjust = TRUE), lag = lag, adjust = TRUE)))
  for (way in c("firm", "region", "year")) {
    nested <- dummies && way != "year"
    for (type in c("CR0", "CR1", if (!dummies) c("CR1p", "CR1S"), "CR2", if (!nested) "CR3")) {
      V <- vcovCR(m, cluster = d[[way]], type = type)
      found <- tryCatch(coef_test(m, vcov = V, coefs = kept, test = "Satterthwaite"), error = function(e) NULL)
      df <- if (is.null(found)) NULL else as.numeric(if (is.null(found$df_Satt)) found$df else found$df_Satt)
      entries <- c(entries, list(c(entry("vcovCR", V, type = type, cluster = way), list(df = df))))
    }
  }
  diagnostics <- summary(m, diagnostics = TRUE)$diagnostics
  rows <- lapply(seq_len(nrow(diagnostics)), function(i) list(name = one(rownames(diagnostics)[i]), df1 = one(diagnostics[i, 1]), df2 = one(diagnostics[i, 2]),
    statistic = one(diagnostics[i, 3]), pvalue = one(diagnostics[i, 4])))
  records[[length(records) + 1]] <- list(name = one(case$name), exog = case$exog, endog = case$endog, instruments = case$instruments, weighted = one(weighted),
    dummies = one(dummies), coef = unname(coef(m)[kept]), sigma2 = one(m$sigma^2), r2 = one(summary(m)$r.squared), df = one(m$df.residual), diagnostics = rows, entries = entries)
}
counts <- sum(sapply(records, function(r) length(r$entries)))
meta <- list(R = one(R.version.string), matrices = one(counts),
  packages = lapply(sapply(c("AER", "sandwich", "clubSandwich", "lmtest", "jsonlite"), function(p) as.character(packageVersion(p)), simplify = FALSE), one))
writeLines(toJSON(list(meta = meta, data = as.list(d), records = records), digits = I(17), null = "null", na = "null"), "tests/golden/instruments.json")
cat(n, "rows,", counts, "matrices\n")
