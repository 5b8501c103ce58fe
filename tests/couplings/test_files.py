"""Matrices and lists of edges as pandas, Excel, R, MATLAB, SciPy and networkx write them."""

import gzip

import numpy as np
import pandas
import pytest
import scipy.io
import scipy.sparse

from jaxnets.couplings import read_matrix

N = 4
MATRIX = np.random.default_rng(0).standard_normal((N, N)).round(4)
NAMES = ["n0", "n 1", "n,2", "x"]
FRAME = pandas.DataFrame(MATRIX, NAMES, NAMES)


def _rows(separator, end="\n", matrix=MATRIX, trailing=""):
    return end.join(separator.join(f"{x:.4f}" for x in row) + trailing for row in matrix) + end


def _numbered(first, corner, integers=False):
    labels = range(first, first + N)
    body = np.round(10 * MATRIX) if integers else MATRIX
    lines = [",".join([corner, *map(str, labels)])]
    return "\n".join(lines + [",".join([str(i), *map(str, row)]) for i, row in zip(labels, body, strict=True)])


BOTH, ROW, COLUMN = (f"first {part} taken as labels" for part in ("row and column", "row", "column"))
NUMBERS = ("0", "1", "2", "3")
TEXTS = {
    "pandas": (FRAME.to_csv(), BOTH, NAMES),
    "pandas, named index": (FRAME.rename_axis("unit").to_csv(), BOTH, NAMES),
    "pandas, no index": (FRAME.to_csv(index=False), ROW, NAMES),
    "pandas, no header": (FRAME.to_csv(header=False), COLUMN, NAMES),
    "pandas, counted": (pandas.DataFrame(MATRIX).to_csv(), BOTH, NUMBERS),
    "pandas, counted, no index": (pandas.DataFrame(MATRIX).to_csv(index=False), ROW, NUMBERS),
    "pandas, counted, no header": (pandas.DataFrame(MATRIX).to_csv(header=False), COLUMN, NUMBERS),
    "pandas, names above a counted index": (pandas.DataFrame(MATRIX, columns=NAMES).to_csv(), BOTH, NUMBERS),
    "pandas, tabs": (FRAME.to_csv(sep="\t"), BOTH, NAMES),
    "pandas, German": (FRAME.to_csv(sep=";", decimal=","), BOTH, NAMES),
    "pandas, quoted commas": (FRAME.to_csv(decimal=","), BOTH, NAMES),
    "pandas, all quoted": (FRAME.to_csv(quoting=1), BOTH, NAMES),
    "Excel": ("sep=;\r\n" + FRAME.to_csv(sep=";", decimal=",", lineterminator="\r\n"), BOTH, NAMES),
    "R, write.table": (
        "\n".join(
            [
                '"a" "b" "c" "d"',
                *(f'"{k}" {_rows(" ", matrix=[row])}'.strip() for k, row in zip("abcd", MATRIX, strict=True)),
            ]
        ),
        BOTH,
        "abcd",
    ),
    "MATLAB, save -ascii": ("\n".join("   " + "   ".join(f"{x:.7e}" for x in row) for row in MATRIX), "", None),
    "Fortran": (_rows(" ").replace("\n", "D+00\n").replace(" ", "D+00 "), "", None),
    "commas and spaces": (_rows(", "), "", None),
    "decimal commas and spaces": (_rows(" ").replace(".", ","), "decimal commas", None),
    "trailing commas": (_rows(",", trailing=","), "", None),
    "old Macintosh": (_rows("\t", "\r"), "", None),
    "bars": (_rows("|"), "", None),
    "comments": ("# weights\n% of 4 units\n" + _rows(",").replace("\n", "  # a row\n"), "", None),
    "blank lines": (_rows(",").replace("\n", "\n\n"), "", None),
    "minus signs of typography": (_rows(",").replace("-", "−"), "", None),
    "numbers as labels": (_numbered(101, "0"), BOTH, ("101", "102", "103", "104")),
    "counts with numbers as labels": (_numbered(101, "0", integers=True), BOTH, ("101", "102", "103", "104")),
    "numbers as labels, empty corner": (_numbered(7, ""), BOTH, ("7", "8", "9", "10")),
    "numbers as labels, named corner": (_numbered(1, "id"), BOTH, ("1", "2", "3", "4")),
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gzip"])
def test_tables(tmp_path, name, encoding):
    text, said, labels = TEXTS[name]
    data = gzip.compress(text.encode()) if encoding == "gzip" else text.encode(encoding)
    path = tmp_path / ("w.csv.gz" if encoding == "gzip" else "w.csv")
    path.write_bytes(data)
    found = read_matrix(path)
    expected = np.round(10 * MATRIX) if name.startswith("counts") else MATRIX
    np.testing.assert_allclose(found.matrix, expected, atol=1e-12)
    assert found.said == f"4 x 4 weights{', ' if said else ''}{said}" or (
        said in found.said and "decimal" in found.said
    )
    assert found.labels == (None if labels is None else tuple(labels))
    assert repr(found) == found.said


def test_large_tables_are_read_by_numpy(tmp_path):
    matrix = np.random.default_rng(1).standard_normal((150, 150))
    frame = pandas.DataFrame(matrix)
    for name, options in {"plain": dict(header=False, index=False), "header": dict(index=False), "both": {}}.items():
        frame.to_csv(tmp_path / "w.csv", **options)
        found = read_matrix(tmp_path / "w.csv")
        np.testing.assert_array_equal(found.matrix, matrix)
        assert (found.labels is None) == (name == "plain")
    np.savetxt(tmp_path / "w.csv", matrix[:, :-1])
    with pytest.raises(ValueError, match=r"square matrix, got shape \(150, 149\)"):
        read_matrix(tmp_path / "w.csv")


@pytest.mark.parametrize("matrix", [np.abs(np.subtract.outer(range(5), range(5))), np.ones((3, 3)), [[0, 1], [1, 0]]])
def test_what_looks_like_labels_and_is_none(tmp_path, matrix):
    np.savetxt(tmp_path / "w.csv", matrix, delimiter=",", fmt="%d")
    found = read_matrix(tmp_path / "w.csv")
    np.testing.assert_array_equal(found.matrix, matrix)
    assert found.labels is None


def test_columns_in_another_order_than_rows(tmp_path):
    FRAME[NAMES[::-1]].to_csv(tmp_path / "w.csv")
    found = read_matrix(tmp_path / "w.csv")
    np.testing.assert_array_equal(found.matrix, MATRIX)
    assert "order of the rows" in found.said and found.labels == tuple(NAMES)


def test_transpose_and_thousands(tmp_path):
    (tmp_path / "w.csv").write_text('"1,234.5",2\n3,"-12,345,678.0"\n')
    found = read_matrix(tmp_path / "w.csv", transpose=True)
    np.testing.assert_array_equal(found, [[1234.5, 3], [2, -12345678.0]])
    assert found.said == "2 x 2 weights, transposed"
    (tmp_path / "w.csv").write_text("1.234,5;2\n3;-12 345 678,0\n")
    np.testing.assert_array_equal(read_matrix(tmp_path / "w.csv").matrix, [[1234.5, 2], [3, -12345678.0]])


# --- lists of edges: 0 -> 1 of weight 2, 1 -> 2 of weight 3, 2 -> 0 of weight 1

CHAIN = np.array([[0, 0, 1], [2, 0, 0], [0, 3, 0]])
IDS = tuple(f"72057594061111111{k}" for k in range(3))  # as FlyWire calls neurons; one float for all three
EDGES = {
    "header": ("pre,post,weight\n0,1,2\n1,2,3\n2,0,1\n", None),
    "receiver first": ("post,pre,weight\n1,0,2\n2,1,3\n0,2,1\n", None),
    "graph": ("Source;Target;Type;Weight\n0;1;Directed;2\n1;2;Directed;3\n2;0;Directed;1\n", None),
    "connectome": (
        "pre_pt_root_id,post_pt_root_id,neuropil,syn_count\n720,731,A,1\n720,731,B,1\n731,742,A,3\n742,720,A,1\n",
        ("720", "731", "742"),
    ),
    "camel case": ("bodyId_pre,bodyId_post,weight\n720,731,2\n731,742,3\n742,720,1\n", ("720", "731", "742")),
    "pandas": (",pre,post,weight\n0,0,1,2\n1,1,2,3\n2,2,0,1\n", None),
    "other names": ("a,b,x\n0,1,2\n1,2,3\n2,0,1\n0,2,0\n", None),
    "three lines": ("0 1 2\n1 2 3\n2 0 1\n", None),
    "three lines, real weights": ("0,1,2.0\n1,2,3.0\n2,0,1.0\n", None),
    "from 1": ("1 2 2\n2 3 3\n3 1 1\n", ("1", "2", "3")),
    "five lines": ("0\t1\t2\n1\t2\t2\n1\t2\t1\n2\t0\t1\n0\t2\t0\n", None),
    "names": ("a,b,2\nb,c,3\nc,a,1\n", ("a", "b", "c")),
    "names, German": ("from;to;w\na;b;2,0\nb;c;3,0\nc;a;1,0\n", ("a", "b", "c")),
    "identifiers beyond floats": (
        f"{IDS[0]},{IDS[1]},2\n{IDS[1]},{IDS[2]},3\n{IDS[2]},{IDS[0]},1\n",
        IDS,
    ),
    "names with a header": ("from,to,w\na,b,2\nb,c,3\nc,a,1\n", ("a", "b", "c")),
    "networkx": ("0 1 {'weight': 2.0}\n1 2 {'color': 'red', 'weight': 3}\n2 0 {}\n", None),
}


@pytest.mark.parametrize("name", EDGES)
def test_edges(tmp_path, name):
    text, labels = EDGES[name]
    (tmp_path / "edges.csv").write_text(text)
    found = read_matrix(tmp_path / "edges.csv")
    assert scipy.sparse.issparse(found.matrix)
    np.testing.assert_array_equal(found.dense(), CHAIN)
    assert found.labels == labels and found.said.startswith("3 units, ") and "(pre, post, weight)" in found.said
    assert ("repeated" in found.said) == (name in ("connectome", "five lines"))


def test_identifiers_beyond_floats_in_large_tables(tmp_path):
    ids = [720575940611111111 + k for k in range(150)]
    lines = ["pre,post,weight", *(f"{a},{b},1" for a, b in zip(ids, ids[1:], strict=False))]
    (tmp_path / "w.csv").write_text("\n".join(lines))
    found = read_matrix(tmp_path / "w.csv")
    assert found.matrix.shape == (150, 150) and found.labels == tuple(map(str, ids))


def test_edges_without_weights_and_units_without_edges(tmp_path):
    (tmp_path / "g.edgelist").write_text("0 1\n1 4\n4 0\n")
    found = read_matrix(tmp_path / "g.edgelist")
    np.testing.assert_array_equal(np.argwhere(found.dense()), [[0, 4], [1, 0], [4, 1]])
    assert found.said == "5 units, 3 edges (pre, post)"


def test_kind_overrides_the_looks(tmp_path):
    path = tmp_path / "w.csv"
    path.write_text("0 1 2\n1 2 3\n2 0 1\n")
    np.testing.assert_array_equal(read_matrix(path, kind="matrix").matrix, [[0, 1, 2], [1, 2, 3], [2, 0, 1]])
    path.write_text("0 5 2\n3 0 1\n4 2 0\n")  # units 0, 2, 3, 4, 5: rather counts of synapses
    np.testing.assert_array_equal(read_matrix(path).matrix, [[0, 5, 2], [3, 0, 1], [4, 2, 0]])
    assert read_matrix(path, kind="edges").matrix.shape == (6, 6)


# --- binary files


def test_matlab(tmp_path):
    path = tmp_path / "w.mat"
    for saved, said, labels in (
        ({"W": MATRIX}, "array W", None),
        ({"data": {"W": MATRIX, "dt": 0.1, "trace": np.ones((5, 2))}}, "array data.W", None),
        ({"W": MATRIX, "names": np.array(NAMES, object)}, "array W, labels beside it", tuple(NAMES)),
        ({"W": MATRIX, "names": np.array(NAMES)}, "array W, labels beside it", tuple(NAMES)),
        ({"w": MATRIX}, "", None),
    ):
        scipy.io.savemat(path, saved)
        found = read_matrix(path)
        np.testing.assert_array_equal(found.matrix, MATRIX)
        assert found.said == "4 x 4 weights" + (f", {said}" if said else "") and found.labels == labels
    scipy.io.savemat(path, {"W": scipy.sparse.csc_matrix(MATRIX)})
    assert scipy.sparse.issparse(read_matrix(path).matrix) and np.array_equal(read_matrix(path), MATRIX)
    scipy.io.savemat(path, {"A": MATRIX, "B": np.eye(5), "x": np.ones((2, 3))})
    with pytest.raises(ValueError, match=r"A \(4 x 4\), B \(5 x 5\), x \(2 x 3\): say which"):
        read_matrix(path)
    np.testing.assert_array_equal(read_matrix(path, name="B").matrix, np.eye(5))
    with pytest.raises(ValueError, match=r"no array 'C'; it holds A \(4 x 4\)"):
        read_matrix(path, name="C")


def test_numpy_and_scipy(tmp_path):
    path = tmp_path / "w.npz"
    np.savez(path, W=MATRIX, labels=np.array(NAMES), rates=np.ones((7, 4)))
    found = read_matrix(path)
    assert found.labels == tuple(NAMES) and np.array_equal(found.matrix, MATRIX)
    np.savez(path, W=MATRIX, ids=np.array([11, 12, 13, 14]))
    assert read_matrix(path).labels == ("11", "12", "13", "14")
    np.savez(path, W=MATRIX, V=MATRIX)
    with pytest.raises(ValueError, match=r"W \(4 x 4\), V \(4 x 4\): say which by its name"):
        read_matrix(path)
    scipy.sparse.save_npz(path, scipy.sparse.csr_matrix(MATRIX))
    assert read_matrix(path).said == "4 x 4 weights, sparse, 16 stored"
    for dtype in (np.float16, ">f8", ">i2", np.longdouble, bool):
        np.save(tmp_path / "w.npy", (10 * MATRIX).astype(dtype))
        found = read_matrix(tmp_path / "w.npy")
        np.testing.assert_array_equal(found.matrix, (10 * MATRIX).astype(dtype).astype(float))
    for symmetry in ("general", "symmetric"):
        matrix = MATRIX + MATRIX.T
        scipy.io.mmwrite(tmp_path / "w.mtx", scipy.sparse.coo_array(matrix), symmetry=symmetry)
        np.testing.assert_allclose(np.asarray(read_matrix(tmp_path / "w.mtx")), matrix, rtol=1e-12)


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("w.csv", "1,2\n3,\n", "cannot read .*finite numbers, got nan in row 1, column 1"),
        ("w.csv", ",a,b\na,1,NA\nb,2,3\n", r"got nan in row 0, column 1 \(a, b\)"),
        ("w.csv", "1,2,3.5,0\n4,5,6.5,0\n", r"square matrix, got shape \(2, 4\)"),
        ("w.csv", "1,2\n3,4+1j\n", "row 2, column 2 of the table holds '4.1j'"),
        ("w.csv", "1,2,3\n3,4\n5,6,7\n", "row 2 of the table has 2 entries, the first has 3"),
        ("w.csv", "", "the table is empty"),
        ("w.csv", "pre,post,neuropil,size_nm,kind\n0,1,A,1,x\n", "columns pre, post.*call one of them weight"),
        ("w.xlsx", "", r"its name must end in \.csv"),
        ("w.npy", "no array", "cannot read"),
        ("w.mat", "no matlab", "cannot read"),
        ("missing.csv", None, "No such file"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_matrix(tmp_path / name)
