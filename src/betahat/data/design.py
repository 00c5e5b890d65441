"""`Design`: the regressors, the dependent variable and what stands beside them, of one estimation problem."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from betahat.data.container import Frames
from betahat.data.effects import CODES, SLOPES, Effect
from betahat.data.engine import Block, fold, scan
from betahat.data.kept import SMALL
from betahat.data.products import gram
from betahat.data.sample import COUNTS, WEIGHTS, Sample
from betahat.data.scored import INSTRUMENTS
from betahat.data.source import Held, Source
from betahat.data.threads import remembered
from betahat.data.turned import EXOG, every, selected, turned, with_ones
from betahat.errors import EstimationError, listed

# Up to a quarter of a million numbers, TSQR takes one or two blocks, and no longer than the Gram route.
_SMALL = SMALL


@dataclass(frozen=True)
class Constant:
    """What the columns say of a constant.

    Attributes
    ----------
    count : int or None
        1 if there is one, 0 if the user said that there is none, None if only the rank can tell.
    index : int or None
        The column that is the constant.
    """

    count: int | None
    index: int | None


@dataclass(frozen=True, eq=False)
class Design(Sample):
    """The data of a model of regressors.

    Its source has columns `exog`, (n, k) the regressors, `endog`, (n,), and where there are some `weights`, analytic ones, `offset`, what the
    linear index has beside x'b, `counts`, frequency weights, `effects`, (n, E) levels of absorbed effects, `slopes`, (n, s) variables with a
    coefficient for each level, and `instruments`, (n, q) excluded ones.
    """

    @property
    def width(self) -> int:
        """k, the number of regressors."""
        return self.source.shapes[EXOG][0]

    @property
    def exog(self) -> Tensor:
        """(n, k) all regressors in memory, for what hands them out; passes over them go by blocks."""
        return self.column(EXOG)

    @property
    def endog(self) -> Tensor:
        """(n,) the dependent variable."""
        return self.column("endog")

    @property
    def explained(self) -> str:
        """The dependent variable."""
        return "endog"

    @property
    def target(self) -> Tensor:
        """(n,) the dependent variable."""
        return self.endog

    @property
    def offset(self) -> Tensor | None:
        """(n,) what the linear index has beside x'b; None is nothing."""
        return self.column("offset") if "offset" in self.source.shapes else None

    @remembered
    def effects(self) -> tuple[Effect, ...]:
        """The absorbed effects."""
        if not self.schema.effects:
            return ()
        if self.source.in_turn:
            raise EstimationError(
                f"This needs the levels of {listed([levels.name for levels in self.schema.effects])} of all rows at once, and the rows are read from files or frames; take "
                "HC0 to HC3, Cluster(kind='CR1S') or 'CR3', or fit rows in memory."
            )
        codes, made, first = self.column(CODES), [], 0
        slopes = self.column(SLOPES).to(torch.float64) if SLOPES in self.source.shapes else codes
        for i, levels in enumerate(self.schema.effects):
            last = first + len(levels.variables)
            variables = slopes[:, first:last] if levels.variables else None
            made.append(Effect(levels.name, codes[:, i].contiguous(), levels.count, variables, levels.constant))
            first = last
        return tuple(made)

    @property
    def regressors(self) -> Source:
        """The rows of the regressors alone."""
        return self.source.only(EXOG)

    @property
    def index_columns(self) -> Source:
        """The rows of what a linear index is made of, and how often each counts."""
        return self.source.only(EXOG, "offset", COUNTS)

    @property
    def whitened(self) -> Source:
        """The rows of the least squares problem: regressors, dependent variable and weights of both kinds."""
        return self.source.only(EXOG, "endog", "weights", "counts")

    @remembered
    def names(self) -> tuple[str, ...]:
        """The regressors' names; unnamed ones are x1, x2, ..., and the first that does not vary is const."""
        if self.schema.given_names is not None:
            return self.schema.given_names
        names = [f"x{i}" for i in range(1, self.width + 1)]
        if self.unvarying:
            names = [*names[: self.unvarying[0]], "const", *names[self.unvarying[0] : -1]]
        return tuple(names)

    @remembered
    def _first(self) -> Tensor:
        """(k,) the first row of the regressors that counts."""
        place = 0
        if COUNTS in self.source.shapes:
            counted = scan(self.source.only(COUNTS), _first_counted, self.engine)
            place = next(found for found in counted if found is not None)
        return self.source.read((EXOG,), place, place + 1)[0][0]

    @remembered
    def unvarying(self) -> tuple[int, ...]:
        """The columns that have one value in every row."""
        rows = self.source.only(EXOG, "counts")
        (varies,) = fold(rows, Differs(self._first.to(torch.float64)), self.engine)
        return tuple(i for i, count in enumerate(varies.tolist()) if count == 0)

    @remembered
    def constant(self) -> Constant:
        """Look for a column that does not vary, by statsmodels' rules.

        With several, the first column of ones, else the first that is not zero.
        """
        if self.schema.hasconst is False:
            return Constant(0, None)
        values = self._first.tolist()
        nonzero = [i for i in self.unvarying if values[i] != 0]
        ones = [i for i in nonzero if values[i] == 1]
        if nonzero:
            return Constant(1, (ones or nonzero)[0])
        return Constant(1 if self.schema.hasconst else None, None)

    @property
    def small(self) -> bool:
        """Whether the regressors are at most a quarter of a million numbers, a block or two."""
        return self.rows * self.width <= _SMALL

    @remembered
    def products(self) -> Tensor:
        """(k + q + 1, k + q + 1) the weighted products of the regressors, the instruments and the dependent variable."""
        (joint,) = fold(self.source.only(EXOG, INSTRUMENTS, "endog", "weights", "counts"), _joint_products, self.engine)
        return joint

    @property
    def moments(self) -> tuple[Tensor, Tensor]:
        """(k, k) X'WX and (k,) X'Wy."""
        joint, width = self.products, self.width
        return joint[:width, :width], joint[:width, -1]

    @remembered
    def lengths(self) -> Tensor:
        """(k,) the lengths of the regressors."""
        (squares,) = fold(self.regressors, _squares, self.engine)
        return squares.sqrt()

    @remembered
    def mean_of_endog(self) -> Tensor:
        """() the mean of the dependent variable, each row as often as its weight and its count say."""
        total, weight = fold(self.source.only("endog", "weights", "counts"), _endog_and_weight, self.engine)
        return total / weight

    @remembered
    def largest_of_endog(self) -> float:
        """The largest value of the dependent variable."""
        return max(scan(self.source.only("endog"), _largest_endog, self.engine))

    def tally(self, term: Callable[[Tensor], tuple[Tensor, ...]]) -> list[int]:
        """Count properties of the dependent variable, in rows with a positive weight.

        Parameters
        ----------
        term : callable
            Maps (b,) values to () counts, of which those of several blocks add up.

        Returns
        -------
        list of int
            Their sums.
        """
        found = fold(self.source.only("endog", WEIGHTS, COUNTS), InUse(term), self.engine)
        return [int(count) for count in found]

    def select(self, columns: Sequence[int]) -> Design:
        """Keep some of the regressors.

        Parameters
        ----------
        columns : sequence of int
            Their positions.

        Returns
        -------
        Design
            With their names.
        """
        schema = replace(self.schema, given_names=tuple(self.names[i] for i in columns))
        return replace(self, schema=schema, source=selected(self.source, columns))

    def turned(self, matrix: Tensor, names: tuple[str, ...]) -> Design:
        """Take X M for X.

        Parameters
        ----------
        matrix : Tensor
            (k, r) M.
        names : tuple of str
            (r,) what the new columns are called.

        Returns
        -------
        Design
            Its regressors are computed as they are read, if there are many.
        """
        return replace(self, schema=replace(self.schema, given_names=names), source=turned(self.source, matrix))

    def with_constant_alone(self) -> Design:
        """Take a constant for the regressors.

        Returns
        -------
        Design
            With the same dependent variable, weights and offset.
        """
        schema = replace(self.schema, given_names=("const",), terms=None, hasconst=None)
        return replace(self, schema=schema, source=with_ones(self.source))

    def with_regressors(self, exog: Tensor, names: tuple[str, ...]) -> Design:
        """Take other regressors.

        Parameters
        ----------
        exog : Tensor
            (n, k).
        names : tuple of str
            (k,) what they are called.

        Returns
        -------
        Design
            With the same dependent variable, weights and offset.
        """
        schema = replace(self.schema, given_names=names, terms=None, hasconst=None)
        return replace(self, schema=schema, source=self.source.replaced({EXOG: exog}))

    def in_use(self, places: Tensor) -> Design:
        """Keep some of the rows of the user's data in use.

        Parameters
        ----------
        places : Tensor
            (m,) their positions among those in use.

        Returns
        -------
        Design
            With their labels.
        """
        columns, user_data, container = (
            self.source.take(tuple(self.source.shapes), places),
            self.user_data,
            self.container,
        )
        in_use = places if user_data.in_use is None else user_data.in_use[places]
        kept = Held(dict(zip(self.source.shapes, columns, strict=True)), replace(user_data, in_use=in_use, seals=()))
        if isinstance(container, Frames):
            container = Frames(container.row_labels[places.cpu().numpy()])
        return replace(self, schema=replace(self.schema, container=container), source=kept)

    def every(self, step: int) -> Design:
        """Keep every `step`-th row: a sample to start from.

        Parameters
        ----------
        step : int
            The distance from one row to the next.

        Returns
        -------
        Design
            In memory.
        """
        return replace(self, source=every(self.source, step))


@dataclass(frozen=True, eq=False)
class Differs:
    """Counts, of each column, the rows that differ from (k,) values, without those that occur no times."""

    values: Tensor

    def __call__(self, block: Block) -> tuple[Tensor]:
        """Count a block."""
        differs, counts = torch.ne(block[EXOG], self.values), block.get("counts")
        return ((differs if counts is None else differs & (counts > 0)[:, None]).sum(0),)


@dataclass(frozen=True, eq=False)
class InUse:
    """A term of the dependent variable, in the rows of a block whose weights are not zero."""

    term: Callable[[Tensor], tuple[Tensor, ...]]

    def __call__(self, block: Block) -> tuple[Tensor, ...]:
        """Take the term."""
        y = block["endog"]
        weighted = WEIGHTS in block.columns or COUNTS in block.columns
        return self.term(y[has_weight(block)] if weighted else y)


def has_weight(block: Block) -> Tensor:
    """Return (b,) whether no weight of a row is zero."""
    used = torch.ones(len(block), dtype=torch.bool, device=block["endog"].device)
    for often in (block.get(WEIGHTS), block.get(COUNTS)):
        used = used if often is None else used & (often != 0)
    return used


def whitened(block: Block) -> tuple[Tensor, Tensor]:
    """Return sqrt(w) x and sqrt(w) y of a block."""
    x, y, weights = block[EXOG], block["endog"], block.get("weights")
    if weights is None:
        return x, y
    factor = weights.sqrt()
    return x * factor[:, None], y * factor


def _joint_products(block: Block) -> tuple[Tensor]:
    x, y, weights, counts = block[EXOG], block["endog"], block.get("weights"), block.get("counts")
    both = weights if counts is None else counts if weights is None else weights * counts
    scale, instruments = None if both is None else both.sqrt(), block.get(INSTRUMENTS)
    beside = y if scale is None else scale * y
    if instruments is not None:
        beside = torch.cat([instruments if scale is None else instruments * scale[:, None], beside[:, None]], 1)
    return (gram(x, scale, beside),)


def _first_counted(block: Block) -> int | None:
    """Return the position of the first row that counts; None where a block has none."""
    places = (block[COUNTS] > 0).nonzero()
    return block.start + int(places[0]) if len(places) else None


def _largest_endog(block: Block) -> float:
    return float(block["endog"].max()) if len(block) else -torch.inf


def _endog_and_weight(block: Block) -> tuple[Tensor, Tensor]:
    y = block["endog"]
    scale = torch.ones_like(y, dtype=torch.float64)
    for often in (block.get("weights"), block.get("counts")):
        scale = scale if often is None else scale * often
    return (scale * y).sum(), scale.sum()


def _squares(block: Block) -> tuple[Tensor]:
    return (block[EXOG].square().sum(0),)
