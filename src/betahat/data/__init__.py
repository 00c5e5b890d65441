"""Arrays, tensors, dataframes and formulas become one `Design`; its rows come in blocks."""
