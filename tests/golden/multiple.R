# Adjusted p-values of multcomp and p.adjust, and permutation tests of coin, with their data.
#
#     Rscript tests/golden/multiple.R > tests/golden/multiple.json     (R 4.2, multcomp, sandwich, coin, jsonlite)
#
# multcomp integrates the multivariate t distribution by mvtnorm, here with abseps = 1e-6; coin's exact distributions take the shift algorithm.

suppressPackageStartupMessages({ library(multcomp); library(sandwich); library(coin); library(jsonlite) })

set.seed(16)
n <- 60
x <- matrix(rnorm(4 * n), n) %*% matrix(c(1, .5, .5, .2, 0, 1, .3, 0, 0, 0, 1, -.6, 0, 0, 0, 1), 4, byrow = TRUE)
data <- data.frame(a = x[, 1], b = x[, 2], c = x[, 3], d = x[, 4])
data$y <- as.vector(x %*% c(.1, .3, -.2, .4)) + rnorm(n)
fit <- lm(y ~ a + b + c + d, data)
slopes <- cbind(0, diag(4))

single_step <- function(vcov., df) {
  tests <- glht(fit, linfct = slopes, vcov. = vcov., df = df)
  found <- summary(tests, test = adjusted("single-step", abseps = 1e-6, maxpts = 1e6))$test
  list(se = unname(found$sigma), pvalues = as.numeric(found$pvalues), critical = as.numeric(attr(confint(tests)$confint, "calpha")))
}
pvalues <- summary(fit)$coefficients[-1, 4]
methods <- c("bonferroni", "holm", "hochberg", "hommel", "BH", "BY")

# an experiment in blocks, in units, and in clusters
m <- 18
block <- rep(1:3, each = 6)
treated <- as.vector(replicate(3, sample(rep(0:1, each = 3))))
outcome <- round(rnorm(m) + .8 * treated + block, 2)
exact <- function(formula, alternative) {
  found <- independence_test(formula, data = data.frame(outcome, treated = factor(treated, levels = c(1, 0)), block = factor(block)), distribution = "exact", alternative = alternative)
  as.numeric(pvalue(found))
}
tea <- list(truth = c(1, 1, 1, 1, 0, 0, 0, 0), guess = c(1, 1, 1, 0, 1, 0, 0, 0))
fisher <- sapply(c("two.sided", "greater"), function(a) fisher.test(table(tea$guess, tea$truth), alternative = a)$p.value)

cat(toJSON(list(
  meta = list(R = R.version.string, multcomp = as.character(packageVersion("multcomp")), coin = as.character(packageVersion("coin"))),
  data = data,
  p = pvalues,
  adjusted = sapply(methods, function(method) p.adjust(pvalues, method), simplify = FALSE),
  t = single_step(vcov(fit), df.residual(fit)),
  HC3 = single_step(vcovHC(fit, "HC3"), 0),
  experiment = list(outcome = outcome, treated = treated, block = block,
    units = list(two_sided = exact(outcome ~ treated, "two.sided"), greater = exact(outcome ~ treated, "greater"), less = exact(outcome ~ treated, "less")),
    blocks = list(two_sided = exact(outcome ~ treated | block, "two.sided"), greater = exact(outcome ~ treated | block, "greater"), less = exact(outcome ~ treated | block, "less"))),
  tea = c(tea, list(fisher = as.list(fisher)))
), digits = NA, auto_unbox = TRUE, pretty = FALSE, dataframe = "columns"))
