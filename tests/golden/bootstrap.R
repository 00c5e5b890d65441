# Golden numbers for bootstrap intervals and bootstrap covariances, computed by R.
#
# What it makes: tests/golden/bootstrap.json. `intervals` has boot::boot's replicates of a linear model, with the
# resampled rows, and boot.ci's intervals of them: what follows from the replicates is exact. `covariances` has
# sandwich::vcovBS with 20000 draws, each matrix with the Monte Carlo standard errors of its entries.
# Run from the project root:   Rscript tests/golden/bootstrap.R      (half a minute, the same bytes each time)
#
# Last made with R 4.2.2 Patched (Debian 12, x86_64), boot 1.3-28.1, sandwich 3.0-2, jsonlite 1.8.4 (the versions
# are also under "meta" in the JSON). sandwich 3.0-2 has no type "fractional" and no type "jackknife".

suppressPackageStartupMessages({
  library(boot)
  library(sandwich)
  library(jsonlite)
})

# ---------------------------------------------------------------- writing JSON

# The fewest digits, 15 to 17, that read back to the same double; see covariances.R.
digits_of <- function(x) {
  out <- rep("null", length(x))
  left <- which(is.finite(x))
  for (d in 15:17) {
    if (!length(left)) break
    out[left] <- formatC(as.double(x[left]), digits = d, format = "g", width = 1)
    same <- fromJSON(paste0("[", paste(out[left], collapse = ","), "]")) == x[left]
    left <- left[!same]
  }
  stopifnot(!length(left))
  out
}
array_of <- function(x) paste0("[", paste(x, collapse = ","), "]")
quoted <- function(s) vapply(s, function(v) as.character(toJSON(unbox(v))), "", USE.NAMES = FALSE)

# one(): a scalar. A bare vector becomes an array, a matrix an array of rows, a list an object when it has names.
one <- function(x) structure(list(x), class = "golden_one")

json_of <- function(x) {
  if (is.null(x)) return("null")
  if (inherits(x, "golden_one")) return(if (is.character(x[[1]])) quoted(x[[1]]) else digits_of(x[[1]]))
  if (is.matrix(x)) return(array_of(apply(matrix(digits_of(as.vector(x)), nrow(x)), 1, array_of)))
  if (is.character(x)) return(array_of(quoted(x)))
  if (is.numeric(x)) return(array_of(digits_of(x)))
  stopifnot(is.list(x))
  inside <- vapply(x, json_of, "")
  if (is.null(names(x))) return(paste0("[\n", paste(inside, collapse = ",\n"), "]"))
  paste0("{", paste(quoted(names(x)), inside, sep = ":", collapse = ",\n"), "}")
}

# --------------------------------------------------------------------- the data

data("PetersenCL", package = "sandwich")
petersen <- subset(PetersenCL, firm <= 40)

columns_of <- function(source, data, variables)
  list(source = one(source), n = one(nrow(data)),
       columns = lapply(data[variables], function(v) if (is.factor(v)) as.character(v) else as.numeric(v)))
datasets <- list(
  mtcars = columns_of("datasets::mtcars", mtcars, c("mpg", "wt", "hp")),
  petersen = columns_of("sandwich::PetersenCL, firms 1 to 40", petersen, c("firm", "year", "x", "y")),
  infert = columns_of("datasets::infert", infert, c("case", "spontaneous", "induced")),
  warpbreaks = columns_of("datasets::warpbreaks", warpbreaks, c("breaks", "wool", "tension")))

# ---------------------------------------------------------------- the intervals

# Coefficients and their HC0 variances, of rows with weights: a row drawn twice is two rows.
coef_and_variance <- function(d, w) {
  w <- as.vector(w)   # empinf hands over a table
  X <- cbind(1, d$wt, d$hp)
  bread <- solve(crossprod(X, w * X))
  b <- drop(bread %*% crossprod(X, w * d$mpg))
  e <- d$mpg - drop(X %*% b)
  V <- bread %*% crossprod(X * e, w * e * X) %*% bread
  c(b, diag(V))
}
by_rows <- function(d, i) coef_and_variance(d[i, ], rep(1, length(i)))
by_weights <- function(d, w) coef_and_variance(d, w)[1:3]

set.seed(20240501)
b <- boot(mtcars, by_rows, R = 999)
indices <- boot.array(b, indices = TRUE)
fit <- lm(mpg ~ wt + hp, mtcars)
X <- model.matrix(fit)
stopifnot(all.equal(b$t0, c(coef(fit), diag(vcovHC(fit, "HC0"))), tolerance = 1e-11, check.attributes = FALSE),
          identical(b$t[7, ], by_rows(mtcars, indices[7, ])), identical(b$t[999, ], by_rows(mtcars, indices[999, ])))

confidence <- c(0.90, 0.95, 0.9375)   # 1000 * (1 - 0.9375) / 2 is not whole: its quantiles are interpolated
ends <- function(ci) unname(cbind(ci[, 1], ci[, ncol(ci) - 1:0, drop = FALSE]))
influence <- solve(crossprod(X)) %*% t(X * residuals(fit)) * nrow(X)   # the limit of "inf": n A x_i e_i

# BCa with one kind of influence values: the intervals, and what they are made of.
bca_with <- function(j, L) {
  t <- b$t[, j]
  z0 <- qnorm(mean(t < b$t0[j]))
  a <- sum(L^3) / (6 * sum(L^2)^1.5)
  z <- qnorm((1 + c(-1, 1) %o% confidence) / 2)
  level <- t(pnorm(z0 + (z0 + z) / (1 - a * (z0 + z))))   # a row for each confidence
  by_boot <- boot.ci(b, confidence, "bca", index = j, L = L)$bca
  stopifnot(all.equal(round(1000 * level, 2), by_boot[, 2:3], check.attributes = FALSE))
  list(influence = as.vector(L), z0 = one(z0), acceleration = one(a), levels = level, intervals = ends(by_boot))
}

intervals_of <- function(j) {
  kinds <- list(reg = empinf(b, index = j, type = "reg"), jack = empinf(b, index = j, type = "jack"),
                inf = empinf(data = mtcars, statistic = by_weights, stype = "w", index = j, type = "inf"))
  stopifnot(all.equal(kinds$inf, influence[j, ], tolerance = 1e-3, check.attributes = FALSE),
            identical(boot.ci(b, confidence, "bca", index = j)$bca,   # which takes "reg"
                      boot.ci(b, confidence, "bca", index = j, L = kinds$reg)$bca))
  v0 <- b$t0[3 + j]
  ci <- function(type, ...) boot.ci(b, confidence, type, ...)[[4]]
  stud <- ci("stud", index = c(j, 3 + j))
  stopifnot(identical(stud, ci("stud", index = j + c(0, 3), var.t0 = v0, var.t = b$t[, 3 + j])))
  list(name = one(names(coef(fit))[j]), norm = ends(ci("norm", index = j)),
       norm_var_t0 = ends(ci("norm", index = j, var.t0 = v0)), basic = ends(ci("basic", index = j)),
       perc = ends(ci("perc", index = j)), stud = ends(stud),
       bca_default = one("reg"), bca = lapply(c(kinds, list(exact = influence[j, ])), function(L) bca_with(j, L)))
}

intervals <- list(
  dataset = one("mtcars"), formula = one("mpg ~ wt + hp"), R = one(b$R), names = names(coef(fit)),
  indices = indices - 1, t0 = b$t0[1:3], t = b$t[, 1:3], var_t0 = b$t0[4:6], var_t = b$t[, 4:6],
  coefficients = lapply(1:3, intervals_of))

# -------------------------------------------------------------- the covariances

draws <- 20000

# `expected`, where there is a formula: the mean of the covariance over draws, given the data.
covariance <- function(dataset, fit, type = NULL, cluster = NULL, seed, expected = NULL, ...) {
  kept <- NULL
  keep <- function(X, FUN, ...) kept <<- lapply(X, FUN, ...)
  args <- c(list(fit, R = draws, applyfun = keep), if (!is.null(type)) list(type = type),
            if (!is.null(cluster)) list(cluster = reformulate(cluster)), list(...))
  set.seed(seed)
  V <- do.call(vcovBS, args)
  B <- do.call(rbind, kept)
  centred <- sweep(B, 2, colMeans(B))
  stopifnot(dim(B) == c(draws, length(coef(fit))), is.finite(B), all.equal(cov(B), V, check.attributes = FALSE))
  k <- ncol(B)
  error <- sapply(1:k, function(j) apply(centred * centred[, j], 2, sd)) / sqrt(draws)
  if (!is.null(expected)) stopifnot(abs(V - expected) < 4.5 * error)
  cat(sprintf("%-10s %-16s %-5s", dataset, if (is.null(type)) "xy" else type, if (is.null(cluster)) "" else cluster),
      "largest relative error", signif(max(diag(error) / diag(V)), 2), "\n")
  is_glm <- inherits(fit, "glm")
  list(dataset = one(dataset), formula = one(deparse1(formula(fit))),
       family = one(if (is_glm) family(fit)$family else "gaussian"),
       link = one(if (is_glm) family(fit)$link else "identity"),
       type = one(if (is.null(type)) "xy" else type), cluster = if (is.null(cluster)) NULL else one(cluster),
       R = one(draws), seed = one(seed), names = names(coef(fit)), coef = unname(coef(fit)), rows = unname(V),
       mc_error = unname(error), mean_of_draws = unname(colMeans(B)),
       expected = if (is.null(expected)) NULL else unname(expected))
}

tight <- glm.control(epsilon = 1e-12, maxit = 50)
logit <- glm(case ~ spontaneous + induced, binomial, infert, control = tight)
poisson_ <- glm(breaks ~ wool + tension, poisson, warpbreaks, control = tight)
panel <- lm(y ~ x, petersen)
hc0 <- vcovHC(fit, "HC0")
cl0 <- vcovCL(panel, ~ firm, type = "HC0", cadjust = FALSE)
rss_over_n <- sum(residuals(fit)^2) / nobs(fit) * solve(crossprod(X))

covariances <- list(
  covariance("mtcars", fit, "xy", seed = 1),
  covariance("mtcars", fit, "residual", seed = 2, expected = rss_over_n),
  covariance("mtcars", fit, "wild-rademacher", seed = 3, expected = hc0),
  covariance("mtcars", fit, "wild-mammen", seed = 4, expected = hc0),
  covariance("mtcars", fit, "wild-webb", seed = 5, expected = hc0),
  covariance("mtcars", fit, "wild-norm", seed = 6, expected = hc0),
  covariance("petersen", panel, "xy", "firm", seed = 7),
  covariance("petersen", panel, "wild-rademacher", "firm", seed = 8, expected = cl0),
  covariance("petersen", panel, "wild-webb", "firm", seed = 9, expected = cl0),
  covariance("infert", logit, seed = 10, control = tight),
  covariance("warpbreaks", poisson_, seed = 11, control = tight))

# --------------------------------------------------------------------- the file

version_of <- function(p) one(as.character(packageVersion(p)))
meta <- list(made_by = one("tests/golden/bootstrap.R"), R = one(R.version.string), platform = one(R.version$platform),
             packages = sapply(c("boot", "sandwich", "jsonlite"), version_of, simplify = FALSE))

path <- file.path("tests", "golden", "bootstrap.json")
writeLines(json_of(list(meta = meta, datasets = datasets, intervals = intervals, covariances = covariances)), path)

# Read it back: the numbers must be the same doubles.
back <- fromJSON(path, simplifyVector = FALSE)
flat <- function(x) as.numeric(unlist(x))
stopifnot(identical(flat(back$intervals$t), as.vector(t(b$t[, 1:3]))), identical(flat(back$intervals$indices) + 1,
          as.numeric(t(indices))), identical(flat(back$datasets$petersen$columns$y), petersen$y))
for (i in seq_along(covariances))
  stopifnot(identical(flat(back$covariances[[i]]$mc_error), as.vector(t(covariances[[i]]$mc_error))))
cat(path, file.size(path), "bytes\n")
