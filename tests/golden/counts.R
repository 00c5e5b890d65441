# Golden numbers for models of counts, computed by R's pscl, MASS and AER.
#
# What it makes: docs/data/biochemists.csv, which docs/counts.rst reads, and tests/golden/counts.json: zero-inflated and hurdle models of bioChemists (Long 1990), from pscl as its optimiser leaves
# them, and from the same likelihood, written here in terms of dpois and dnbinom, at its optimum (Newton steps with numDeriv's
# derivatives, from pscl's estimates). Parameters are in the order of betahat: inflation, counts, alpha; or counts, zero, alpha.
# Run from the project root:   Rscript tests/golden/counts.R      (ten seconds, the same bytes each time)
#
# Last made with R 4.2.2 Patched (Debian 12, x86_64); the versions of the packages are under "meta" in the JSON.

suppressPackageStartupMessages({
  library(pscl)
  library(MASS)
  library(AER)
  library(sandwich)
  library(numDeriv)
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

data("bioChemists", package = "pscl")
write.csv(transform(bioChemists, phd = round(phd, 2)), "docs/data/biochemists.csv", row.names = FALSE, quote = FALSE)
d <- data.frame(art = bioChemists$art, fem = as.numeric(bioChemists$fem == "Women"), mar = as.numeric(bioChemists$mar == "Married"),
                kid5 = bioChemists$kid5, phd = bioChemists$phd, ment = bioChemists$ment)
d$team <- (seq_len(nrow(d)) * 37) %% 61
d$years <- 1 + (seq_len(nrow(d)) * 11) %% 7

# ---------------------------------------------------- the likelihoods, by R's densities

loglik <- function(theta, kind, dist, link, X, Z, y, offset) {
  p <- ncol(X); q <- ncol(Z)
  zero <- if (kind == "zeroinfl") theta[1:q] else theta[p + 1:q]
  count <- if (kind == "zeroinfl") theta[q + 1:p] else theta[1:p]
  mu <- exp(drop(X %*% count) + offset)
  log_f <- if (dist == "poisson") function(v) dpois(v, mu, log = TRUE) else
    function(v) dnbinom(v, size = 1 / theta[p + q + 1], mu = mu, log = TRUE)
  at <- drop(Z %*% zero)
  share <- if (link == "logit") plogis else pnorm
  if (kind == "zeroinfl")
    return(sum(ifelse(y == 0, log(share(at) + share(-at) * exp(log_f(0))), log(share(-at)) + log_f(y))))
  sum(ifelse(y == 0, log(share(-at)), log(share(at)) + log_f(y) - log(-expm1(log_f(0)))))
}

polished <- function(start, ...) {
  f <- function(theta) loglik(theta, ...)
  for (i in 1:6) {
    g <- grad(f, start)
    H <- hessian(f, start)
    start <- start - solve(H, g)
  }
  list(params = unname(start), llf = one(f(start)), vcov = solve(-hessian(f, start)))
}

case <- function(formula, kind, dist, link, offset = rep(0, nrow(d))) {
  fit <- if (kind == "zeroinfl")
    zeroinfl(formula, data = d, dist = dist, link = link) else
    hurdle(formula, data = d, dist = dist, zero.dist = "binomial", link = link)
  X <- model.matrix(fit, model = "count"); Z <- model.matrix(fit, model = "zero")
  inner <- c(coef(fit, "count"), coef(fit, "zero"))
  order <- if (kind == "zeroinfl") c(ncol(X) + seq_len(ncol(Z)), seq_len(ncol(X))) else seq_along(inner)
  theta <- if (dist == "negbin") 1 / fit$theta
  start <- c(inner[order], theta)
  out <- list(
    formula = one(deparse1(formula)), kind = one(kind), dist = one(dist), link = one(link),
    offset = one(if (any(offset != 0)) "log(years)" else ""),
    pscl = list(params = unname(start), llf = one(as.numeric(logLik(fit))), vcov = unname(vcov(fit)[order, order]),
                fitted = unname(fitted(fit)[1:20]), prob = unname(predict(fit, type = "prob")[1:5, 1:6]),
                pearson = unname(residuals(fit, "pearson")[1:20])),
    optimum = polished(start, kind = kind, dist = dist, link = link, X = X, Z = Z, y = d$art, offset = offset))
  if (dist == "poisson") {
    out$pscl$HC0 <- unname(sandwich(fit)[order, order])
    out$pscl$clusters <- unname(vcovCL(fit, cluster = d$team, type = "HC0", cadjust = TRUE)[order, order])
  }
  out
}

all_ <- art ~ fem + mar + kid5 + phd + ment | fem + mar + kid5 + phd + ment
own <- art ~ fem + kid5 + ment | ment
moved <- art ~ fem + kid5 + ment + offset(log(years)) | ment
none <- art ~ fem + kid5 + ment | 1
cases <- list(
  zip_all = case(all_, "zeroinfl", "poisson", "logit"),
  zip_own = case(own, "zeroinfl", "poisson", "logit"),
  zip_constant = case(none, "zeroinfl", "poisson", "logit"),
  zip_probit = case(own, "zeroinfl", "poisson", "probit"),
  zip_offset = case(moved, "zeroinfl", "poisson", "logit", log(d$years)),
  zinb_all = case(all_, "zeroinfl", "negbin", "logit"),
  zinb_own = case(own, "zeroinfl", "negbin", "logit"),
  hurdle_all = case(all_, "hurdle", "poisson", "logit"),
  hurdle_own = case(own, "hurdle", "poisson", "logit"),
  hurdle_offset = case(moved, "hurdle", "poisson", "logit", log(d$years)),
  hurdle_probit = case(own, "hurdle", "poisson", "probit"),
  hurdle_nb_all = case(all_, "hurdle", "negbin", "logit"),
  hurdle_nb_own = case(own, "hurdle", "negbin", "logit"))

# ------------------------------------------------------------ negative binomial, theta conditioned on

nb <- glm.nb(art ~ fem + mar + kid5 + phd + ment, data = d, control = glm.control(epsilon = 1e-14, maxit = 100))
glm_nb <- list(params = unname(coef(nb)), alpha = one(1 / nb$theta), vcov = unname(vcov(nb)), llf = one(as.numeric(logLik(nb))),
               HC0 = unname(sandwich(nb)))

# -------------------------------------------------------------------------- overdispersion of Poisson

poisson_fit <- glm(art ~ fem + mar + kid5 + phd + ment, data = d, family = poisson, control = glm.control(epsilon = 1e-14, maxit = 100))
tested <- list(nb1 = one(dispersiontest(poisson_fit)$statistic), nb2 = one(dispersiontest(poisson_fit, trafo = 2)$statistic))

meta <- list(R = one(R.version.string), pscl = one(as.character(packageVersion("pscl"))), MASS = one(as.character(packageVersion("MASS"))),
             AER = one(as.character(packageVersion("AER"))), sandwich = one(as.character(packageVersion("sandwich"))), numDeriv = one(as.character(packageVersion("numDeriv"))))
writeLines(json_of(list(meta = meta, data = as.list(d), cases = cases, glm_nb = glm_nb, dispersiontest = tested)), "tests/golden/counts.json")
