# Robust regressions of MASS::rlm, run to convergence, and sandwiches whose bread has psi' with its sign, written out here.
#
#     Rscript tests/golden/rlm.R > tests/golden/rlm.json     (R 4.2, MASS, jsonlite)
#
# MASS's MAD is divided by 0.6745; sandwich::sandwich of an rlm takes |psi'| where psi falls, so it is not used.

suppressPackageStartupMessages({ library(MASS); library(jsonlite) })

set.seed(15)
n <- 120
x <- cbind(const = 1, x1 = rnorm(n), x2 = rexp(n))
y <- as.vector(x %*% c(1, 2, -1)) + rt(n, 2) * (1 + 0.5 * abs(x[, 2]))
firm <- rep(1:20, each = 6)
data <- list(generated = list(y = y, x = x, firm = firm),
             stackloss = list(y = stackloss$stack.loss, x = cbind(const = 1, as.matrix(stackloss[, 1:3])), firm = rep(1:7, each = 3)))

fitted_of <- function(y, x, firm, psi, scale.est) {
  arguments <- list(x = x, y = y, psi = psi, scale.est = scale.est, method = "M", acc = 1e-14, maxit = 5000)
  fit <- do.call(rlm, arguments)
  s <- fit$s
  e <- as.vector(y - x %*% fit$coefficients)
  z <- e / s
  p <- z * psi(z)               # psi
  d <- psi(z, deriv = 1)        # psi', of either sign
  k <- ncol(x); n <- nrow(x)
  A <- t(x) %*% (d * x)
  scores <- s * p * x
  bread <- solve(A)
  h <- d * rowSums((x %*% bread) * x)
  meat <- function(u) bread %*% crossprod(u) %*% bread
  G <- length(unique(firm))
  sums <- rowsum(scores, firm)
  m <- mean(d); v <- sum((s * p)^2) / (n - k); K <- 1 + k / n * mean((d - m)^2) / m^2
  list(coef = unname(fit$coefficients), scale = s, weights = unname(fit$w),
       H1 = unname(K^2 * v / m^2 * solve(crossprod(x))), H2 = unname(K * v / m * bread),
       H3 = unname(v / K * bread %*% crossprod(x) %*% bread),
       summary = unname(summary(fit, method = "XtX")$coefficients[, 2]), 
       summary_K = (1 + k / n * var(d) / m^2) / K,
       HC0 = unname(meat(scores)), HC1 = unname(meat(scores) * n / (n - k)), HC2 = unname(meat(scores / sqrt(1 - h))),
       HC3 = unname(meat(scores / (1 - h))), CR0 = unname(bread %*% crossprod(sums) %*% bread),
       falling = sum(d < 0))
}

psis <- list(HuberT = psi.huber, TukeyBiweight = psi.bisquare, Hampel = psi.hampel)
out <- lapply(data, function(d) list(y = d$y, x = unname(d$x), firm = d$firm, fits = lapply(psis, function(psi)
  list(MAD = fitted_of(d$y, d$x, d$firm, psi, "MAD"), proposal2 = fitted_of(d$y, d$x, d$firm, psi, "proposal 2")))))
cat(toJSON(out, digits = 17, auto_unbox = TRUE, matrix = "rowmajor"), "\n")
