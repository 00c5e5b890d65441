# Golden numbers for covariance estimators, computed by R: heteroskedasticity, clusters, bias-reduced
# clusters with their tests, time series, panels and the jackknife.
#
# What it makes: tests/golden/covariances.json, one record for each model below with its design matrix,
# and its data sets once each. README.md beside this file says how to read it.
# Run from the project root:   Rscript tests/golden/covariances.R
#
# Last made with R 4.2.2 Patched (Debian 12, x86_64), sandwich 3.0-2, clubSandwich 0.5.8, plm 2.6-2,
# MASS 7.3-58.2, jsonlite 1.8.4 (the versions are also under "meta" in the JSON).
#
# What clubSandwich does, read from its source:
#  - It works with rows X, weights W and residuals e and forms bread * sum over clusters of
#    (X_g' W_g A_g e_g)(...)' * bread. lm: X the design matrix, W the weights (divided by their mean, which
#    cancels), e = y - fitted. glm: X = dmu/deta times the design row, W = prior weight / V(mu), e = y - mu,
#    and the bread is sandwich's, that is the inverse of the expected information X'WX.
#  - The working target Phi of CR2: the identity for lm, unless inverse_var = TRUE makes it 1/W. For glm it
#    is V(mu) / prior weight, which is 1/W too (inverse_var = TRUE is the default there).
#  - linear_contrast (0.5.8) stops with an error where inverse_var is FALSE, so contrasts of such models are
#    here only as a Wald_test of one row: HTZ with q = 1 is the Satterthwaite test.
# What is left out, because the packages are wrong there: sandwich's clustered HC2 and HC3 with weights or for
# a glm. sandwich 3.0-2 has no vcovBS(type = "jackknife"): the jackknife is a loop of refits below.

suppressPackageStartupMessages({
  library(sandwich)
  library(clubSandwich)
  library(plm)
  library(MASS)
  library(jsonlite)
})

# ---------------------------------------------------------------- writing JSON

# The fewest digits, 15 to 17, that read back to the same double. jsonlite does the reading: R's own as.numeric
# is off by a last bit now and then.
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
array_of <- function(x) paste0("[", paste(digits_of(unname(x)), collapse = ","), "]")
quoted <- function(s) vapply(s, function(v) as.character(toJSON(unbox(v))), "", USE.NAMES = FALSE)

# one(): a scalar. A bare numeric or character vector becomes an array, a matrix an array of rows, a list an
# object when it has names and an array otherwise.
one <- function(x) structure(list(x), class = "golden_one")

json_of <- function(x) {
  if (is.null(x)) return("null")
  if (inherits(x, "golden_one")) {
    v <- x[[1]]
    if (is.null(v) || is.na(v)) return("null")
    return(if (is.logical(v)) tolower(as.character(v)) else if (is.character(v)) quoted(v) else digits_of(v))
  }
  if (is.matrix(x)) {
    cells <- matrix(digits_of(as.vector(x)), nrow(x))
    return(paste0("[", paste0("[", apply(cells, 1, paste, collapse = ","), "]", collapse = ","), "]"))
  }
  if (is.character(x)) return(paste0("[", paste(quoted(x), collapse = ","), "]"))
  if (is.numeric(x)) return(array_of(x))
  stopifnot(is.list(x))
  inside <- vapply(x, json_of, "")
  if (is.null(names(x))) return(paste0("[\n", paste(inside, collapse = ",\n"), "]"))
  paste0("{", paste(quoted(names(x)), inside, sep = ":", collapse = ","), "}")
}

# --------------------------------------------------------------------- the data

unfactor <- function(v) if (is.factor(v)) as.character(v) else as.numeric(v)

datasets <- list()
keep_data <- function(name, source, data, columns, note = NULL) {
  data <- droplevels(as.data.frame(data))
  datasets[[name]] <<- list(source = one(source), note = one(note), n = one(nrow(data)),
                            columns = lapply(data[columns], unfactor))
  data
}

data("PetersenCL", package = "sandwich")
data("Investment", package = "sandwich")
data("Produc", package = "plm")

petersen <- keep_data("petersen", "sandwich::PetersenCL, firms 1 to 100", subset(PetersenCL, firm <= 100),
                      c("firm", "year", "x", "y"), "a balanced panel, 100 firms by 10 years, sorted by firm and year")

variables <- c("state", "region", "year", "band", "pcap", "pc", "gsp", "emp", "unemp")
Produc$band <- round(Produc$unemp)
balanced <- keep_data("produc", "plm::Produc, its first 20 states", subset(Produc, as.integer(state) <= 20),
                      variables, "balanced: 20 states, 1970 to 1986, sorted by state and year; band = round(unemp)")

s <- as.integer(Produc$state)
gone <- ((7 * s + 3 * Produc$year) %% 11 == 0 & !(Produc$year %in% c(1972, 1976, 1979, 1983))) |
  (s %% 9 == 4 & Produc$year >= 1984) | (s %% 10 == 7 & Produc$year <= 1971)
unbalanced <- keep_data("produc_unbalanced", "plm::Produc with 81 rows taken out", Produc[!gone, ], variables,
                        paste("48 states of 12 to 17 years with gaps; 1972, 1976, 1979 and 1983 are complete;",
                              "9 regions of 45 to 128 rows; sorted by state and year; band = round(unemp)"))

bacteria$present <- as.numeric(bacteria$y == "y")
last <- bacteria$ID == tail(levels(bacteria$ID), 1)
presence <- keep_data("bacteria", "MASS::bacteria, of its last patient only the first row",
                      bacteria[!last | !duplicated(bacteria$ID), ], c("present", "ID", "week", "trt"),
                      "50 patients of 1 to 5 weeks; present = (y == 'y')")

off <- (5 * epil$subject + epil$period) %% 7 == 0 & epil$period %in% c(2, 4)
seizures <- keep_data("epil", "MASS::epil with 18 rows taken out", epil[!off, ],
                      c("y", "trt", "lbase", "lage", "base", "V4", "subject", "period"),
                      "59 patients of 3 or 4 periods; periods 1 and 3 are complete; sorted by subject and period")

investment <- keep_data("investment", "sandwich::Investment, without its first row (NA)",
                        as.data.frame(Investment)[-1, ], c("RealInv", "RealGNP", "RealInt"), "1964 to 1982")
belts <- as.data.frame(unclass(Seatbelts))
attr(belts, "tsp") <- NULL
belts <- keep_data("seatbelts", "datasets::Seatbelts", belts, c("drivers", "VanKilled", "kms", "PetrolPrice", "law"),
                   "monthly, January 1969 to December 1984")
nile <- keep_data("nile", "datasets::Nile", data.frame(flow = as.numeric(Nile)), "flow", "yearly, 1871 to 1970")

# ------------------------------------------------------------------ the models

# glm() stops when the deviance stands still, with working weights one step old: it starts again at its own
# answer until that does not move.
settled <- function(refit) {
  fit <- suppressWarnings(refit(NULL))   # "non-integer #successes", for binomial weights
  for (again in 1:20) {
    start <- coef(fit)
    fit <- suppressWarnings(refit(start))
    if (max(abs(coef(fit) - start) / sqrt(diag(vcov(fit)))) < 1e-14) return(fit)
  }
  stopifnot(max(abs(coef(fit) - start) / sqrt(diag(vcov(fit)))) < 1e-12)
  fit
}

fit_model <- function(formula, data, family = NULL, weights = NULL, offset = NULL) {
  data$.w <- if (is.null(weights)) 1 else eval(str2lang(weights), data)
  data$.o <- if (is.null(offset)) 0 else eval(str2lang(offset), data)
  f <- as.formula(formula)
  environment(f) <- environment()
  if (is.null(family)) {
    return(if (is.null(weights)) lm(f, data) else lm(f, data, weights = .w))
  }
  settled(function(start)
    if (is.null(weights)) glm(f, family, data, offset = .o, start = start, epsilon = 1e-15, maxit = 100)
    else glm(f, family, data, weights = .w, offset = .o, start = start, epsilon = 1e-15, maxit = 100))
}

# One entry: the call is built from its arguments, evaluated where `fit` and `d` are, and written down
# beside the same arguments as keys.
entry <- function(where, estimator, args, keys = list()) {
  call <- as.call(c(as.name(estimator), quote(fit), args))
  V <- eval(call, where)
  scalars <- Filter(function(a) !is.language(a), args)
  V <- unclass(V)[, , drop = FALSE]
  stopifnot(all(is.finite(V)), is.matrix(V))
  c(list(estimator = one(estimator)), lapply(scalars, one), keys,
    list(call = one(deparse1(call)), names = colnames(V), rows = matrix(V, nrow(V))))
}
columns_call <- function(g) if (length(g) == 1) call("$", as.name("d"), as.name(g)) else bquote(d[.(g)])
both <- c(TRUE, FALSE)

heteroskedastic <- function(where) {
  entries <- lapply(c("HC0", "HC1", "HC2", "HC3", "HC4", "HC4m", "HC5"),
                    function(type) entry(where, "vcovHC", list(type = type)))
  if (inherits(where$fit, "glm")) entries <- c(entries, list(entry(where, "vcovOPG", list(adjust = FALSE))))
  entries
}

# `bias_reduced`: sandwich's clustered HC2 and HC3, right for an unweighted lm only.
clustered <- function(where, g, bias_reduced = FALSE, fix = FALSE) {
  stopifnot(!bias_reduced || (!inherits(where$fit, "glm") && is.null(weights(where$fit))))
  entries <- list()
  for (type in c("HC0", "HC1", if (bias_reduced) c("HC2", "HC3")))
    for (cadjust in both)
      for (multi0 in if (length(g) > 1) both else FALSE)
        entries <- c(entries, list(entry(where, "vcovCL", list(cluster = columns_call(g), type = type, cadjust = cadjust,
                                                              multi0 = multi0, fix = fix), list(cluster = g))))
  if (fix) {   # only where it does something
    plain <- vcovCL(where$fit, where$d[g], type = "HC0", cadjust = TRUE, multi0 = FALSE)
    stopifnot(min(eigen(plain, symmetric = TRUE)$values) < 0)
  }
  entries
}

inverse_choices <- function(fit) if (inherits(fit, "glm") || is.null(weights(fit))) TRUE else both

bias_reduced <- function(where, g) {
  entries <- list()
  for (inverse_var in inverse_choices(where$fit))
    for (type in c("CR0", "CR1", "CR1p", "CR1S", "CR2", "CR3")) {
      clusters <- nlevels(factor(where$d[[g]]))
      if (type == "CR1p" && clusters <= length(coef(where$fit))) next
      entries <- c(entries, list(entry(where, "vcovCR", list(cluster = columns_call(g), type = type,
                                                            inverse_var = inverse_var), list(cluster = g))))
    }
  entries
}

small_sample_tests <- function(where, g) {
  fit <- where$fit
  k <- length(coef(fit))
  unit <- diag(k)
  # Some of one row, two and three, zeros and differences.
  constraints <- list(unit[k, , drop = FALSE], unit[k - 1, , drop = FALSE] - unit[k, , drop = FALSE],
                      unit[(k - 1):k, , drop = FALSE])
  if (k >= 4) constraints <- c(constraints, list(unit[(k - 2):k, , drop = FALSE],
                                                 rbind(unit[2, ] - unit[3, ], unit[2, ] + unit[4, ] - 2 * unit[1, ])))
  out <- list()
  for (inverse_var in inverse_choices(fit))
    for (type in c("CR1", "CR2", "CR3")) {
      V <- vcovCR(fit, cluster = where$d[[g]], type = type, inverse_var = inverse_var)
      about <- list(vcov = one(type), cluster = g, inverse_var = one(inverse_var))
      ct <- coef_test(fit, vcov = V, test = c("Satterthwaite", "naive-t"))
      out <- c(out, list(c(list(test = one("coef_test")), about,
                           list(names = ct$Coef, estimate = ct$beta, se = ct$SE, t = ct$tstat, df = ct$df_Satt,
                                p = ct$p_Satt, df_naive = ct$df_t[1], p_naive = ct$p_t))))
      if (inverse_var) {
        L <- constraints[[2]]
        lc <- linear_contrast(fit, vcov = V, contrasts = L, level = 0.95, test = "Satterthwaite", p_values = TRUE)
        out <- c(out, list(c(list(test = one("linear_contrast")), about,
                             list(contrast = as.vector(L), estimate = one(lc$Est[1]), se = one(lc$SE[1]), df = one(lc$df[1]),
                                  level = one(0.95), low = one(lc$CI_L[1]), high = one(lc$CI_U[1]), p = one(lc$p_val[1])))))
      }
      for (C in constraints) {
        w <- Wald_test(fit, constraints = C, vcov = V, test = c("chi-sq", "Naive-F", "Naive-Fp", "HTZ"))
        rows <- setNames(lapply(seq_len(nrow(w)), function(i)
          list(Fstat = one(w$Fstat[i]), delta = one(w$delta[i]), df_num = one(w$df_num[i]),
               df_denom = one(w$df_denom[i]), p_val = one(w$p_val[i]))), w$test)
        out <- c(out, list(c(list(test = one("Wald_test")), about, list(constraints = C), rows)))
      }
    }
  out
}

kernels <- c("Bartlett", "Parzen", "Quadratic Spectral", "Tukey-Hanning", "Truncated")

# `full`: every kernel with every way to its bandwidth; otherwise some of them.
time_series <- function(where, full = TRUE) {
  fit <- where$fit
  add <- function(...) entries <<- c(entries, list(entry(where, ...)))
  entries <- list()
  for (prewhite in 0:1) for (adjust in both) add("NeweyWest", list(lag = 4, prewhite = prewhite, adjust = adjust))
  add("NeweyWest", list(lag = 0, prewhite = 0, adjust = FALSE))
  if (full) add("NeweyWest", list(lag = 3, prewhite = 2, adjust = FALSE))
  for (prewhite in 0:1) {
    bandwidth <- bwNeweyWest(fit, prewhite = prewhite)
    add("NeweyWest", list(prewhite = prewhite, adjust = FALSE),
        list(lag = one("bwNeweyWest"), bandwidth = one(bandwidth), lag_used = one(floor(bandwidth))))
    for (kernel in kernels) {
      fixed <- list(kernel = kernel, bw = 5, prewhite = prewhite, adjust = FALSE)
      add("kernHAC", fixed)
      if (full) add("kernHAC", modifyList(fixed, list(bw = 2.75, adjust = TRUE)))
      add("kernHAC", list(kernel = kernel, bw = quote(bwAndrews), approx = "AR(1)", prewhite = prewhite, adjust = TRUE),
          list(bw = one("bwAndrews"),
               bandwidth = one(bwAndrews(fit, kernel = kernel, approx = "AR(1)", prewhite = prewhite))))
      if (kernel %in% kernels[1:3])
        add("kernHAC", list(kernel = kernel, bw = quote(bwNeweyWest), prewhite = prewhite, adjust = FALSE),
            list(bw = one("bwNeweyWest"), bandwidth = one(bwNeweyWest(fit, kernel = kernel, prewhite = prewhite))))
    }
  }
  if (full) add("kernHAC", list(kernel = "Parzen", bw = quote(bwAndrews), approx = "AR(1)", prewhite = 2, adjust = FALSE),
                list(bw = one("bwAndrews"),
                     bandwidth = one(bwAndrews(fit, kernel = "Parzen", approx = "AR(1)", prewhite = 2))))
  add("vcovHAC", list(prewhite = FALSE, adjust = TRUE),   # Quadratic Spectral with bwAndrews
      list(kernel = one("Quadratic Spectral"), bw = one("bwAndrews"),
           bandwidth = one(bwAndrews(fit, kernel = "Quadratic Spectral", approx = "AR(1)", prewhite = 0))))
  # HAC by hand: Bartlett weights on the autocovariances of the scores.
  u <- estfun(fit)
  S <- crossprod(u)
  for (j in 1:4) {
    across <- crossprod(u[-seq_len(j), , drop = FALSE], u[seq_len(nrow(u) - j), , drop = FALSE])
    S <- S + (1 - j / 5) * (across + t(across))
  }
  A <- bread(fit) / nrow(u)
  stopifnot(all.equal(NeweyWest(fit, lag = 4, prewhite = FALSE, adjust = FALSE), A %*% S %*% A, tolerance = 1e-10))
  entries
}

# Driscoll and Kraay (aggregate), Newey and West in each unit, and Beck and Katz; rows sorted by unit and time.
panel <- function(where, unit, time) {
  d <- where$d
  stopifnot(!is.unsorted(order(d[[unit]], d[[time]])))
  keys <- list(cluster = unit, order_by = one(time))
  at <- list(cluster = columns_call(unit), order.by = columns_call(time))
  nt <- length(unique(d[[time]]))
  add <- function(...) entries <<- c(entries, list(entry(where, ...)))
  entries <- list()
  for (aggregate in both) {
    for (lag in list("NW1987", "NW1994", "max", 0, 2)) for (adjust in both) {
      used <- if (is.numeric(lag)) lag else switch(lag, NW1987 = floor(nt^(1 / 4)), NW1994 = floor(4 * (nt / 100)^(2 / 9)),
                                                   max = nt - 1)
      add("vcovPL", c(at, list(kernel = "Bartlett", lag = lag, aggregate = aggregate, adjust = adjust)),
          c(keys, list(lag_used = one(used))))
    }
    for (kernel in c("Parzen", "Quadratic Spectral"))
      add("vcovPL", c(at, list(kernel = kernel, lag = NULL, bw = 2.5, aggregate = aggregate, adjust = FALSE)), keys)
  }
  for (pairwise in both) add("vcovPC", c(at, list(pairwise = pairwise)), keys)

  # The same by hand: scores summed over each time; and residuals' covariances between units.
  fit <- where$fit
  A <- bread(fit) / nobs(fit)
  u <- rowsum(estfun(fit), d[[time]])
  S <- crossprod(u)
  for (j in 1:2) {
    across <- crossprod(u[-seq_len(j), , drop = FALSE], u[seq_len(nrow(u) - j), , drop = FALSE])
    S <- S + (1 - j / 3) * (across + t(across))
  }
  dk <- vcovPL(fit, cluster = d[[unit]], order.by = d[[time]], lag = 2, adjust = FALSE, aggregate = TRUE)
  stopifnot(all.equal(dk, A %*% S %*% A, tolerance = 1e-10, check.attributes = FALSE))
  X <- model.matrix(fit)
  e <- estfun(fit)[, 1] / X[, 1]
  wide <- tapply(e, list(d[[time]], d[[unit]]), sum)
  complete <- rowSums(is.na(wide)) == 0
  zero <- replace(wide, is.na(wide), 0)
  sigma <- list(crossprod(wide[complete, , drop = FALSE]) / sum(complete), crossprod(zero) / crossprod(!is.na(wide)))
  who <- match(d[[unit]], colnames(wide))
  same_time <- outer(d[[time]], d[[time]], "==")
  for (pairwise in both) {
    by_hand <- A %*% t(X) %*% (sigma[[1 + pairwise]][who, who] * same_time) %*% X %*% A
    stopifnot(all.equal(vcovPC(fit, cluster = d[[unit]], order.by = d[[time]], pairwise = pairwise), by_hand,
                        tolerance = 1e-10, check.attributes = FALSE))
  }
  entries
}

# plm's own Driscoll and Kraay, of a pooling model.
pooled <- function(where, unit, time) {
  where$pool <- plm(formula(where$fit), where$d, model = "pooling", index = c(unit, time))
  stopifnot(all.equal(coef(where$pool), coef(where$fit), tolerance = 1e-9))
  entries <- list()
  for (type in c("HC0", "HC1", "sss")) for (maxlag in c(0, 3)) {
    V <- vcovSCC(where$pool, type = type, maxlag = maxlag)
    call <- sprintf("vcovSCC(plm(%s, model = \"pooling\", index = c(\"%s\", \"%s\")), type = \"%s\", maxlag = %d)",
                    deparse1(formula(where$fit)), unit, time, type, maxlag)
    entries <- c(entries, list(list(estimator = one("vcovSCC"), type = one(type), maxlag = one(maxlag), cluster = unit,
                                    order_by = one(time), call = one(call), names = colnames(V),
                                    rows = matrix(V, nrow(V)))))
    pl <- vcovPL(where$fit, cluster = where$d[[unit]], order.by = where$d[[time]], lag = maxlag, adjust = type == "HC1")
    if (type != "sss") stopifnot(all.equal(matrix(V, nrow(V)), unname(pl), tolerance = 1e-8))
  }
  entries
}

# Refits without one cluster after another (without one row after another: g = NULL).
jackknife <- function(where, g = NULL) {
  fit <- where$fit
  X <- model.matrix(fit)
  b <- coef(fit)
  is_glm <- inherits(fit, "glm")
  y <- if (is_glm) fit$y else model.response(model.frame(fit))
  w <- if (is_glm) fit$prior.weights else if (is.null(weights(fit))) rep(1, nrow(X)) else weights(fit)
  o <- if (is.null(fit$offset)) rep(0, nrow(X)) else fit$offset
  label <- if (is.null(g)) seq_len(nrow(X)) else as.character(where$d[[g]])
  without <- function(out) {
    i <- label != out
    if (!is_glm) return(qr.coef(qr(X[i, ] * sqrt(w[i])), y[i] * sqrt(w[i])))
    start <- b
    for (again in 1:10) {
      now <- suppressWarnings(glm.fit(X[i, ], y[i], w[i], start = start, offset = o[i], family = fit$family,
                                      control = glm.control(epsilon = 1e-15, maxit = 100)))$coefficients
      moved <- max(abs(now - start) / sqrt(diag(vcov(fit))))
      if (moved < 1e-13) break
      start <- now
    }
    stopifnot(moved < 1e-11)
    now
  }
  B <- t(sapply(unique(label), without))
  G <- nrow(B)
  at_b <- crossprod(sweep(B, 2, b))
  at_mean <- (G - 1) / G * crossprod(sweep(B, 2, colMeans(B)))
  if (!is_glm && !is.null(g))
    stopifnot(all.equal(at_b, unclass(vcovCR(fit, cluster = where$d[[g]], type = "CR3"))[, ], tolerance = 1e-8,
                        check.attributes = FALSE))
  if (!is_glm && is.null(g))
    stopifnot(all.equal(at_b, vcovHC(fit, type = "HC3"), tolerance = 1e-8, check.attributes = FALSE))
  lapply(list(list("estimate", at_b, "sum of (b_-g - b)(b_-g - b)'"),
              list("mean", at_mean, "(G-1)/G times the sum of (b_-g - mean)(b_-g - mean)'")), function(v)
    list(estimator = one("jackknife"), center = one(v[[1]]), cluster = g, groups = one(G), call = one(v[[3]]),
         names = names(b), rows = matrix(v[[2]], ncol(X))))
}

# ------------------------------------------------------------------ the records

record <- function(name, dataset, data, formula, family = NULL, weights = NULL, offset = NULL, covariances,
                   tests = function(where) list()) {
  fit <- fit_model(formula, data, family, weights, offset)
  where <- list2env(list(fit = fit, d = data), parent = globalenv())
  X <- model.matrix(fit)
  is_glm <- !is.null(family)
  entries <- covariances(where)
  tested <- tests(where)
  cat(sprintf("%-28s n %4d  k %d  covariances %3d  tests %3d\n", name, nrow(X), ncol(X), length(entries), length(tested)))
  list(name = one(name), dataset = one(dataset), kind = one(if (is_glm) "glm" else "lm"),
       family = one(if (is_glm) family$family else "gaussian"), link = one(if (is_glm) family$link else "identity"),
       formula = one(formula), weights_are = one(weights), offset_is = one(offset),
       nobs = one(nrow(X)), df_residual = one(df.residual(fit)),
       response_values = as.vector(if (is_glm) fit$y else model.response(model.frame(fit))),
       weights = if (is.null(weights)) NULL else as.vector(eval(str2lang(weights), data)),
       offset = if (is.null(offset)) NULL else as.vector(eval(str2lang(offset), data)),
       design = list(names = colnames(X), rows = matrix(X, nrow(X))),
       coef = list(names = names(coef(fit)), values = coef(fit)),
       vcov = list(names = colnames(vcov(fit)), rows = vcov(fit)),
       covariances = entries, tests = tested)
}

production <- "log(gsp) ~ log(pcap) + log(pc) + log(emp) + unemp"
ways <- function(where, ...) do.call(c, lapply(list(...), function(g) clustered(where, g)))
reduced <- function(where, ...) do.call(c, lapply(list(...), function(g) bias_reduced(where, g)))
tested <- function(...) function(where) do.call(c, lapply(list(...), function(g) small_sample_tests(where, g)))

# CR1S is sandwich's HC1 of an lm, and CR1 its HC0 with cadjust.
local({
  fit <- fit_model(production, unbalanced, weights = "emp")
  one_way <- function(type) unname(vcovCL(fit, unbalanced$state, type = type))
  club <- function(type) unname(unclass(vcovCR(fit, cluster = unbalanced$state, type = type))[, ])
  stopifnot(all.equal(one_way("HC1"), club("CR1S"), tolerance = 1e-10, check.attributes = FALSE),
            all.equal(one_way("HC0"), club("CR1"), tolerance = 1e-10, check.attributes = FALSE))
})

records <- list(
  record("lm_petersen", "petersen", petersen, "y ~ x", covariances = function(w) c(
    heteroskedastic(w), clustered(w, "firm", TRUE), clustered(w, "year", TRUE), clustered(w, c("firm", "year"), TRUE),
    reduced(w, "firm", "year"), panel(w, "firm", "year"), pooled(w, "firm", "year"), jackknife(w, "firm")),
    tests = tested("firm", "year")),

  record("lm_petersen_square", "petersen", petersen, "y ~ x + I(x^2)", covariances = function(w) c(
    heteroskedastic(w), clustered(w, "year", TRUE), ways(w, c("firm", "year")), reduced(w, "year")),
    tests = tested("year")),

  record("lm_produc", "produc", balanced, production, covariances = function(w) c(
    heteroskedastic(w), clustered(w, "state", TRUE), clustered(w, c("state", "year"), TRUE), reduced(w, "state"),
    panel(w, "state", "year"), pooled(w, "state", "year"), jackknife(w, "state")),
    tests = tested("state")),

  record("lm_produc_unbalanced", "produc_unbalanced", unbalanced, production, covariances = function(w) c(
    heteroskedastic(w), clustered(w, "state", TRUE), clustered(w, "region", TRUE), clustered(w, c("state", "year"), TRUE),
    ways(w, c("region", "band"), c("state", "year", "band"), c("region", "year", "band")), reduced(w, "state", "region"),
    panel(w, "state", "year"), pooled(w, "state", "year"), jackknife(w, "state"), jackknife(w, "region"), jackknife(w)),
    tests = tested("state", "region")),

  record("wls_produc_unbalanced", "produc_unbalanced", unbalanced, production, weights = "emp", covariances = function(w) c(
    heteroskedastic(w), ways(w, "state", "region", c("state", "year"), c("year", "band")),
    clustered(w, c("year", "band"), fix = TRUE), reduced(w, "state", "region"), panel(w, "state", "year"),
    jackknife(w, "state"), jackknife(w, "region")),
    tests = tested("state", "region")),

  record("logit_bacteria", "bacteria", presence, "present ~ trt + week", binomial("logit"), covariances = function(w) c(
    heteroskedastic(w), ways(w, "ID", "week", c("ID", "week")), reduced(w, "ID", "week"),
    jackknife(w, "ID"), jackknife(w, "week"), jackknife(w)),
    tests = tested("ID", "week")),

  record("probit_bacteria", "bacteria", presence, "present ~ trt + week", binomial("probit"), covariances = function(w) c(
    heteroskedastic(w), ways(w, "ID", c("ID", "week")), reduced(w, "ID", "week"), jackknife(w, "ID")),
    tests = tested("ID", "week")),

  record("logit_bacteria_weighted", "bacteria", presence, "present ~ trt + week", binomial("logit"),
         weights = "1 + week / 10", covariances = function(w) c(
    heteroskedastic(w), ways(w, "ID", c("ID", "week")), reduced(w, "ID"), jackknife(w, "ID")),
    tests = tested("ID")),

  record("poisson_epil", "epil", seizures, "y ~ lbase * trt + lage + V4", poisson("log"), covariances = function(w) c(
    heteroskedastic(w), ways(w, "subject", "period", c("subject", "period")),
    clustered(w, c("subject", "period"), fix = TRUE), reduced(w, "subject"), panel(w, "subject", "period"),
    jackknife(w, "subject")),
    tests = tested("subject")),

  record("poisson_epil_offset", "epil", seizures, "y ~ trt + lage + V4", poisson("log"), offset = "log(base / 4)",
         covariances = function(w) c(heteroskedastic(w), ways(w, "subject"), reduced(w, "subject"), jackknife(w, "subject")),
    tests = tested("subject")),

  record("lm_investment", "investment", investment, "RealInv ~ RealGNP + RealInt", covariances = function(w) c(
    heteroskedastic(w), time_series(w))),

  record("lm_seatbelts", "seatbelts", belts, "log(drivers) ~ log(kms) + log(PetrolPrice) + law", covariances = function(w) c(
    heteroskedastic(w), time_series(w))),

  record("lm_seatbelts_no_intercept", "seatbelts", belts, "log(drivers) ~ 0 + log(kms) + law",
         covariances = function(w) time_series(w, full = FALSE)),

  record("wls_seatbelts", "seatbelts", belts, "log(drivers) ~ log(kms) + log(PetrolPrice) + law", weights = "kms / 10000",
         covariances = function(w) c(heteroskedastic(w), time_series(w, full = FALSE))),

  record("lm_nile_mean", "nile", nile, "flow ~ 1", covariances = function(w) time_series(w, full = FALSE)),

  record("poisson_seatbelts", "seatbelts", belts, "VanKilled ~ log(kms) + log(PetrolPrice) + law", poisson("log"),
         covariances = function(w) c(heteroskedastic(w), time_series(w))))

# --------------------------------------------------------------------- the file

version_of <- function(p) one(as.character(packageVersion(p)))
meta <- list(
  made_by = one("tests/golden/covariances.R"), R = one(R.version.string), platform = one(R.version$platform),
  packages = sapply(c("sandwich", "clubSandwich", "plm", "MASS", "jsonlite"), version_of, simplify = FALSE))

path <- file.path("tests", "golden", "covariances.json")
# A line for each data column's set, field and entry, so that a change shows up in a diff.
lines_of <- function(x) paste0("{", paste0("\n", quoted(names(x)), ":", vapply(x, json_of, ""), collapse = ","), "}")
text <- paste0("{\"meta\":", json_of(meta), ",\n\"datasets\":{\n",
               paste(quoted(names(datasets)), vapply(datasets, lines_of, ""), sep = ":", collapse = ",\n"),
               "},\n\"records\":[\n", paste(vapply(records, lines_of, ""), collapse = ",\n"), "]}")
writeLines(text, path)

# Read it back: the numbers must be the same doubles.
back <- fromJSON(path, simplifyVector = FALSE)
stopifnot(identical(unlist(back$datasets$petersen$columns$x), petersen$x),
          identical(unlist(back$records[[5]]$weights), unbalanced$emp))
for (i in seq_along(records)) for (j in seq_along(records[[i]]$covariances))
  stopifnot(identical(as.numeric(unlist(back$records[[i]]$covariances[[j]]$rows)),
                      as.vector(t(records[[i]]$covariances[[j]]$rows))))
cat(path, file.size(path), "bytes,", sum(lengths(lapply(records, `[[`, "covariances"))), "covariances\n")
