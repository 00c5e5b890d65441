# R's side of docs/from-r.rst. Run from the project root:
#   Rscript docs/data/from_r.R > docs/data/from_r.txt
# Its printed output is what the page shows; from_r.csv has the same numbers in full, against which the page's examples
# are checked when it is built. Last run: R 4.2.2, sandwich 3.0-2, lmtest 0.9-40, car 3.1-1, clubSandwich 0.5.8,
# boot 1.3-28.1, broom 1.0.3.

suppressPackageStartupMessages({
  library(sandwich); library(lmtest); library(clubSandwich); library(car); library(boot); library(broom)
})
options(width = 90, show.signif.stars = FALSE)
data(PetersenCL, Investment, package = "sandwich")
Investment <- as.data.frame(Investment)[c("RealInv", "RealGNP", "RealInt")]
write.csv(mtcars[c("mpg", "wt", "hp", "qsec", "am", "carb")], "docs/data/mtcars.csv", row.names = FALSE)
write.csv(na.omit(Investment), "docs/data/investment.csv", row.names = FALSE)

kept <- NULL
keep <- function(name, x) {
  x <- as.vector(if (is.matrix(x) || is.data.frame(x)) t(as.matrix(x)) else x)
  kept <<- rbind(kept, data.frame(name = name, value = sprintf("%.15g", x)))
}
part <- function(title) cat("## ", title, "\n", sep = "")
# Show a line as R's prompt does, and what it prints.
run <- function(line, ...) {
  cat("> ", line, "\n", sep = "")
  made <- withVisible(eval(parse(text = line), globalenv()))
  if (made$visible) print(made$value, ...)
}

part("lm")
run("m <- lm(mpg ~ wt + hp + qsec + am, mtcars)")
run("coef(summary(m))")
keep("lm", coef(summary(m))[, 1:4])
keep("fit", c(logLik(m), AIC(m), BIC(m), summary(m)$r.squared, summary(m)$sigma))

part("vcovHC")
run('kinds <- c("const", "HC0", "HC1", "HC2", "HC3", "HC4", "HC4m", "HC5")')
run("errors <- sapply(kinds, function(type) sqrt(diag(vcovHC(m, type))))")
run("errors", digits = 5)
keep("vcovHC", errors)

part("coeftest")
run("coeftest(m, vcov. = vcovHC)")
keep("coeftest", unclass(coeftest(m, vcov. = vcovHC))[, 1:4])
keep("coefci", coefci(m, vcov. = vcovHC))

part("linearHypothesis")
run('(joint <- linearHypothesis(m, c("hp = 0", "qsec = 0"), vcov. = vcovHC(m, "HC1")))')
keep("linearHypothesis", c(joint$F[2], joint[["Pr(>F)"]][2]))

part("deltaMethod")
run('(ratio <- deltaMethod(m, "am / wt", vcov. = vcovHC(m, "HC1")))')
keep("deltaMethod", unlist(ratio))

part("predict")
run("new <- data.frame(wt = c(2, 4), hp = 100, qsec = 18, am = 1)")
run('predict(m, new, interval = "prediction")')
keep("predict", cbind(predict(m, new, interval = "confidence"), predict(m, new, interval = "prediction")[, -1]))

part("anova")
run("(nested <- anova(lm(mpg ~ wt, mtcars), m))")
keep("anova", c(nested$F[2], nested[["Pr(>F)"]][2]))

part("broom")
keep("broom", as.data.frame(tidy(m, conf.int = TRUE))[, -1])

part("glm")
run("g <- glm(am ~ wt, binomial, mtcars, epsilon = 1e-13)")
run('coeftest(g, vcov. = vcovHC(g, "HC1"))')
keep("logit", unclass(coeftest(g, vcov. = vcovHC(g, "HC1")))[, 1:4])
p <- glm(am ~ wt, binomial("probit"), mtcars, epsilon = 1e-13)
keep("probit", sqrt(diag(vcov(p))))
q <- glm(carb ~ wt, poisson, mtcars, epsilon = 1e-13)
keep("poisson", sqrt(diag(vcovHC(q, "HC0"))))

part("nls")
run("n <- nls(mpg ~ a * exp(-b * wt), mtcars, list(a = 50, b = 0.3), nls.control(tol = 1e-7))")
run("coef(summary(n))")
keep("nls", coef(summary(n))[, 1:2])

part("vcovCL")
run("f <- lm(y ~ x, PetersenCL)")
run("coeftest(f, vcov. = vcovCL, cluster = ~ firm)")
keep("vcovCL", sqrt(diag(vcovCL(f, ~ firm))))
keep("vcovCL2", sqrt(diag(vcovCL(f, ~ firm + year))))
keep("vcovPL", sqrt(diag(vcovPL(f, ~ firm + year, lag = 2, aggregate = TRUE))))
keep("vcovPL unit", sqrt(diag(vcovPL(f, ~ firm + year, lag = 2, aggregate = FALSE))))
keep("vcovPC", sqrt(diag(vcovPC(f, ~ firm + year))))

part("clubSandwich")
run('(few <- coef_test(f, vcov = "CR2", cluster = PetersenCL$year))')
keep("CR2", cbind(few$SE, few$df, few$p_Satt))
htz <- Wald_test(f, constrain_equal(1:2), vcov = "CR2", cluster = PetersenCL$year)
keep("HTZ", c(htz$Fstat, htz$df_denom, htz$p_val))

part("NeweyWest")
run("i <- lm(RealInv ~ RealGNP + RealInt, Investment)")
run("coeftest(i, vcov. = NeweyWest(i, lag = 4, prewhite = FALSE))")
keep("NeweyWest lag", sqrt(diag(NeweyWest(i, lag = 4, prewhite = FALSE))))
keep("NeweyWest", sqrt(diag(NeweyWest(i))))
keep("kernHAC", sqrt(diag(kernHAC(i))))

part("boot")
set.seed(1)
run("slope <- function(d, w) coef(lm(mpg ~ wt + hp + qsec + am, cbind(d, w), weights = w))[2]")
run('b <- boot(mtcars, slope, R = 9999, stype = "f")')
run('L <- empinf(data = mtcars, statistic = slope, stype = "w", type = "inf")')
run('boot.ci(b, type = c("perc", "bca"), L = L)')

write.csv(kept, "docs/data/from_r.csv", row.names = FALSE, quote = FALSE)
