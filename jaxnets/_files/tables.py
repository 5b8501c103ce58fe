"""Cells to numbers: which row and column are labels, and how one says so."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from .text import MISSING, number, read_cells

_TIME = re.compile(r"(time|times|t|sec|seconds|ms|s|timestamp|frame|frames|sample|index)([ _(\[].*)?", re.IGNORECASE)


class Table(NamedTuple):
    """`numbers` of cells, NaN where there is none; `texts` of cells that are no numbers; which cells are `empty`."""

    numbers: Float[np.ndarray, "r c"]
    texts: dict[tuple[int, int], str]
    empty: Bool[np.ndarray, "r c"]
    notes: tuple[str, ...]

    def is_text(self) -> Bool[np.ndarray, "r c"]:
        mask = np.zeros(self.numbers.shape, bool)
        for index in self.texts:
            mask[index] = True
        return mask

    def label(self, i: int, j: int) -> str:
        """The text of a cell, a number as it was written."""
        return self.texts.get((i, j), "" if self.empty[i, j] else as_label(self.numbers[i, j]))

    def transposed(self) -> "Table":
        texts = {(j, i): text for (i, j), text in self.texts.items()}
        return Table(self.numbers.T, texts, self.empty.T, self.notes)

    def without(self, header: bool, index: bool) -> "Labelled":
        """The table with its first row (`header`) and first column (`index`) as labels."""
        rows, columns = self.numbers.shape
        values = self.numbers[int(header) :, int(index) :]
        for (i, j), text in self.texts.items():
            if i >= header and j >= index:
                raise ValueError(f"row {i + 1}, column {j + 1} of the table holds {text!r}, which is no number")
        return Labelled(
            values,
            tuple(self.label(i, 0) for i in range(int(header), rows)) if index else None,
            tuple(self.label(0, j) for j in range(int(index), columns)) if header else None,
            self.label(0, 0) if header and index else "",
            _said(header, index),
        )


class Labelled(NamedTuple):
    """Values with the labels of their `rows` and `columns`, the text in the `corner`, and what was taken as labels."""

    values: Float[np.ndarray, "r c"]
    rows: tuple[str, ...] | None
    columns: tuple[str, ...] | None
    corner: str
    said: str


def _said(header: bool, index: bool) -> str:
    if header and index:
        return "first row and column taken as labels"
    return "first row taken as labels" if header else "first column taken as labels" if index else ""


def table_of_text(path: Path) -> Table:
    """The table in a file of text. Raises `ValueError` if it is empty, no text, or its rows differ in length."""
    cells = read_cells(path)
    if cells.numbers is not None:
        header, numbers = cells.rows, cells.numbers
        if header and len(header[0]) == numbers.shape[1] - 1:
            header = [["", *header[0]]]
        if header and len(header[0]) != numbers.shape[1]:
            raise ValueError(f"row 1 of the table has {len(header[0])} entries, row 2 has {numbers.shape[1]}")
        top = _table(header, cells.decimal) if header else None
        if top is None:
            return Table(numbers, {}, np.zeros(numbers.shape, bool), cells.notes)
        empty = np.concatenate([top.empty, np.zeros(numbers.shape, bool)])
        return Table(np.concatenate([top.numbers, numbers]), top.texts, empty, cells.notes)
    width = len(cells.rows[0])
    for i, row in enumerate(cells.rows, start=1):
        if len(row) != width:
            raise ValueError(f"row {i} of the table has {len(row)} entries, the first has {width}")
    return _table(cells.rows, cells.decimal)._replace(notes=cells.notes)


def _table(rows: list[list[str]], decimal: str) -> Table:
    numbers = np.full((len(rows), len(rows[0])), np.nan)
    empty, texts = np.zeros(numbers.shape, bool), {}
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            value = number(cell, decimal)
            if value is None:
                texts[i, j] = cell
            else:
                numbers[i, j] = value
                empty[i, j] = not cell
                if cell and cell.lower() in MISSING and i == 0:
                    texts[i, j] = cell  # a unit may be called NA
    if all((0, j) not in texts or texts[0, j].lower() in MISSING for j in range(len(rows[0]))):
        texts = {index: text for index, text in texts.items() if index[0] > 0}
    return Table(numbers, texts, empty, ())


def as_label(value: float) -> str:
    return str(int(value)) if np.isfinite(value) and value == int(value) else repr(float(value))


def place(i: int, j: int, rows: tuple[str, ...] | None, columns: tuple[str, ...] | None) -> str:
    """ "row 3, column 5 (n3, n5)", counted from 0."""
    names = [labels[k] for k, labels in ((i, rows), (j, columns)) if labels is not None]
    return f"row {i}, column {j}" + (f" ({', '.join(names)})" if names else "")


def square(table: Table) -> Labelled:
    """The table as a square matrix, its labels set apart."""
    text, (rows, columns) = table.is_text(), table.numbers.shape
    header, index = bool(text[0, 1:].any()), bool(text[1:, 0].any())
    corner = bool(text[0, 0] or table.empty[0, 0])
    if header and not index:
        index = rows == columns or (bool(table.empty[0, 0]) and columns > 1)
    elif index and not header:
        header = rows == columns
    elif not header and rows == columns > 1:
        header = index = (corner and _labels_apart(table)) or _numbers_are_labels(table.numbers)
    elif not header and rows == columns + 1:
        header = corner or _increasing(table.numbers[0])
    elif not header and columns == rows + 1:
        index = corner or _increasing(table.numbers[:, 0])
    return table.without(header, index)


def recording(table: Table) -> Labelled:
    """The table as time x units; a first column that is called time, or is a grid of times, is set apart."""
    text, columns = table.is_text(), table.numbers.shape[1]
    names = [name for (i, _), name in table.texts.items() if i == 0]
    header = bool(names) and (len(names) == columns or not all(map(str.isdecimal, names)))  # or times in nanoseconds
    times = table.numbers[int(header) :, 0]
    named = header and (bool(_TIME.fullmatch(table.label(0, 0))) or bool(table.empty[0, 0]))
    steps = np.diff(times)
    even = len(steps) > 1 and bool(np.all(steps > 0)) and bool(np.ptp(steps) <= 1e-3 * np.mean(steps))
    index = columns > 1 and (even or (named and bool(np.all(steps > 0))) or bool(text[int(header) :, 0].any()))
    if not header and len(steps) and columns > 2 and _grid_above(table.numbers):
        header = True
    return table.without(header, index)


def _grid_above(numbers: np.ndarray) -> bool:
    """Whether a first row of 0, 1, 2, ... are the numbers of columns, as pandas writes them."""
    whole = numbers[0] == np.arange(numbers.shape[1])
    return bool(whole.all()) and bool(np.any(numbers[1:] != np.round(numbers[1:])))


def _increasing(x: np.ndarray) -> bool:
    return len(x) > 1 and bool(np.all(x == np.round(x)) and np.all(np.diff(x) > 0))


def _labels_apart(table: Table) -> bool:
    across, down = table.numbers[0, 1:], table.numbers[1:, 0]
    distinct = all(len(set(x)) == len(x) and np.all(x == np.round(x)) for x in (across, down))
    return distinct and bool(np.all(np.isfinite(across)) and np.all(np.isfinite(down)))


def _numbers_are_labels(numbers: np.ndarray) -> bool:
    """Whether the first row and column are the same whole, increasing numbers beside a body of another kind."""
    across, down, body = numbers[0, 1:], numbers[1:, 0], numbers[1:, 1:]
    if len(across) < 2 or not np.array_equal(across, down) or not _increasing(across):
        return False
    if np.any(body != np.round(body)):
        return True
    if len(across) < 3:
        return False
    toeplitz = np.array_equal(numbers[1:, 1:], numbers[:-1, :-1])  # distances |i - j|
    return not toeplitz and (bool(np.all(np.diff(across) == 1)) or not np.array_equal(numbers, numbers.T))
