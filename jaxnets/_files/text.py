"""Text to cells: encodings, comments, separators, quotes, decimal commas."""

import csv
import gzip
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

# What programs write where there is no number.
MISSING = {"", "na", "n/a", "#n/a", "nan", "-nan", "+nan", "null", "none", "<na>", "nil", ".", "-", "#num!", "missing"}
_TRUE, _FALSE = {"true"}, {"false"}
_PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eEdD][+-]?\d+)?|[+-]?inf(inity)?", re.IGNORECASE)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?")
_WITH_COMMA = re.compile(r"[-+\N{MINUS SIGN}]?([\d. ]*,[\deE+-]+|\d+(,\d+)+\.\d+)")
_NETWORKX = re.compile(r"(.*?)\s*\{\s*(?:.*?['\"]weight['\"]\s*:\s*([^,}\s]+).*)?\}")
_LONGEST = 15  # digits of whole numbers that floats hold
_LOOKED_AT = 100  # lines from which separator and decimal mark are found


class Cells(NamedTuple):
    """A table of text: `rows` of cells, or `numbers` where all cells below `header` are plain numbers."""

    rows: list[list[str]]
    numbers: np.ndarray | None
    decimal: str
    notes: tuple[str, ...]


def read_cells(path: Path) -> Cells:
    """The cells of a table of text. Raises `ValueError` if it is empty or no text."""
    text, notes = _decoded(path.read_bytes())
    lines = _lines(text)
    if not lines:
        raise ValueError("the table is empty")
    separator = None
    if re.fullmatch(r"sep=.", lines[0].strip()):  # how Excel says it
        separator, lines = lines[0].strip()[-1], lines[1:]
    if separator is None:
        separator = _separator(lines[:_LOOKED_AT])
    head = _split(lines[:_LOOKED_AT], separator)
    decimal = _decimal(head)
    if decimal == ",":
        notes = (*notes, "decimal commas")
    plain = decimal == "." and all(_PLAIN.fullmatch(cell) and not _is_id(cell) for row in head[1:] for cell in row)
    if plain and len(lines) > _LOOKED_AT:
        first = 0 if all(_PLAIN.fullmatch(cell) and not _is_id(cell) for cell in head[0]) else 1
        try:
            numbers = np.loadtxt(lines[first:], delimiter=separator, comments=None, quotechar='"', ndmin=2)
            return Cells(head[:first], numbers, decimal, notes)
        except ValueError:
            pass  # what is wrong is found, and named, cell by cell
    return Cells(_even(_split(lines, separator)), None, decimal, notes)


def number(cell: str, decimal: str) -> float | None:
    """The number in a cell, NaN where it says that there is none, None where it is text: long identifiers are."""
    cell = cell.strip().replace("\N{MINUS SIGN}", "-")
    if _is_id(cell):
        return None
    if cell.lower() in MISSING:
        return float("nan")
    cell = re.sub(r"(?<=\d)[ '\u00a0\u2009\u202f](?=\d{3}(?!\d))", "", cell)
    if decimal == ",":
        cell = cell.translate(str.maketrans(",.", ".,"))
    if _THOUSANDS.fullmatch(cell):
        cell = cell.replace(",", "")
    if _PLAIN.fullmatch(cell):
        return float(re.sub("[dD]", "e", cell) if cell[-1].isdigit() else cell)
    return 1.0 if cell.lower() in _TRUE else 0.0 if cell.lower() in _FALSE else None


def _is_id(cell: str) -> bool:
    """Whether a cell is a whole number that a float would round, as neurons of large connectomes are called."""
    return len(cell) > _LONGEST and cell.isdecimal()


def _decoded(data: bytes) -> tuple[str, tuple[str, ...]]:
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            return data.decode(encoding), ()
    if b"\x00" in data[:400]:  # every other byte of plain text in UTF-16
        if len(data) % 2 == 0 and data[1::2][:100].count(0) > 0.9 * len(data[1::2][:100]):
            return data.decode("utf-16-le"), ()
        if len(data) % 2 == 0 and data[::2][:100].count(0) > 0.9 * len(data[::2][:100]):
            return data.decode("utf-16-be"), ()
        raise ValueError("it is no text")
    try:
        return data.decode("utf-8"), ()
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace"), ("read as Windows text",)


def _lines(text: str) -> list[str]:
    """Lines without comments; a dictionary of networkx gives its weight."""
    lines = []
    for line in re.split(r"\r\n|\n|\r", text):
        start = line.lstrip(" ")
        comment = start.startswith(("#", "%", "//")) and not start.lower().startswith(("#n/a", "#num!"))
        if comment or not line.strip():
            continue
        if '"' not in line:
            line = re.sub(r"\s#(?![nN]/|[nN][uU][mM]).*$", "", line)
        if line.rstrip().endswith("}") and (found := _NETWORKX.fullmatch(line.strip())):
            line = f"{found[1]} {found[2] or '1'}"
        lines.append(line)
    return lines


def _split(lines: list[str], separator: str | None) -> list[list[str]]:
    if separator is None:
        lines = [line.replace("\t", " ").strip() for line in lines]
    rows = csv.reader(lines, delimiter=separator or " ", quotechar='"', skipinitialspace=True)
    return [[cell.strip().strip("'") for cell in row] for row in rows]


def _separator(lines: list[str]) -> str | None:
    """The mark that splits lines into rows of one length with most numbers; None for white space."""

    def score(mark: str | None) -> tuple[float, ...]:
        split = _split(lines, mark)
        rows = _even(split)
        decimal = _decimal(rows)
        cells = [cell for row in rows for cell in row]
        numeric = float(np.mean([number(cell, decimal) is not None for cell in cells]))
        even = len({len(row) for row in rows}) == 1
        exact = len({len(row) for row in split}) == 1
        # A mark inside a cell ("n0 left", 1,5) splits unevenly, or leaves what is no number.
        return (even and len(rows[0]) > 1, exact, numeric, len(rows[0]))

    found = [mark for mark in ("\t", ";", "|", ",") if mark in lines[0] or mark in lines[-1]]
    marks = [*found, None] if len(lines[-1].split()) > 1 or not found else found
    return max(marks, key=score) if len(marks) > 1 else marks[0]


def _decimal(rows: list[list[str]]) -> str:
    """A comma where numbers have commas that do not separate thousands, else a point."""
    commas = [cell for row in rows for cell in row if _WITH_COMMA.fullmatch(cell)]
    grouped = all(_THOUSANDS.fullmatch(cell) for cell in commas)
    return "," if commas and not (grouped and any("." in cell or cell.count(",") > 1 for cell in commas)) else "."


def _even(rows: list[list[str]]) -> list[list[str]]:
    """Rows without the empty cells that trailing separators leave, and with the corner that R leaves out."""
    width = max(len(row) for row in rows)
    while width > 1 and all(len(row) < width or not row[width - 1] for row in rows):
        width -= 1
    rows = [row[:width] for row in rows]
    if len(rows) > 1 and len(rows[0]) == width - 1 and all(len(row) == width for row in rows[1:]):
        rows = [["", *rows[0]], *rows[1:]]
    return rows
