"""Lists of edges: which columns of a table are the sender, the receiver and the weight of a connection."""

import re
from typing import NamedTuple

import numpy as np
import scipy.sparse

from .._files import Table, as_label

_PRE = {"pre", "presynaptic", "source", "src", "from", "sender", "start", "tail"}
_POST = {"post", "postsynaptic", "target", "tgt", "dst", "dest", "destination", "to", "receiver", "end", "head"}
_WEIGHT = re.compile(
    r"w|wt|weights?|values?|counts?|n|num.*|number.*|strength|conductance|size|n?_?(syn|contacts).*|w_?ij"
)


class Edges(NamedTuple):
    """Columns of a table: sender, receiver, weight (None: all are 1), and whether the first row names them."""

    pre: int
    post: int
    weight: int | None
    header: bool


def edges_in(table: Table, certain: bool = False) -> Edges | None:
    """The columns of a list of edges; None if the table is anything else. With `certain` a square is one, too."""
    text, (rows, columns) = table.is_text(), table.numbers.shape
    if columns < 2:
        return None
    names = [table.texts.get((0, j), "") for j in range(columns)]
    named = bool((text[0] | table.empty[0]).all())
    if named and (found := _by_name(names)):
        return found
    header = bool(text[0].all()) and not (columns < 4 and text[1:, :2].all() and not text[0, 2:].any())
    if columns > 3 or text[int(header) :, 2:].any():
        return None
    weight = 2 if columns == 3 else None
    body = slice(int(header), None)
    units = text[body, :2] | (table.numbers[body, :2] == np.round(table.numbers[body, :2]))
    if rows == int(header) or not units.all() or np.any(table.numbers[body, :2] < 0):
        return None
    if text[body, :2].all():  # names on either side are no weights
        return Edges(0, 1, weight, header)
    if text[body, :2].any() or table.empty[0, 0]:
        return None
    indexed = header and rows == columns  # a square beside a column of labels
    if certain or not (indexed or rows - int(header) == columns) or _reads_as_edges(table.numbers[body], weight):
        return Edges(0, 1, weight, header)
    return None


def _by_name(names: list[str]) -> Edges | None:
    def column(words: set[str]) -> int | None:
        tokens = [set(re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())) for name in names]
        found = [j for j, parts in enumerate(tokens) if parts & words]
        return min(found, key=lambda j: len(names[j])) if found else None  # "pre" before "pre_x"

    pre, post = column(_PRE), column(_POST)
    if pre is None or post is None or pre == post:
        return None
    rest = [j for j in range(len(names)) if j not in (pre, post)]
    weights = [j for j in rest if _WEIGHT.fullmatch(names[j].lower())]
    if len(rest) > 1 and not weights:
        raise ValueError(f"it is a list of edges with the columns {', '.join(names)}: call one of them weight")
    return Edges(pre, post, weights[0] if weights else rest[0] if rest else None, True)


def _reads_as_edges(numbers: np.ndarray, weight: int | None) -> bool:
    """Whether a square of numbers is a list of edges: units counted from 0 or 1, no loop, no pair twice, no zero."""
    if weight is None:
        return False
    pairs = {tuple(pair) for pair in numbers[:, :2].tolist()}
    units = np.unique(numbers[:, :2])
    counted = len(units) > 1 and units[0] in (0, 1) and np.array_equal(units, units[0] + np.arange(len(units)))
    distinct = len(pairs) == len(numbers) and all(a != b for a, b in pairs)
    return bool(counted and distinct and np.all(numbers[:, 2] != 0) and np.any(np.diagonal(numbers) != 0))


def matrix_of_edges(table: Table, edges: Edges) -> tuple[scipy.sparse.csr_array, tuple[str, ...] | None, str]:
    """J[post, pre] = weight, the labels of units, and what was read.

    Units that are whole numbers from 0 or 1 on are counted, those without edges too; others are named by their labels.
    """
    start, text = int(edges.header), table.is_text()
    ends = np.array([edges.pre, edges.post])
    if text[start:, ends].any():
        order: dict[str, int] = {}
        index = np.array(
            [[order.setdefault(table.label(i, j), len(order)) for j in ends] for i in range(start, len(text))]
        )
        labels = tuple(order)
    else:
        ids = table.numbers[start:, ends]
        if np.any(~np.isfinite(ids)):
            row = int(np.argwhere(~np.isfinite(ids))[0, 0])
            raise ValueError(f"row {row + start + 1} of the table names no unit")
        units, index = np.unique(ids, return_inverse=True)
        index = index.reshape(ids.shape)
        if units[0] in (0, 1) and units[-1] - units[0] < 2 * len(units):
            index = (ids - units[0]).astype(int)
            units = np.arange(units[0], units[-1] + 1)
        labels = tuple(as_label(unit) for unit in units)
    weights = np.ones(len(index)) if edges.weight is None else table.numbers[start:, edges.weight]
    n, count = len(labels), len(index)
    matrix = scipy.sparse.coo_array((weights, (index[:, 1], index[:, 0])), shape=(n, n)).tocsr()
    said = f"{n} units, {count} edges (pre, post{', weight' if edges.weight is not None else ''})"
    if matrix.nnz < count:
        said += f", weights of {count - matrix.nnz} repeated edges added"
    return matrix, None if labels == tuple(map(str, range(n))) else labels, said
