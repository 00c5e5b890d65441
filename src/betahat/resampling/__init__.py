"""Random numbers that are functions of a seed and a place, weights of rows made of them, and what a fit becomes under these."""
