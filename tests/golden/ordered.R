# Golden numbers for ordered categories, limited dependent variables and times, computed by R.
#
# What it makes: tests/golden/ordered.json. `ordered` has ordinal::clm and MASS::polr of the five distributions, `tobit` AER::tobit,
# `aft` survival::survreg, each with its sandwich and clustered covariance by sandwich; the data stand once each.
# Run from the project root:   Rscript tests/golden/ordered.R      (a few seconds, the same bytes each time)
#
# Last made with R 4.2.2 (Debian 12, x86_64), ordinal 2022.11-16, MASS 7.3-58.2, AER 1.2-10, survival 3.5-3, sandwich 3.0-2,
# jsonlite 1.8.4 (the versions are also under "meta" in the JSON).
#
# clm ends by Newton's method at a gradient of 1e-12; polr ends by BFGS at a relative change of 1e-15, some 1e-6 standard errors away, and
# differentiates numerically; it starts from nine tenths of clm's, since it finds no start of its own for some. polr puts the outer cut points at -100 and 100,
# where a Cauchy distribution leaves 0.3 percent: its numbers of "cauchit" are here, and are not to be matched.

suppressPackageStartupMessages({
  library(ordinal)
  library(MASS)
  library(AER)
  library(survival)
  library(sandwich)
  library(jsonlite)
})
options(digits = 17)

plain <- function(m) unname(as.matrix(m))

# ------------------------------------------------------------------- ordered categories

polr_names <- c(logit = "logistic", probit = "probit", cloglog = "cloglog", loglog = "loglog", cauchit = "cauchit")
ordered_record <- function(distr, formula, data, weights = NULL, cluster = NULL) {
  data$.w <- if (is.null(weights)) rep(1, nrow(data)) else weights
  fit <- suppressWarnings(clm(formula, data = data, weights = .w, link = distr,
             control = clm.control(gradTol = 1e-12, relTol = 1e-15, maxIter = 200, method = "Newton")))
  at <- c(fit$beta, fit$alpha)
  order <- c(seq_along(fit$beta) + length(fit$alpha), seq_along(fit$alpha))
  old <- suppressWarnings(polr(formula, data = data, weights = .w, method = polr_names[[distr]], Hess = TRUE, start = 0.9 * at,
                               control = list(reltol = 1e-15, maxit = 1000)))
  probs <- predict(old, newdata = data[1:5, ], type = "probs")
  found <- list(
    distr = unbox(distr), formula = unbox(paste(deparse(formula), collapse = " ")),
    params = unname(at), cov = plain(vcov(fit)[order, order]), loglik = unbox(as.numeric(logLik(fit))),
    polr = list(params = unname(c(coef(old), old$zeta)), se = unname(sqrt(diag(vcov(old)))), deviance = unbox(deviance(old)),
                probs = plain(probs)))
  ahead <- predict(fit, newdata = data[1:5, all.vars(formula)[-1]], se.fit = TRUE, interval = TRUE)
  found$predicted <- lapply(ahead[c("fit", "se.fit", "lwr", "upr")], plain)
  if (is.null(weights) && distr != "loglog") {  # sandwich's scores know the links of glm alone
    found$hc0 <- plain(sandwich(fit)[order, order])
    found$cluster <- plain(vcovCL(fit, cluster = cluster, type = "HC0", cadjust = TRUE)[order, order])
  }
  found
}

wine_fits <- lapply(names(polr_names), ordered_record, rating ~ temp + contact, wine, cluster = wine$judge)
housing_fits <- lapply(names(polr_names), ordered_record, Sat ~ Infl + Type + Cont, housing, weights = housing$Freq)

# ------------------------------------------------------------------------------- tobit

data("Affairs", package = "AER")
affairs <- affairs ~ age + yearsmarried + religiousness + occupation + rating
tight <- survreg.control(rel.tolerance = 1e-15, iter.max = 200, toler.chol = 1e-14)
tobit_record <- function(left, right) {
  # tobit looks for its arguments where the formula was written
  fit <- eval(bquote(tobit(affairs, left = .(left), right = .(right), data = Affairs, control = tight)))
  list(left = if (is.finite(left)) unbox(left) else NULL, right = if (is.finite(right)) unbox(right) else NULL,
       params = unname(c(coef(fit), log(fit$scale))), cov = plain(vcov(fit)), loglik = unbox(as.numeric(logLik(fit))),
       hc0 = plain(sandwich(fit)), cluster = plain(vcovCL(fit, cluster = Affairs$age, type = "HC0", cadjust = TRUE)),
       latent = unname(predict(fit)[1:5]))
}
tobits <- list(tobit_record(0, Inf), tobit_record(-Inf, 4), tobit_record(0, 4))

# -------------------------------------------------------------------------------- times

lungs <- na.omit(lung[c("time", "status", "age", "sex", "ph.ecog", "inst")])
lungs$died <- as.numeric(lungs$status == 2)
aft_record <- function(dist, r_dist) {
  fit <- survreg(Surv(time, died) ~ age + sex + ph.ecog, data = lungs, dist = r_dist, control = tight)
  params <- coef(fit)
  if (dist != "exponential") params <- c(params, log(fit$scale))
  null <- survreg(Surv(time, died) ~ 1, data = lungs, dist = r_dist, control = tight)
  list(dist = unbox(dist), params = unname(params), cov = plain(vcov(fit)), loglik = unbox(fit$loglik[2]),
       null = unbox(null$loglik[2]), hc0 = plain(sandwich(fit)),
       cluster = plain(vcovCL(fit, cluster = lungs$inst, type = "HC0", cadjust = TRUE)),
       response = unname(predict(fit)[1:5]), linear = unname(predict(fit, type = "lp")[1:5]),
       response_se = unname(predict(fit, se.fit = TRUE)$se.fit[1:5]),
       quantile = unname(predict(fit, type = "quantile", p = 0.25)[1:5]))
}
afts <- Map(aft_record, c("weibull", "exponential", "lognormal", "loglogistic"),
            c("weibull", "exponential", "lognormal", "loglogistic"))

# ----------------------------------------------------------------------------- writing

version_of <- function(p) unbox(as.character(packageVersion(p)))
columns <- function(d) lapply(d, function(v) if (is.factor(v)) as.character(v) else as.numeric(v))
meta <- list(made_by = unbox("tests/golden/ordered.R"), R = unbox(R.version.string),
             packages = sapply(c("ordinal", "MASS", "AER", "survival", "sandwich", "jsonlite"), version_of, simplify = FALSE))
data <- list(
  wine = columns(wine[c("rating", "temp", "contact", "judge")]), housing = columns(housing),
  affairs = columns(Affairs[c("affairs", "age", "yearsmarried", "religiousness", "occupation", "rating")]),
  lung = columns(lungs[c("time", "died", "age", "sex", "ph.ecog", "inst")]))
out <- list(meta = meta, data = data, wine = wine_fits, housing = housing_fits, tobit = tobits, aft = unname(afts))
text <- toJSON(out, digits = I(17), null = "null")
text <- gsub('("(?:meta|data|wine|housing|affairs|lung|tobit|aft|distr|dist|left|params|cov|hc0|cluster|polr|response|latent)":)', "\n\\1", text, perl = TRUE)
writeLines(text, "tests/golden/ordered.json")
