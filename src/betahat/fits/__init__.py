"""From a problem to a `Fit`: what a solver found."""
