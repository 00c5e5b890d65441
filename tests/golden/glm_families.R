# Golden numbers of generalized linear models beyond Logit, Probit and Poisson: families, links, scales, counts of successes and failures,
# every heteroskedasticity-consistent covariance of sandwich with glm's expected information, and clusters, computed by R.
#
# What it makes: tests/golden/glm_families.json. Run from the project root:   Rscript tests/golden/glm_families.R
#
# The data ship in R's `datasets` and in `MASS`. Numbers are written with the fewest digits that read back to the same double.

suppressPackageStartupMessages({
  library(sandwich)
  library(MASS)
  library(statmod)
  library(clubSandwich)
  library(jsonlite)
})

number <- function(x) vapply(x, function(v) {
  if (!is.finite(v)) return("null")
  for (digits in 15:17) {
    s <- sprintf("%.*g", digits, v)
    if (as.numeric(s) == v) return(s)
  }
  s
}, "")
verbatim <- function(text) structure(text, class = "json")
row_text <- function(x) paste0("[", paste(number(x), collapse = ","), "]")
scalar <- function(x) verbatim(number(unname(as.numeric(x))[1]))
vector_ <- function(x) verbatim(row_text(unname(as.numeric(x))))
matrix_ <- function(m) verbatim(paste0("[", paste(apply(m, 1, row_text), collapse = ","), "]"))

# glm() stops when the deviance stands still: it is started again at its own answer until that does not move.
at_optimum <- function(formula, family, data, weights, start) {
  data$.weights <- weights
  call_ <- function(start) suppressWarnings(
    glm(formula, family, data, weights = .weights, start = start, control = glm.control(epsilon = 1e-15, maxit = 200)))
  fit <- call_(start)
  for (again in 1:50) {
    before <- coef(fit)
    fit <- call_(before)
    moved <- max(abs(coef(fit) - before) / sqrt(diag(vcov(fit))))
    if (moved < 1e-14) break
  }
  if (moved > 1e-11) stop("glm does not come to rest: ", format(moved))
  fit
}

record <- function(name, source, formula, family, data, cluster, weights = rep(1, nrow(data)), start = NULL, ...) {
  formula <- as.formula(formula)
  fit <- at_optimum(formula, family, data, weights, start)
  response <- model.response(model.frame(fit))
  kinds <- c("HC0", "HC1", "HC2", "HC3", "HC4", "HC4m", "HC5")
  residuals_ <- sapply(c("response", "pearson", "deviance", "working"), function(type) vector_(residuals(fit, type)), simplify = FALSE)
  c(list(name = unbox(name), source = unbox(source), formula = unbox(deparse(formula)), family = unbox(fit$family$family), link = unbox(fit$family$link),
         ..., endog = if (is.matrix(response)) matrix_(response) else vector_(response),
         exog = matrix_(model.matrix(fit)), weights = vector_(weights), cluster = vector_(cluster),
         coef = vector_(coef(fit)), vcov = matrix_(vcov(fit)), dispersion = scalar(summary(fit)$dispersion),
         deviance = scalar(deviance(fit)), null_deviance = scalar(fit$null.deviance), hatvalues = vector_(hatvalues(fit)),
         vcovHC = sapply(kinds, function(kind) matrix_(vcovHC(fit, type = kind)), simplify = FALSE),
         vcovCL = matrix_(vcovCL(fit, cluster = cluster, type = "HC0")),
         CR0 = matrix_(vcovCL(fit, cluster = cluster, type = "HC0", cadjust = FALSE)),
         CR2 = matrix_(as.matrix(vcovCR(fit, cluster, type = "CR2"))),
         residuals = residuals_))
}

beetles <- data.frame(dose = c(1.6907, 1.7242, 1.7552, 1.7842, 1.8113, 1.8369, 1.8610, 1.8839),
                      killed = c(6, 13, 18, 28, 52, 53, 61, 60), alive = c(53, 47, 44, 28, 11, 6, 1, 0))
esoph$group <- as.integer(factor(paste(datasets::esoph$agegp)))
esoph$drink <- as.integer(esoph$alcgp); esoph$age <- as.integer(esoph$agegp); esoph$smoke <- as.integer(esoph$tobgp)
cars_ <- datasets::mtcars
trees_ <- datasets::trees
firm <- function(n, g) rep(seq_len(g), length.out = n)
cases <- "cbind(ncases, ncontrols) ~ age + drink + smoke"
quine_ <- MASS::quine

models <- list(
  record("gamma_inverse", "datasets::mtcars", "mpg ~ wt + hp", Gamma("inverse"), cars_, firm(32, 9)),
  record("gamma_log", "datasets::mtcars", "hp ~ wt + qsec", Gamma("log"), cars_, firm(32, 9)),
  record("gamma_identity", "datasets::trees", "Volume ~ Girth", Gamma("identity"), trees_, firm(31, 8)),
  record("gamma_log_weighted", "datasets::mtcars", "hp ~ wt + qsec", Gamma("log"), cars_, firm(32, 9), weights = 1 + cars_$carb / 3),
  record("inverse_gaussian", "datasets::mtcars", "mpg ~ wt + hp", inverse.gaussian("1/mu^2"), cars_, firm(32, 9)),
  record("inverse_gaussian_log", "datasets::mtcars", "hp ~ wt + qsec", inverse.gaussian("log"), cars_, firm(32, 9)),
  record("inverse_gaussian_inverse", "datasets::mtcars", "mpg ~ wt + hp", inverse.gaussian("inverse"), cars_, firm(32, 9)),
  record("gaussian_log", "datasets::trees", "Volume ~ Girth + Height", gaussian("log"), trees_, firm(31, 8)),
  record("gaussian_inverse", "datasets::mtcars", "mpg ~ wt + hp", gaussian("inverse"), cars_, firm(32, 9)),
  record("gaussian", "datasets::mtcars", "mpg ~ wt + hp", gaussian(), cars_, firm(32, 9)),
  record("poisson_sqrt", "datasets::warpbreaks", "breaks ~ wool + tension", poisson("sqrt"), datasets::warpbreaks, firm(54, 9)),
  record("poisson_identity", "datasets::warpbreaks", "breaks ~ wool + tension", poisson("identity"), datasets::warpbreaks, firm(54, 9)),
  record("quasipoisson", "MASS::quine", "Days ~ Eth + Sex + Age + Lrn", quasipoisson("log"), quine_, firm(146, 20), scale = unbox("X2")),
  record("negative_binomial", "MASS::quine", "Days ~ Eth + Sex + Age + Lrn", negative.binomial(1.5), quine_, firm(146, 20), alpha = scalar(1 / 1.5), scale = unbox("X2")),
  record("tweedie", "MASS::quine", "Days ~ Eth + Sex + Age + Lrn", tweedie(1.5, 0), quine_, firm(146, 20), power = unbox(1.5)),
  record("binomial_cloglog", "datasets::esoph", cases, binomial("cloglog"), esoph, esoph$group),
  record("binomial_cauchit", "datasets::esoph", cases, binomial("cauchit"), esoph, esoph$group),
  record("binomial_log", "MASS::birthwt", "low ~ smoke + ht + ui", binomial("log"), MASS::birthwt, firm(189, 25), start = c(-2, 0, 0, 0)),
  record("binomial_probit", "datasets::esoph", cases, binomial("probit"), esoph, esoph$group),
  record("quasibinomial", "datasets::esoph", cases, quasibinomial("logit"), esoph, esoph$group, scale = unbox("X2")),
  record("beetles_cloglog", "Bliss (1935)", "cbind(killed, alive) ~ dose", binomial("cloglog"), beetles, firm(8, 4)),
  record("cloglog_of_ones", "MASS::birthwt", "low ~ age + lwt + smoke", binomial("cloglog"), MASS::birthwt, firm(189, 25)),
  record("fractional_probit", "datasets::swiss", "I(Education / 100) ~ Agriculture + Catholic", quasibinomial("probit"), datasets::swiss, firm(47, 10), scale = unbox("X2")))

version_of <- function(p) unbox(as.character(packageVersion(p)))
meta <- list(made_by = unbox("tests/golden/glm_families.R"), R = unbox(R.version.string),
             packages = sapply(c("sandwich", "MASS", "statmod", "clubSandwich", "jsonlite"), version_of, simplify = FALSE))
path <- file.path("tests", "golden", "glm_families.json")
text <- toJSON(list(meta = meta, models = models), json_verbatim = TRUE, pretty = FALSE, null = "null")
writeLines(gsub('("(?:name|endog|exog|coef|vcov|vcovHC|residuals)":)', "\n\\1", text, perl = TRUE), path)
for (r in fromJSON(path, simplifyVector = FALSE)$models) cat(r$name, length(r$coef), "\n")
