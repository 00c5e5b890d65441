"""Functions of blocks of rows, which workers in other processes import."""

import os
import signal
import time

import torch


class Awkward(Exception):
    """An error that cannot be read back from a pickle."""

    def __init__(self, what, code):
        super().__init__(f"{what} {code}")


def last(block):
    """Return a number of each row."""
    return [part if part.ndim == 1 else part[:, -1] for part in block.columns.values()][-1]


def weighted(block):
    """Sum rows by their places."""
    return ((torch.arange(len(block)) + block.start).double() @ last(block),)


def place(block):
    """Return where a block is."""
    return block.start, len(block)


def fails(kind, text, block):
    """Raise an error of the rows of a later block."""
    if block.start >= 5_000:
        raise kind(text)
    return (block["endog"].sum(),)


def awkward(block):
    """Raise what no pickle holds."""
    raise Awkward("a", 3)


def dies(block):
    """End the process."""
    if block.start:
        os.kill(os.getpid(), signal.SIGKILL)
    return (block["endog"].sum(),)


def dies_once(path, block):
    """End the process, unless one did."""
    if block.start:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            pass
        else:
            os.kill(os.getpid(), signal.SIGKILL)
    return (block["endog"].sum(),)


def slow(block):
    """Take a while."""
    time.sleep(0.2)
    return (block["endog"].sum(),)
