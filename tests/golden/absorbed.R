# Golden numbers for absorbed effects, computed by R: the dummies themselves in lm and glm with sandwich and
# clubSandwich, and plm's within models.
#
# What it makes: tests/golden/absorbed.json: one data set, and for each model the coefficients of x1 and x2 and their
# (2, 2) block of each covariance; dummies' own rows are left out.
# Run from the project root:   Rscript tests/golden/absorbed.R
#
# Last made with R 4.2.2 Patched (Debian 12, x86_64), sandwich 3.0-2, clubSandwich 0.5.8, plm 2.6-2, jsonlite 1.8.4.
#
# What is left out, because R is wrong or means something else there:
#  - clubSandwich's CR3 beside dummies of the clusters themselves: I - H_gg is singular. Where clusters hold the
#    firms, CR3 is that of the rows with the firms' means taken off, beside the other dummies (within = TRUE).
#  - sandwich's clustered HC2 and HC3; those of plm, whose leverage is without the dummies' own.
#  - CR2 of rows with weights and means taken off, which is not that of the dummies.
#  - CR1p and CR1S of clubSandwich, whose k has all dummies; vcovCL's HC1 is CR1S with all dummies.

suppressPackageStartupMessages({
  library(sandwich)
  library(clubSandwich)
  library(plm)
  library(jsonlite)
})

set.seed(20261130)
firms <- 36; years <- 10
panel <- expand.grid(year = 2001:(2000 + years), firm = 1:firms)
panel <- panel[runif(nrow(panel)) > 0.2, ]
panel <- panel[ave(panel$year, panel$firm, FUN = length) >= 4, ]
panel <- panel[sample(nrow(panel)), ]                        # in no order
n <- nrow(panel)
panel$region <- (panel$firm - 1) %/% 3                       # firms nest in 12 regions
panel$sector <- (panel$firm - 1) %/% 12
panel$state <- sample(0:4, n, replace = TRUE)                # crosses both
ability <- rnorm(firms); shock <- rnorm(years)
panel$t <- panel$year - 2000
panel$x1 <- round(0.6 * ability[panel$firm] + 0.4 * shock[panel$t] + rnorm(n), 6)
panel$x2 <- round(rexp(n) + 0.3 * panel$x1, 6)
panel$v <- round(rnorm(n), 6)
panel$w <- round(runif(n, 0.3, 3), 6)
index <- 0.5 * panel$x1 - 0.3 * panel$x2 + ability[panel$firm] + shock[panel$t] + 0.2 * panel$state
panel$y <- round(index + (0.5 + 0.3 * panel$x2) * rnorm(n) + 0.7 * rnorm(firms * 10)[panel$firm * 10 - 10 + panel$t], 6)
panel$c <- rpois(n, exp(0.3 + 0.4 * index))
panel$b <- as.integer(0.8 * index + rlogis(n) > 0.3)
rownames(panel) <- NULL

block <- function(V) unname(as.matrix(V)[c("x1", "x2"), c("x1", "x2")])
one <- unbox
entry <- function(kind, V, ...) c(list(kind = one(kind)), lapply(list(...), function(v) if (length(v) == 1) one(v) else v), list(vcov = block(V)))
ways <- list("firm", "region", "year", "state", c("firm", "year"), c("region", "state"))

hc <- function(m, types) lapply(types, function(type) entry(type, vcovHC(m, type = type)))
clustered <- function(m) unlist(recursive = FALSE, lapply(ways, function(way) unlist(recursive = FALSE, lapply(c("HC0", "HC1"), function(type)
  lapply(c(TRUE, FALSE), function(cadjust)
    entry("vcovCL", vcovCL(m, cluster = panel[way], type = type, cadjust = cadjust), type = type, cadjust = cadjust, cluster = way))))))
# Bias-reduced clusters, with Satterthwaite's degrees of freedom. R's coef_test needs all coefficients to have a variance.
reduced <- function(m, way, types, inverse = FALSE, within = FALSE) lapply(types, function(type) {
  V <- vcovCR(m, cluster = panel[[way]], type = type, inverse_var = inverse)
  df <- if (inherits(m, "lm") && !inherits(m, "glm")) tryCatch(coef_test(m, vcov = V, coefs = c("x1", "x2"), test = "Satterthwaite"), error = function(e) NULL) else NULL
  df <- if (is.null(df)) NULL else if (is.null(df$df_Satt)) df$df else df$df_Satt
  c(entry("vcovCR", V, type = type, cluster = way, inverse_var = inverse, within = within), list(df = if (is.null(df)) NULL else as.numeric(df)))
})

demeaned <- function(v, by, w) v - ave(w * v, by, FUN = sum) / ave(w, by, FUN = sum)
# The rows without the means of some effect, beside the dummies of the other.
within_fit <- function(by, other, w) {
  d <- data.frame(y = demeaned(panel$y, panel[[by]], w), x1 = demeaned(panel$x1, panel[[by]], w), x2 = demeaned(panel$x2, panel[[by]], w))
  right <- "0 + x1 + x2"
  for (name in other) {
    D <- model.matrix(~ factor(panel[[name]]))[, -1]
    for (j in seq_len(ncol(D))) {
      d[[paste0(name, j)]] <- demeaned(D[, j], panel[[by]], w)
      right <- paste0(right, " + ", name, j)
    }
  }
  d$w <- w
  lm(as.formula(paste("y ~", right)), d, weights = w)
}

linear <- list(
  list(absorb = "firm", fit = "factor(firm)"),
  list(absorb = "year", fit = "factor(year)"),
  list(absorb = c("firm", "year"), fit = "factor(firm) + factor(year)"),
  list(absorb = c("firm", "year", "state"), fit = "factor(firm) + factor(year) + factor(state)"),
  list(absorb = c("sector^year", "state"), fit = "interaction(sector, year) + factor(state)"),
  list(absorb = "firm[t]", fit = "factor(firm) + factor(firm):t"),
  list(absorb = c("firm[[v]]", "year"), fit = "factor(firm):v + factor(year)"))

records <- list()
for (case in linear) for (weighted in c(FALSE, TRUE)) {
  d <- panel
  d$.w <- if (weighted) panel$w else 1
  formula <- as.formula(paste("y ~ x1 + x2 +", case$fit))
  m <- if (weighted) lm(formula, d, weights = w) else lm(formula, d)
  rank <- m$rank
  entries <- c(list(entry("vcov", vcov(m))), hc(m, c("HC0", "HC1", "HC2", "HC3", "HC4", "HC4m", "HC5")), clustered(m))
  plain <- !any(grepl("\\[|\\^", case$absorb))
  if (plain) for (way in c("firm", "region", "year", "state")) {
    nested <- way %in% case$absorb || (way == "region" && "firm" %in% case$absorb)
    entries <- c(entries, reduced(m, way, c("CR0", "CR1", "CR2", if (!nested) "CR3")))
    if (weighted) entries <- c(entries, reduced(m, way, c("CR2", if (!nested) "CR3"), inverse = TRUE))
    if (nested) {
      by <- if (way == "region") "firm" else way
      inside <- within_fit(by, setdiff(case$absorb, by), if (weighted) panel$w else rep(1, n))
      stopifnot(max(abs(coef(inside)[c("x1", "x2")] - coef(m)[c("x1", "x2")])) < 1e-10)
      entries <- c(entries, reduced(inside, way, c(if (!weighted) "CR2", "CR3"), within = TRUE))
    }
  }
  records[[length(records) + 1]] <- list(model = one("lm"), absorb = case$absorb, weighted = one(weighted), coef = unname(coef(m)[c("x1", "x2")]),
    rank = one(rank), sigma2 = one(summary(m)$sigma^2), r2 = one(summary(m)$r.squared), entries = entries)
}

# plm's within models
for (effect in c("individual", "time", "twoways")) {
  m <- plm(y ~ x1 + x2, panel, effect = effect, model = "within", index = c("firm", "year"))
  entries <- list(entry("plm", vcov(m)))
  for (type in c("HC0", "sss", "HC1")) {
    entries <- c(entries, list(entry("white1", vcovHC(m, method = "white1", type = type), type = type)))
    for (cluster in c("group", "time"))
      entries <- c(entries, list(entry("arellano", vcovHC(m, method = "arellano", type = type, cluster = cluster), type = type, cluster = cluster)))
    entries <- c(entries, list(entry("vcovDC", vcovDC(m, type = type), type = type)))
    for (lags in 0:3) entries <- c(entries, list(
      entry("vcovNW", vcovNW(m, type = type, maxlag = lags), type = type, maxlag = lags),
      entry("vcovSCC", vcovSCC(m, type = type, maxlag = lags), type = type, maxlag = lags)))
  }
  for (type in c("CR0", "CR1", "CR2", "CR3")) for (way in switch(effect, individual = c("firm", "region"), time = "year", twoways = character())) {
    V <- vcovCR(m, cluster = panel[[way]], type = type)
    found <- coef_test(m, vcov = V, test = "Satterthwaite")
    entries <- c(entries, list(c(entry("plm vcovCR", V, type = type, cluster = way), list(df = as.numeric(if (is.null(found$df_Satt)) found$df else found$df_Satt)))))
  }
  absorb <- switch(effect, individual = "firm", time = "year", twoways = c("firm", "year"))
  records[[length(records) + 1]] <- list(model = one("plm"), absorb = absorb, weighted = one(FALSE), coef = unname(coef(m)[c("x1", "x2")]),
    r2_within = one(unname(summary(m)$r.squared["rsq"])), effects = if (effect != "twoways") unname(as.numeric(fixef(m))) else NULL, entries = entries)
}

# generalized linear models
control <- list(epsilon = 1e-15, maxit = 100)
for (case in list(
  list(family = poisson(), y = "c", absorb = "firm", fit = "factor(firm)"),
  list(family = poisson(), y = "c", absorb = c("region", "year"), fit = "factor(region) + factor(year)"),
  list(family = binomial(), y = "b", absorb = "region", fit = "factor(region)"),
  list(family = binomial("probit"), y = "b", absorb = c("year", "state"), fit = "factor(year) + factor(state)"))) {
  m <- glm(as.formula(paste(case$y, "~ x1 + x2 +", case$fit)), case$family, panel, control = control)
  for (again in 1:3) m <- update(m, start = coef(m))          # R keeps the weights of the step before the last
  entries <- c(list(entry("vcov", vcov(m))), hc(m, c("HC0", "HC1", "HC2", "HC3")), clustered(m))
  for (way in c("firm", "region", "year", "state")) {
    nested <- way %in% case$absorb || (way == "region" && "firm" %in% case$absorb)
    entries <- c(entries, reduced(m, way, c("CR0", "CR1", "CR2", if (!nested) "CR3")))
  }
  records[[length(records) + 1]] <- list(model = one("glm"), y = one(case$y), family = one(paste0(case$family$family, "-", case$family$link)), absorb = case$absorb,
    weighted = one(FALSE), coef = unname(coef(m)[c("x1", "x2")]), deviance = one(deviance(m)), entries = entries)
}

counts <- sum(sapply(records, function(r) length(r$entries)))
meta <- list(R = one(R.version.string), matrices = one(counts),
  packages = lapply(sapply(c("sandwich", "clubSandwich", "plm", "jsonlite"), function(p) as.character(packageVersion(p)), simplify = FALSE), one))
text <- toJSON(list(meta = meta, data = as.list(panel), records = records), digits = I(17), null = "null", na = "null")
writeLines(text, "tests/golden/absorbed.json")
cat(n, "rows,", counts, "matrices\n")
