# Golden numbers of tests of instruments, computed by R.
#
# What it makes: tests/golden/instrument_tests.json. AER::ivreg's diagnostics (weak instruments, Wu-Hausman, Sargan) with the classical covariance and
# with those of sandwich, on AER's CigarettesSW of 1995 and on data with two endogenous regressors, which are in the file.
# Run from the project root:   Rscript tests/golden/instrument_tests.R
#
# Last made with R 4.2.2 Patched (Debian 12, x86_64); the versions of the packages are under "meta" in the JSON.

suppressPackageStartupMessages({
  library(AER)
  library(sandwich)
  library(jsonlite)
})

diagnostics <- function(fit, vcov) {
  found <- if (is.null(vcov)) summary(fit, diagnostics = TRUE) else summary(fit, vcov. = vcov, diagnostics = TRUE)
  rows <- found$diagnostics
  lapply(seq_len(nrow(rows)), function(i) {
    list(name = unbox(rownames(rows)[i]), df1 = unbox(rows[i, 1]), df2 = unbox(rows[i, 2]),
         statistic = unbox(rows[i, 3]), pvalue = unbox(rows[i, 4]))
  })
}
all_of <- function(fit) {
  list(classical = diagnostics(fit, NULL), HC0 = diagnostics(fit, sandwich),
       HC1 = diagnostics(fit, function(x) vcovHC(x, type = "HC1")), params = coef(fit))
}

data("CigarettesSW")
cigarettes <- transform(CigarettesSW, rprice = price / cpi, rincome = income / population / cpi,
                        tdiff = (taxs - tax) / cpi, rtax = tax / cpi)
cigarettes <- subset(cigarettes, year == "1995")
one <- data.frame(y = log(cigarettes$packs), w = log(cigarettes$rprice), x = log(cigarettes$rincome),
                  z1 = cigarettes$tdiff, z2 = cigarettes$rtax)
single <- ivreg(y ~ x + w | x + z1 + z2, data = one)

set.seed(20)
n <- 120
z <- matrix(rnorm(4 * n), n)
x <- rnorm(n)
e <- rnorm(n) * (0.5 + abs(z[, 1]))
w1 <- z[, 1] - z[, 2] + 0.4 * x + 0.7 * e + rnorm(n)
w2 <- 0.5 * z[, 3] + z[, 4] + 0.3 * e + rnorm(n) * abs(z[, 3])
several <- data.frame(y = w1 - 0.5 * w2 + x + e, w1 = w1, w2 = w2, x = x, z1 = z[, 1], z2 = z[, 2], z3 = z[, 3], z4 = z[, 4])
double <- ivreg(y ~ x + w1 + w2 | x + z1 + z2 + z3 + z4, data = several)

versions <- lapply(c("AER", "sandwich"), function(name) unbox(as.character(packageVersion(name))))
names(versions) <- c("AER", "sandwich")
out <- list(meta = versions,
            single = list(data = as.list(one), results = all_of(single)),
            double = list(data = as.list(several), results = all_of(double)))
writeLines(toJSON(out, digits = I(17), na = "null"), "tests/golden/instrument_tests.json")
