"""`add_constant`: a column of ones beside the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import narwhals as nw
import numpy as np
import torch

from betahat.data.arrays import read_columns
from betahat.data.frame import narwhals_of
from betahat.data.modes import check_held
from betahat.errors import DataError, OptionError, check_flag, is_one_of, listed, shown
from betahat.lazy import lazily

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


def add_constant(data: Any, prepend: bool = True, has_constant: Literal["skip", "add", "raise"] = "skip") -> Any:
    """Add a column of ones, called "const" in a dataframe, and return the same kind of data, on the same device.

    Parameters
    ----------
    data : array_like, Tensor or dataframe
        (n,) or (n, k).
    prepend : bool
        Put the column first (the default) or last.
    has_constant : {"skip", "add", "raise"}
        What to do if there is a nonzero constant already.

    Returns
    -------
    array, Tensor or dataframe
        (n, k + 1), or `data` where it has a constant and `has_constant` is "skip".

    Raises
    ------
    DataError, OptionError

    References
    ----------
    statsmodels.tools.tools.add_constant, whose names and defaults these are.

    Examples
    --------
    >>> import betahat as bh
    >>> bh.add_constant([[2.0], [3.0]])
    array([[1., 2.],
           [1., 3.]])
    """
    check_flag("prepend", prepend)
    if not is_one_of(has_constant, ("skip", "add", "raise")):
        raise OptionError(f"has_constant is {shown(has_constant)}; use 'skip', 'add' or 'raise'.")
    columns = read_columns(data, "data", None, None)
    check_held(columns.values, "data")
    values = columns.values if columns.values.ndim == 2 else columns.values[:, None]
    if not len(values):
        raise DataError("data is empty: it has no row; pass at least one.")
    if has_constant != "add":
        fixed = (values == values[0]).all(0) & (values[0] != 0)
        if bool(fixed.any()):
            if has_constant == "raise":
                where = [columns.names[i] if columns.names else i for i in fixed.nonzero().flatten().tolist()]
                raise DataError(
                    f"data already has a constant, in column {listed(where)}; pass has_constant='skip' or 'add'."
                )
            return data
    if columns.index is not None:
        if columns.names is not None and "const" in columns.names:
            raise DataError("data has a column called 'const' that is not a constant; rename it.")
        return _with_ones(data, prepend)
    ones = torch.ones(len(values), 1, dtype=values.dtype, device=values.device)
    out = torch.cat([ones, values] if prepend else [values, ones], 1)
    return out if columns.is_tensor else out.numpy()


def _with_ones(data: Any, prepend: bool) -> Any:
    if isinstance(data, pd.Series | pd.DataFrame):
        frame = data.to_frame() if isinstance(data, pd.Series) else data.copy()
        label = ("const", *[""] * (frame.columns.nlevels - 1)) if frame.columns.nlevels > 1 else "const"
        frame.insert(0 if prepend else frame.shape[1], label, 1.0)
        return frame
    read = narwhals_of(data, "data")
    native = read.to_frame() if isinstance(read, nw.Series) else read
    ones = nw.new_series("const", np.ones(len(native)), backend=native.implementation)
    columns = [native[name] for name in native.columns]
    return native.select(*([ones, *columns] if prepend else [*columns, ones])).to_native()
