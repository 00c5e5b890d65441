"""Data with effects of firms, years and states."""

import numpy as np
import pandas as pd


def panel(n=160, seed=0):
    """n rows of 16 firms in 4 regions, 6 years and 12 states, none of which holds another but regions the firms."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"firm": rng.permutation(np.arange(n) % 16), "year": 2000 + rng.permutation(np.arange(n) % 6)})
    frame["region"], frame["state"] = frame.firm // 4, rng.permutation(np.arange(n) % 12)
    frame["x"] = rng.normal(size=n) + 0.2 * frame.firm
    frame["z"] = rng.exponential(size=n)
    frame["y"] = frame.x - frame.z + 0.3 * frame.firm + 0.1 * frame.year + (0.3 + frame.z) * rng.normal(size=n)
    frame["w"] = rng.uniform(0.3, 3.0, n)
    return frame
