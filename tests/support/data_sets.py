"""Data that the tests of a folder share, by seeded generators; what one file alone needs stands in it."""

import numpy as np
import pandas as pd


def people():
    """80 rows of numbers, categories, booleans and dates, without missing values."""
    rng = np.random.default_rng(7)
    n = 80
    frame = pd.DataFrame(
        {
            "x1": rng.normal(size=n),
            "x2": rng.normal(2.0, 3.0, size=n),
            "pos": rng.uniform(0.5, 9.0, size=n),
            "g": rng.choice(["north", "south", "west"], n),
            "h": pd.Categorical(rng.choice(["lo", "mid", "hi"], n), categories=["lo", "mid", "hi"]),
            "i": rng.integers(0, 4, n),
            "flag": rng.random(n) > 0.4,
            "w": rng.uniform(0.2, 3.0, size=n),
        },
        index=pd.Index([f"p{i}" for i in range(n)], name="person"),
    )
    noise = rng.normal(size=n) * (0.5 + 0.1 * frame["pos"])
    frame["y"] = 1.0 + frame.x1 - 0.5 * frame.x2 + 0.3 * (frame.g == "west") + 0.2 * frame.i + noise
    frame["wage"] = np.exp(0.3 * frame["y"])
    frame["odd name"] = frame["x2"] ** 2
    return frame


def wages():
    """90 rows of wages, with a 0/1 variable, a class, and groups of three sizes."""
    rng = np.random.default_rng(11)
    frame = pd.DataFrame(rng.normal(size=(90, 3)), columns=["educ", "exper", "female"])
    frame["female"] = (frame["female"] > 0).astype(float)
    frame["wage"] = 1 + frame["educ"] - 0.3 * frame["exper"] + rng.normal(size=90) * (1 + frame["educ"] ** 2)
    frame["work"] = (frame["wage"] > 1).astype(float)
    frame["region"] = np.arange(90) % 3
    frame["state"] = np.arange(90) % 12
    frame["year"] = np.arange(90) % 15
    frame["choice"] = rng.integers(0, 3, 90)
    return frame


def workers():
    """24 rows, so few that t and the normal distribution print different numbers."""
    rng = np.random.default_rng(7)
    rows = 24
    educ, exper = rng.normal(size=rows), rng.normal(size=rows) + 1.0
    return pd.DataFrame(
        {
            "educ": educ,
            "exper": exper,
            "wage": 0.5 + 0.6 * educ - 0.45 * exper + rng.normal(size=rows),
            "union": (0.7 * educ + rng.logistic(size=rows) > 0).astype(int),
            "kids": rng.poisson(np.exp(0.3 * educ)),
            "job": rng.integers(0, 3, size=rows),
            "firm": np.arange(rows) // 4,
            "region": rng.choice(["north", "south", "west"], size=rows),
            "note": np.where(np.arange(rows) % 3 == 0, np.nan, 1.0),
        }
    )
