"""Texts of the user's, such as names and notes, made such that what is printed is what is there."""

from __future__ import annotations

import re

# What breaks lines, and would break rows; a tab is as wide as the terminal likes.
_BREAKS = re.compile(r"[\t\v\f\r\x1c-\x1f\x85\u2028\u2029]")
# What has no look of its own: controls, which terminals obey; marks that turn the direction of the text or have no width; halves of letters,
# which no file can hold. The joiners of scripts that need them, U+200C and U+200D, are none of these.
_HIDDEN = re.compile(
    r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e007f]"
)


def printable(text: str) -> str:
    r"""Return a text in one line, in which what cannot be seen is written as Python writes it.

    Examples
    --------
    >>> print(printable("wage\t\u202egnp\u202c \x1b[31mred"))
    wage \u202egnp\u202c \x1b[31mred
    """
    return printable_lines(re.sub(r"\r?\n", " ", text))


def printable_lines(text: str) -> str:
    """Return a text of several lines in which what cannot be seen is written as Python writes it."""
    one_kind = _BREAKS.sub(" ", text.replace("\r\n", "\n"))
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), one_kind)


def whole(text: str) -> str:
    """Return a text in which halves of letters, which no file and no index can hold, are written as Python writes them."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
