# Golden numbers for generalized linear models, multinomial logit and nonlinear least squares, computed by R.
#
# What it makes: tests/golden/glm.json, one record for each model below with its
# data, its design matrix and what R says about the fit.
# Run from the project root:   Rscript tests/golden/glm.R
#
# Last made with R 4.2.2 Patched (Debian 12, x86_64), sandwich 3.0-2, lmtest 0.9-40,
# nnet 7.3-18, MASS 7.3-58.2, jsonlite 1.8.4 (the versions are also under "meta" in the JSON).
#
# Every data set ships in R's own `datasets` or in the recommended package `MASS`.
# Numbers are written with the fewest digits (15, 16 or 17) that read back to the
# same double; jsonlite itself stops at 15, so they are formatted here and passed
# to it verbatim.

suppressPackageStartupMessages({
  library(sandwich)
  library(lmtest)
  library(nnet)
  library(MASS)
  library(jsonlite)
})

# ---------------------------------------------------------------- writing JSON

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

# A bare number stays a JSON number only when marked with scalar(); every other
# numeric vector becomes an array, every matrix an array of rows.
scalar <- function(x) structure(list(unname(as.numeric(x))[1]), class = "golden_scalar")
word <- function(s) unbox(s)

ready <- function(x) {
  if (is.null(x)) return(verbatim("null"))
  if (inherits(x, "golden_scalar")) return(verbatim(number(x[[1]])))
  if (is.matrix(x))
    return(verbatim(paste0("[", paste(apply(x, 1, row_text), collapse = ",\n"), "]")))
  if (is.numeric(x)) return(verbatim(row_text(x)))
  if (is.list(x)) return(lapply(x, ready))
  x
}

named_matrix <- function(m) list(names = colnames(m), rows = unname(m))
named_vector <- function(v) list(names = names(v), values = unname(v))

columns_of <- function(data, variables) {
  columns <- lapply(data[variables], function(v) if (is.factor(v)) as.character(v) else as.numeric(v))
  levels_ <- lapply(Filter(is.factor, data[variables]), levels)
  list(data = columns, levels = if (length(levels_)) levels_ else NULL)
}

# ------------------------------------------------------------------ at the optimum

# glm() keeps the working weights of the step before its last: it stops when the
# deviance stands still, which is when the coefficients are good to half the digits.
# So it is started again at its own answer until that does not move.
glm_at_optimum <- function(formula, family, data) {
  call_ <- function(start) suppressWarnings(  # "non-integer #successes", for binomial weights
    glm(formula, family, data, weights = .weights, offset = .offset, start = start,
        control = glm.control(epsilon = 1e-15, maxit = 100)))
  fit <- call_(NULL)
  for (again in 1:20) {
    before <- coef(fit)
    fit <- call_(before)
    moved <- max(abs(coef(fit) - before) / sqrt(diag(vcov(fit))))
    if (moved < 1e-14) return(fit)
  }
  if (moved > 1e-12) stop("glm does not come to rest: ", format(moved))
  fit
}

# nnet's BFGS sees only the deviance, so it is good to half the digits: Newton's
# steps, with R's own Hessian, do the rest, and multinom() starts and stops there.
multinom_at_optimum <- function(formula, data) {
  call_ <- function(...) multinom(formula, data, trace = FALSE, reltol = 1e-14, abstol = 1e-14, ...)
  fit <- call_(maxit = 10000)
  X <- model.matrix(fit)
  Y <- class.ind(model.response(model.frame(formula, data)))
  for (again in 1:10) {
    score <- as.vector(crossprod(X, (Y - fitted(fit))[, -1]))
    step <- solve(nnet:::multinomHess(fit), score)
    # A unit's weights are its bias, one for each input; the first unit is the reference.
    b <- t(coef(fit)) + matrix(step, ncol(X))
    fit <- call_(Wts = as.vector(cbind(0, rbind(0, b))), maxit = 0)
    moved <- max(abs(step) / sqrt(diag(vcov(fit))))
    if (moved < 1e-14) return(fit)
  }
  if (moved > 1e-12) stop("multinom does not come to rest: ", format(moved))
  fit
}

# nls() halves a step that rounding makes look uphill and stops there, so the last Gauss-Newton steps are
# taken here. The self-starting models of `stats` bring their analytic gradient; without it nls differences.
nls_at_optimum <- function(formula, data) {
  fit <- nls(formula, data)
  for (again in 1:20) {
    step <- qr.coef(qr(fit$m$gradient()), fit$m$resid())
    fit <- suppressWarnings(nls(formula, data, start = as.list(coef(fit) + step),
                                control = nls.control(tol = 1e-14, maxiter = 0, warnOnly = TRUE)))
    moved <- max(abs(step) / sqrt(diag(vcov(fit))))
    if (moved < 1e-14) return(fit)
  }
  if (moved > 1e-12) stop("nls does not come to rest: ", format(moved))
  fit
}

# ------------------------------------------------------------- one model's record

record_glm <- function(name, source, formula, family, data, weights = NULL, offset = NULL) {
  data <- as.data.frame(data)
  f <- as.formula(formula)
  used <- all.vars(f)
  data$.weights <- if (is.null(weights)) rep(1, nrow(data)) else eval(str2lang(weights), data)
  data$.offset <- if (is.null(offset)) rep(0, nrow(data)) else eval(str2lang(offset), data)
  stopifnot(all(data$.weights > 0))
  fit <- glm_at_optimum(f, family, data)
  stopifnot(fit$converged)
  s <- summary(fit)
  X <- model.matrix(fit)
  k <- ncol(X)
  n <- nobs(fit)

  hc <- sapply(c("HC0", "HC1", "HC2", "HC3"), function(type) vcovHC(fit, type = type), simplify = FALSE)
  # With or without weights R's vcovHC is A^-1 [sum of s s' / (1 - h)^p] A^-1 of its own scores and leverages.
  scores <- estfun(fit)
  plain <- function(p) vcov(fit) %*% crossprod(scores / (1 - hatvalues(fit))^(p / 2)) %*% vcov(fit)
  for (p in 0:2) stopifnot(all.equal(hc[[c("HC0", "HC2", "HC3")[p + 1]]], plain(p), tolerance = 1e-12))
  stopifnot(all.equal(hc$HC1, n / (n - k) * hc$HC0, tolerance = 1e-12))
  ct <- coeftest(fit, vcov. = hc$HC3)

  chosen <- round(seq(1, n, length.out = 5))
  new <- data[chosen, ]
  at <- function(type) predict(fit, new, type = type, se.fit = TRUE)
  # Of a weighted binomial R rounds the weights in logLik() and AIC(): the deviance does not.
  rounded <- family$family == "binomial" && any(data$.weights != round(data$.weights))

  ready(c(
    list(name = word(name), source = word(source), family = word(family$family), link = word(family$link),
         formula = word(formula), response = word(all.vars(f)[1]),
         weights_are = if (is.null(weights)) NULL else word(weights),
         offset_is = if (is.null(offset)) NULL else word(offset)),
    columns_of(data, used),
    list(response_values = unname(fit$y),
         weights = if (is.null(weights)) NULL else data$.weights,
         offset = if (is.null(offset)) NULL else data$.offset,
         design = named_matrix(X),
         nobs = scalar(n), df_residual = scalar(df.residual(fit)), iterations = scalar(fit$iter),
         coef = named_vector(coef(fit)),
         se = unname(s$coefficients[, 2]), z_values = unname(s$coefficients[, 3]),
         p_values = unname(s$coefficients[, 4]),
         confint = named_matrix(confint.default(fit)),
         vcov = named_matrix(vcov(fit)),
         logLik = list(value = scalar(logLik(fit)), df = scalar(attr(logLik(fit), "df")), rounds_weights = word(rounded)),
         AIC = scalar(AIC(fit)), BIC = scalar(BIC(fit)),
         deviance = scalar(deviance(fit)), null_deviance = scalar(fit$null.deviance),
         hatvalues = unname(hatvalues(fit)),
         vcovHC = c(list(names = rownames(hc$HC0)), lapply(hc, unname)),
         vcovOPG = named_matrix(vcovOPG(fit)),
         estfun = list(names = colnames(scores), rows = unname(scores[1:5, ])),
         coeftest_HC3 = list(estimate = unname(ct[, 1]), se = unname(ct[, 2]), z = unname(ct[, 3]), p = unname(ct[, 4])),
         predict = list(rows = chosen, response = unname(at("response")$fit), response_se = unname(at("response")$se.fit),
                        link = unname(at("link")$fit), link_se = unname(at("link")$se.fit)))))
}

record_multinom <- function(name, source, formula, data) {
  f <- as.formula(formula)
  fit <- multinom_at_optimum(f, data)
  X <- model.matrix(fit)
  response <- model.response(model.frame(f, data))
  chosen <- round(seq(1, nrow(X), length.out = 5))
  ready(c(
    list(name = word(name), source = word(source), formula = word(formula), response = word(all.vars(f)[1])),
    columns_of(data, all.vars(f)),
    list(codes = as.numeric(response) - 1, categories = levels(response), design = named_matrix(X),
         nobs = scalar(nrow(X)),
         coef = list(equations = rownames(coef(fit)), names = colnames(coef(fit)), rows = unname(coef(fit))),
         vcov = named_matrix(vcov(fit)),
         logLik = list(value = scalar(logLik(fit)), df = scalar(attr(logLik(fit), "df"))), AIC = scalar(AIC(fit)),
         predict = list(rows = chosen, probabilities = unname(fitted(fit)[chosen, ])))))
}

record_nls <- function(name, source, formula, curve, data) {
  f <- as.formula(formula)
  data <- as.data.frame(data)
  fit <- nls_at_optimum(f, data)
  s <- summary(fit)
  variables <- setdiff(all.vars(f), names(coef(fit)))
  ready(c(
    list(name = word(name), source = word(source), formula = word(formula), curve = word(curve),
         response = word(variables[1])),
    columns_of(data, variables),
    list(nobs = scalar(nobs(fit)), df_residual = scalar(df.residual(fit)),
         coef = named_vector(coef(fit)), se = unname(s$coefficients[, 2]), t_values = unname(s$coefficients[, 3]),
         p_values = unname(s$coefficients[, 4]), vcov = named_matrix(vcov(fit)), sigma = scalar(sigma(fit)),
         deviance = scalar(deviance(fit)),
         logLik = list(value = scalar(logLik(fit)), df = scalar(attr(logLik(fit), "df"))), AIC = scalar(AIC(fit)),
         sandwich = named_matrix(sandwich(fit)),
         fitted = as.vector(fitted(fit)))))
}

# -------------------------------------------------------------------- the models

birthwt$race <- factor(birthwt$race, labels = c("white", "black", "other"))
low <- "low ~ age + lwt + race + smoke + ptl + ht + ui"
Pima.tr$diabetes <- as.numeric(Pima.tr$type == "Yes")
claims <- "Claims ~ District + Group + Age"
days <- "Days ~ Eth + Sex + Age + Lrn"

glms <- list(
  record_glm("logit_birthwt", "MASS::birthwt", low, binomial("logit"), birthwt),
  record_glm("logit_mtcars", "datasets::mtcars", "am ~ wt", binomial("logit"), mtcars),
  record_glm("logit_infert", "datasets::infert", "case ~ age + parity + education + spontaneous + induced",
             binomial("logit"), infert),
  record_glm("probit_pima", "MASS::Pima.tr", "diabetes ~ npreg + glu + bmi + ped + age", binomial("probit"), Pima.tr),
  record_glm("probit_mtcars", "datasets::mtcars", "vs ~ mpg", binomial("probit"), mtcars),
  record_glm("poisson_warpbreaks", "datasets::warpbreaks", "breaks ~ wool * tension", poisson("log"), warpbreaks),
  record_glm("poisson_sprays", "datasets::InsectSprays", "count ~ spray", poisson("log"), InsectSprays),
  record_glm("poisson_quine", "MASS::quine", days, poisson("log"), quine),
  record_glm("poisson_insurance", "MASS::Insurance", claims, poisson("log"), Insurance, offset = "log(Holders)"),
  record_glm("logit_weighted", "MASS::birthwt", low, binomial("logit"), birthwt, weights = "lwt / 130"),
  record_glm("probit_weighted", "MASS::Pima.tr", "diabetes ~ npreg + glu + bmi + ped", binomial("probit"), Pima.tr,
             weights = "sqrt(skin) / 5"),
  record_glm("poisson_weighted", "MASS::quine", days, poisson("log"), quine,
             weights = "1 / sqrt(1 + seq_along(Days))"),
  record_glm("poisson_weighted_offset", "MASS::Insurance", claims, poisson("log"), Insurance,
             weights = "1 / log(Holders + 2)", offset = "log(Holders)"))

multinoms <- list(
  record_multinom("multinom_iris", "datasets::iris", "Species ~ Sepal.Width", iris),
  record_multinom("multinom_infert", "datasets::infert", "education ~ age + parity + induced", infert))

DNase1 <- subset(DNase, Run == 1)
nlss <- list(
  record_nls("nls_puromycin", "datasets::Puromycin, state == 'treated'", "rate ~ SSmicmen(conc, Vm, K)",
             "Vm * conc / (K + conc)", subset(Puromycin, state == "treated")),
  record_nls("nls_dnase", "datasets::DNase, Run == 1", "density ~ SSlogis(log(conc), Asym, xmid, scal)",
             "Asym / (1 + exp((xmid - log(conc)) / scal))", DNase1))

version_of <- function(p) word(as.character(packageVersion(p)))
meta <- list(
  made_by = word("tests/golden/glm.R"),
  R = word(R.version.string), platform = word(R.version$platform),
  packages = sapply(c("sandwich", "lmtest", "nnet", "MASS", "jsonlite"), version_of, simplify = FALSE))

path <- file.path("tests", "golden", "glm.json")
text <- toJSON(list(meta = meta, glm = glms, multinom = multinoms, nls = nlss),
               json_verbatim = TRUE, pretty = FALSE, null = "null")
# One model field on a line, so that a change shows up in a diff.
text <- gsub('("(?:meta|glm|multinom|nls|name|source|family|formula|curve|data|levels|response_values|codes|weights|offset|design|nobs|coef|se|z_values|t_values|p_values|confint|vcov|sigma|logLik|AIC|deviance|hatvalues|vcovHC|vcovOPG|sandwich|estfun|coeftest_HC3|predict|fitted)":)',
             "\n\\1", text, perl = TRUE)
writeLines(text, path)
stopifnot(validate(paste(readLines(path), collapse = "\n")))

# Read it back: every number must be the same double.
back <- fromJSON(path, simplifyVector = FALSE)
stopifnot(identical(unlist(back$glm[[2]]$data$wt), mtcars$wt),
          identical(unlist(back$glm[[10]]$weights), birthwt$lwt / 130),
          identical(unlist(back$nls[[2]]$data$density), DNase1$density))
for (r in c(back$glm, back$multinom, back$nls))
  cat(sprintf("%-24s n %3d  logLik %s\n", r$name, as.integer(r$nobs), format(r$logLik$value, digits = 12)))
