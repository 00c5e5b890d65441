# Golden numbers for Cox's proportional hazards, computed by R's survival package.
#
# What it makes: tests/golden/phreg.json, a record for each fit with its data, estimates, covariances, residuals and tests; and docs/data/lung.csv,
# the data of docs/survival.rst.
# Run from the project root:   Rscript tests/golden/phreg.R
#
# Last made with R 4.2.2 Patched (Debian 12, x86_64), survival 3.5-3, jsonlite 1.8.4.
#
# The control's eps is 1e-14, so that R's Newton steps end at the optimum. residuals(type = "score") is without case weights.

suppressPackageStartupMessages({
  library(survival)
  library(jsonlite)
})

control <- coxph.control(eps = 1e-14, toler.chol = 1e-15, iter.max = 100)

record <- function(data, x, ties) {
  frame <- cbind(data, x)
  surv <- if (is.null(data$entry)) "Surv(time, status)" else "Surv(entry, time, status)"
  right <- c(colnames(x), if (!is.null(data$stratum)) "strata(stratum)", if (!is.null(data$offset)) "offset(offset)")
  formula <- as.formula(paste(surv, "~", paste(right, collapse = " + ")))
  if (is.null(frame$weight)) frame$weight <- 1
  fit <- coxph(formula, frame, weights = weight, ties = ties, control = control, robust = FALSE, x = TRUE)
  frame$row <- seq_len(nrow(frame))
  robust <- coxph(formula, frame, weights = weight, ties = ties, control = control, cluster = row)
  cluster <- coxph(formula, frame, weights = weight, ties = ties, control = control, cluster = id)
  base <- basehaz(fit, centered = FALSE)
  found <- list(
    data = as.list(data), x = unname(x), names = colnames(x), ties = ties,
    coef = unname(coef(fit)), var = unname(vcov(fit)), robust = unname(vcov(robust)), cluster = unname(vcov(cluster)),
    loglik = fit$loglik, score_test = fit$score, wald_test = unname(fit$wald.test), n = fit$n, nevent = fit$nevent,
    aic = AIC(fit), bic = BIC(fit),
    score = unname(residuals(fit, type = "score")),
    martingale = unname(residuals(fit, type = "martingale")), deviance = unname(residuals(fit, type = "deviance")),
    hazard = as.list(base), concordance = unname(fit$concordance[c("concordance", "std")])
  )
  # rows of schoenfeld residuals are events in the order of strata and times
  found$schoenfeld <- unname(as.matrix(residuals(fit, type = "schoenfeld")))
  found$expected <- unname(predict(fit, type = "expected"))
  transforms <- c("identity", "log", "rank", "km")
  found$zph <- setNames(lapply(transforms, function(g) unname(cox.zph(fit, transform = g)$table)), transforms)
  found
}

lung <- survival::lung
dir.create("docs/data", showWarnings = FALSE)
write.csv(within(lung, status <- status - 1), "docs/data/lung.csv", row.names = FALSE, na = "", quote = FALSE)
kept <- lung[complete.cases(lung[, c("time", "status", "age", "sex", "ph.ecog", "inst")]), ]
x <- as.matrix(kept[, c("age", "sex", "ph.ecog")])
plain <- data.frame(time = kept$time, status = kept$status - 1, id = kept$inst)
n <- nrow(plain)
weight <- 0.5 + (seq_len(n) %% 7) / 4
strata <- within(plain, { stratum <- kept$ph.ecog; weight <- weight })
coarse <- within(plain, { time <- ceiling(time / 90); offset <- 0.3 * cos(seq_len(n)) })
heavy <- within(plain, { time <- ceiling(time / 90); weight <- weight })

heart <- survival::heart
h <- as.matrix(data.frame(age = heart$age, year = heart$year, surgery = heart$surgery, transplant = as.numeric(heart$transplant) - 1))
late <- data.frame(time = heart$stop, entry = heart$start, status = heart$event, id = heart$id)
whole <- within(late, { time <- ceiling(time / 30); entry <- pmin(floor(entry / 30), time - 1) })
both <- within(whole, { stratum <- heart$surgery; weight <- 0.5 + (seq_len(nrow(heart)) %% 5) / 4 })

# times and entries that differ by rounding: R's timefix takes them to be the same
rounded <- within(plain, { time <- ceiling(time / 90) / 10; odd <- seq_len(n) %% 2 == 1; time[odd] <- (3 * time[odd]) / 3 + 1e-9; rm(odd) })
tenths <- within(whole, { time <- time / 10; entry <- entry / 10 + ifelse(entry > 0 & seq_len(nrow(heart)) %% 2 == 1, 1e-9, 0) })

records <- list()
for (ties in c("breslow", "efron")) {
  records[[paste("lung", ties)]] <- record(plain, x, ties)
  records[[paste("lung, strata and weights", ties)]] <- record(strata, x[, c("age", "sex")], ties)
  records[[paste("lung, quarters and offset", ties)]] <- record(coarse, x, ties)
  records[[paste("lung, quarters and weights", ties)]] <- record(heavy, x, ties)
  records[[paste("heart", ties)]] <- record(late, h, ties)
  records[[paste("heart, months", ties)]] <- record(whole, h, ties)
  records[[paste("lung, rounding", ties)]] <- record(rounded, x, ties)
  records[[paste("heart, rounding", ties)]] <- record(tenths, h, ties)
  records[[paste("heart, months, strata and weights", ties)]] <- record(both, h[, c("age", "year", "transplant")], ties)
}
meta <- list(R = R.version.string, survival = as.character(packageVersion("survival")))
writeLines(toJSON(list(meta = meta, records = records), digits = NA, auto_unbox = TRUE, na = "null"), "tests/golden/phreg.json")
