# Golden numbers for linear models, computed by R.
#
# What it makes: tests/golden/linear.json, one record for each model below with
# its data, its design matrix and everything R says about the fit.
# Run from the project root:   Rscript tests/golden/linear.R
#
# Last made with R 4.2.2 Patched (Debian 12, x86_64), sandwich 3.0-2, lmtest 0.9-40,
# car 3.1-1, jsonlite 1.8.4 (the versions are also under "meta" in the JSON).
#
# Every data set ships in R's own `datasets` package. Numbers are written with
# the fewest digits (15, 16 or 17) that read back to the same double; jsonlite
# itself stops at 15, so they are formatted here and passed to it verbatim.
# NA, NaN, Inf and pieces that R does not define are written as null; what R
# refused is listed with its message under "refused".

suppressPackageStartupMessages({
  library(sandwich)
  library(lmtest)
  library(car)
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
scalar <- function(x) {
  if (is.null(x)) return(NULL)
  structure(list(unname(as.numeric(x))[1]), class = "golden_scalar")
}

ready <- function(x) {
  if (is.null(x)) return(verbatim("null"))
  if (inherits(x, "golden_scalar")) return(verbatim(number(x[[1]])))
  if (is.matrix(x))
    return(verbatim(paste0("[", paste(apply(x, 1, row_text), collapse = ",\n"), "]")))
  if (is.numeric(x)) return(verbatim(row_text(x)))
  if (is.list(x)) return(lapply(x, ready))
  x
}

# ------------------------------------------------------------- one model's record

word <- function(s) unbox(s)

record <- function(name, data_name, formula, data, weights = NULL, extra = NULL) {
  f <- as.formula(formula)
  environment(f) <- environment()
  data <- as.data.frame(data)
  if (is.null(weights)) {
    fit <- lm(f, data = data)
  } else {
    data$.w <- data[[weights]]
    fit <- lm(f, data = data, weights = .w)
  }
  refused <- list()
  try_ <- function(what, expr) {
    tryCatch(suppressWarnings(expr), error = function(e) {
      refused[[what]] <<- word(conditionMessage(e))
      NULL
    })
  }

  s <- summary(fit)
  b <- coef(fit)
  kept <- names(b)[!is.na(b)]
  slopes <- setdiff(kept, "(Intercept)")
  used <- setdiff(all.vars(formula(terms(fit))), ".w")
  used <- union(used, weights)
  X <- model.matrix(fit)

  columns <- list()
  levels_ <- list()
  for (v in used) {
    if (is.factor(data[[v]])) {
      columns[[v]] <- as.character(data[[v]])
      levels_[[v]] <- levels(data[[v]])
    } else {
      columns[[v]] <- as.numeric(data[[v]])
    }
  }

  hc <- list()
  for (type in c("HC0", "HC1", "HC2", "HC3"))
    hc[[type]] <- try_(paste0("vcovHC_", type), vcovHC(fit, type = type))
  ct <- try_("coeftest_HC3", coeftest(fit, vcov. = hc$HC3))

  # Wald F test, classical or with a covariance of one's own.
  f_test <- function(what, hypothesis, covariance = NULL) {
    t <- try_(what, if (is.null(covariance)) {
      linearHypothesis(fit, hypothesis, test = "F", singular.ok = TRUE)
    } else {
      linearHypothesis(fit, hypothesis, test = "F", vcov. = covariance, singular.ok = TRUE)
    })
    if (is.null(t)) return(NULL)
    list(F = scalar(t[["F"]][2]), df_num = scalar(t[["Df"]][2]),
         df_denom = scalar(t[["Res.Df"]][2]), p_value = scalar(t[["Pr(>F)"]][2]))
  }
  # The hypothesis as a matrix: one row for each slope, over the kept coefficients.
  L <- diag(length(b))[match(slopes, names(b)), , drop = FALSE]
  L <- L[, !is.na(b), drop = FALSE]
  if (anyNA(b)) {
    # With an aliased column the same F in its Wald form, over the kept coefficients.
    wald <- function(what, V) {
      Lb <- L %*% b[kept]
      q <- try_(what, drop(t(Lb) %*% solve(L %*% V[kept, kept] %*% t(L), Lb)) / nrow(L))
      if (is.null(q)) return(NULL)
      list(F = scalar(q), df_num = scalar(nrow(L)), df_denom = scalar(df.residual(fit)),
           p_value = scalar(pf(q, nrow(L), df.residual(fit), lower.tail = FALSE)))
    }
    slopes_test <- list(classical = wald("f_slopes", vcov(fit)), HC1 = wald("f_slopes_HC1", hc$HC1),
                        how = word("Wald form over the kept coefficients"))
  } else {
    slopes_test <- list(classical = f_test("f_slopes", L), HC1 = f_test("f_slopes_HC1", L, hc$HC1),
                        how = word("car::linearHypothesis"))
  }
  slopes_test$hypothesis <- slopes

  new <- data[1:3, , drop = FALSE]
  predicted <- function(interval) {
    p <- try_(paste0("predict_", interval), predict(fit, new, interval = interval, level = 0.95, se.fit = TRUE))
    if (is.null(p)) return(NULL)
    list(fit = p$fit[, "fit"], lwr = p$fit[, "lwr"], upr = p$fit[, "upr"], se_fit = p$se.fit)
  }
  predict_weighted <- NULL
  if (!is.null(weights)) {
    p <- try_("predict_prediction_weighted",
              predict(fit, new, interval = "prediction", level = 0.95, weights = new$.w))
    if (!is.null(p)) predict_weighted <- list(fit = p[, "fit"], lwr = p[, "lwr"], upr = p[, "upr"])
  }

  ll <- try_("logLik", logLik(fit))
  dfb <- try_("dfbetas", dfbetas(fit))
  dfb_raw <- try_("dfbeta", dfbeta(fit))
  V <- vcov(fit)
  ci <- try_("confint", confint(fit, level = 0.95))
  fstat <- s$fstatistic

  out <- list(
    name = word(name), source = word(paste0("datasets::", data_name)),
    formula = word(formula), weights = if (is.null(weights)) NULL else word(weights),
    response = word(all.vars(formula(terms(fit)))[1]),
    intercept = word(attr(terms(fit), "intercept") == 1),
    nobs = scalar(nobs(fit)), rank = scalar(fit$rank),
    data = columns, levels = if (length(levels_)) levels_ else NULL,
    row_names = rownames(data),
    design = list(names = colnames(X), rows = unname(X)),
    coef = list(names = names(b), values = b),
    se = s$coefficients[, 2][match(names(b), rownames(s$coefficients))],
    t_values = s$coefficients[, 3][match(names(b), rownames(s$coefficients))],
    p_values = s$coefficients[, 4][match(names(b), rownames(s$coefficients))],
    vcov = list(names = rownames(V), rows = unname(V)),
    sigma = scalar(s$sigma), df_residual = scalar(df.residual(fit)),
    r_squared = scalar(s$r.squared), adj_r_squared = scalar(s$adj.r.squared),
    fstatistic = if (is.null(fstat)) NULL else list(
      value = scalar(fstat[1]), df_num = scalar(fstat[2]), df_denom = scalar(fstat[3]),
      p_value = scalar(pf(fstat[1], fstat[2], fstat[3], lower.tail = FALSE))),
    deviance = scalar(deviance(fit)),
    logLik = list(value = scalar(ll), df = scalar(attr(ll, "df"))),
    AIC = scalar(try_("AIC", AIC(fit))), BIC = scalar(try_("BIC", BIC(fit))),
    residuals = unname(residuals(fit)), fitted = unname(fitted(fit)),
    weighted_residuals = if (is.null(weights)) NULL else unname(weighted.residuals(fit)),
    hatvalues = try_("hatvalues", unname(hatvalues(fit))),
    rstandard = try_("rstandard", unname(rstandard(fit))),
    rstudent = try_("rstudent", unname(rstudent(fit))),
    cooks_distance = try_("cooks_distance", unname(cooks.distance(fit))),
    dffits = try_("dffits", unname(dffits(fit))),
    dfbetas = if (is.null(dfb)) NULL else list(names = colnames(dfb), rows = unname(dfb)),
    dfbeta = if (is.null(dfb_raw)) NULL else list(names = colnames(dfb_raw), rows = unname(dfb_raw)),
    confint = if (is.null(ci)) NULL else list(level = scalar(0.95), names = rownames(ci), rows = unname(ci)),
    vcovHC = c(list(names = rownames(hc$HC0)), lapply(hc, unname)),
    coeftest_HC3 = if (is.null(ct)) NULL else list(
      names = rownames(ct), estimate = unname(ct[, 1]), se = unname(ct[, 2]),
      t = unname(ct[, 3]), p = unname(ct[, 4])),
    f_slopes = slopes_test,
    predict = list(rows = 1:3, level = scalar(0.95), confidence = predicted("confidence"),
                   prediction = predicted("prediction"), prediction_weighted = predict_weighted))
  if (!is.null(extra)) out <- c(out, extra(fit, hc, f_test))
  out$refused <- refused
  if (!length(refused)) out["refused"] <- list(NULL)
  ready(out)
}

mtcars_extra <- function(fit, hc, f_test) {
  delta <- function(...) {
    d <- deltaMethod(fit, "wt/hp", ...)
    list(estimate = scalar(d[["Estimate"]]), se = scalar(d[["SE"]]),
         lwr = scalar(d[["2.5 %"]]), upr = scalar(d[["97.5 %"]]))
  }
  list(linear_hypothesis = list(
         hypothesis = word("wt = 2*hp"),
         classical = f_test("hypothesis", "wt = 2*hp"),
         HC1 = f_test("hypothesis_HC1", "wt = 2*hp", hc$HC1)),
       delta_method = list(
         expression = word("wt/hp"), interval = word("normal, level 0.95"),
         classical = delta(), HC3 = delta(vcov. = hc$HC3)))
}

# -------------------------------------------------------------------- the models

mt2 <- transform(mtcars, wt2 = wt * 2)
models <- list(
  record("mtcars", "mtcars", "mpg ~ wt + hp + qsec + am", mtcars, extra = mtcars_extra),
  record("longley", "longley", "Employed ~ .", longley),
  record("swiss", "swiss", "Fertility ~ .", swiss),
  record("swiss_weighted", "swiss", "Fertility ~ Agriculture + Examination + Education + Catholic + Infant.Mortality",
         swiss, weights = "Education"),
  record("stackloss", "stackloss", "stack.loss ~ .", stackloss),
  record("cars_weighted", "cars", "dist ~ speed", cars, weights = "speed"),
  record("cars_no_intercept", "cars", "dist ~ 0 + speed", cars),
  record("mtcars_aliased", "mtcars", "mpg ~ wt + wt2 + hp + qsec + am", mt2),
  record("warpbreaks", "warpbreaks", "breaks ~ wool + tension", warpbreaks))

version_of <- function(p) word(as.character(packageVersion(p)))
meta <- list(
  made_by = word("tests/golden/linear.R"),
  R = word(R.version.string), platform = word(R.version$platform),
  packages = sapply(c("sandwich", "lmtest", "car", "jsonlite"), version_of, simplify = FALSE))

path <- file.path("tests", "golden", "linear.json")
text <- toJSON(list(meta = meta, models = models), json_verbatim = TRUE, pretty = FALSE, null = "null")
# One model field on a line, so that a change shows up in a diff.
text <- gsub('("(?:meta|models|name|source|formula|data|design|coef|se|t_values|p_values|vcov|sigma|logLik|residuals|fitted|weighted_residuals|hatvalues|rstandard|rstudent|cooks_distance|dffits|dfbetas|dfbeta|confint|vcovHC|coeftest_HC3|f_slopes|predict|linear_hypothesis|delta_method|refused)":)',
             "\n\\1", text, perl = TRUE)
writeLines(text, path)
stopifnot(validate(paste(readLines(path), collapse = "\n")))

# Read it back: every number must be the same double.
back <- fromJSON(path, simplifyVector = FALSE)
m <- lm(mpg ~ wt + hp + qsec + am, mtcars)
stopifnot(identical(unlist(back$models[[1]]$coef$values), unname(coef(m))),
          identical(unlist(back$models[[1]]$residuals), unname(residuals(m))))
for (r in back$models)
  cat(sprintf("%-18s n %3d rank %d refused: %s\n", r$name, r$nobs, r$rank,
              if (length(r$refused)) paste(names(r$refused), unlist(r$refused), sep = ": ", collapse = "; ") else "nothing"))
