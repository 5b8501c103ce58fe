"""The command, run in this process on small networks: what it writes, and that bad input writes nothing."""

import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import scipy.sparse
import xarray as xr

from jaxnets import couplings, spectra
from jaxnets.cli import main, outputs
from jaxnets.cli.inputs import evaluate, read_weights, vocabulary
from jaxnets.cli.refusals import InputError
from jaxnets.cli.source import Measured

SMALL = ("--n", "60", "--num-samples", "2")
ENSEMBLES = vocabulary(couplings, couplings.Ensemble)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, and empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*args: object) -> int:
    return main(["spectrum", *map(str, args)])


def is_a_figure(path) -> bool:
    content = path.read_bytes()
    return content.startswith(b"\x89PNG") and len(content) > 10_000


# --- ensembles


@pytest.mark.slow
def test_default_ensemble(here, capsys):
    assert command(*SMALL, "--seed", 3) == 0
    data = xr.open_zarr(here / "spectrum.zarr").load()
    assert data.eigenvalues.sizes == {"realisation": 2, "eigenvalue": 60} and np.iscomplexobj(data.eigenvalues)
    assert set(data.kind.values) == {"outer", "void"} and data.kind.values[0] == "outer"
    for curve in data.boundary.values:
        curve = curve[~np.isnan(curve)]
        assert len(curve) > 100 and curve[0] == curve[-1]
    assert data.density.dims == ("im", "re")
    mass = data.density.fillna(0).integrate("re").integrate("im").item()
    assert mass == pytest.approx(1 - data.attrs["zero_mass"], abs=0.03)
    assert data.attrs["zero_mass"] == pytest.approx(0.2)
    assert {key: data.attrs[key] for key in ("n", "num_samples", "seed")} == {"n": 60, "num_samples": 2, "seed": 3}
    assert data.attrs["ensemble"].startswith("DeepHebbian(") and "hetero" in data.attrs["parameters"]
    assert {"python_version", "jax_version", "jaxnets_version"} <= set(data.attrs)
    assert is_a_figure(here / "spectrum.png")
    assert sorted(os.listdir(here)) == ["spectrum.png", "spectrum.zarr"]
    out, err = capsys.readouterr()
    assert "diagonalising" in err
    edge = next(line.split() for line in out.splitlines() if line.startswith("right edge"))
    assert float(edge[2]) == pytest.approx(data.attrs["right_edge"], abs=1e-4)
    assert float(edge[3]) == pytest.approx(data.eigenvalues.values.real.max(1).mean(), abs=1e-4)


@pytest.mark.slow
def test_seed_decides_the_sample(here):
    values = []
    for seed in (1, 1, 2):
        assert command("--ensemble", "IID()", *SMALL, "--seed", seed) == 0
        values.append(xr.open_zarr(here / "spectrum.zarr").eigenvalues.values)
    np.testing.assert_array_equal(values[0], values[1])
    assert not np.allclose(values[0], values[2])


@pytest.mark.slow
def test_gains(here):
    assert command("--ensemble", "IID(g=2)", "--gains", "Tanh()", "--variance", 0.5, *SMALL) == 0
    data = xr.open_zarr(here / "spectrum.zarr")
    gains = 1 / np.cosh(np.sqrt(0.5) * np.random.default_rng(0).normal(size=200_000)) ** 2
    assert data.attrs["right_edge"] == pytest.approx(2 * np.sqrt(np.mean(gains**2)), rel=5e-3)
    assert (data.attrs["gains"], data.attrs["variance"]) == ("Tanh()", 0.5)


@pytest.mark.slow
def test_symmetric_ensemble_lies_on_the_real_line(here):
    assert command("--ensemble", "DeepHebbian(load=.3, auto=1, hetero=(.5,), symmetric=True)", *SMALL) == 0
    data = xr.open_zarr(here / "spectrum.zarr").load()
    assert data.density.dims == ("re",)
    assert data.density.fillna(0).integrate("re").item() == pytest.approx(0.3, abs=0.02)
    assert np.abs(data.eigenvalues.values.imag).max() < 1e-9
    assert is_a_figure(here / "spectrum.png")


@pytest.mark.slow
def test_outliers_are_reported(here, capsys):
    assert command("--ensemble", "IID(g=.5) + LowRank(2.)", *SMALL) == 0
    assert "outliers" in capsys.readouterr().out
    assert is_a_figure(here / "spectrum.png")


# --- matrices


@pytest.mark.slow
def test_larva(here, capsys):
    assert command("--matrix", "larva-left", "--scale", 0.01, "--out", "a/b") == 0
    data = xr.open_zarr(here / "a" / "b" / "spectrum.zarr").load()
    weights = 0.01 * np.asarray(couplings.larva_connectome("left"))
    assert data.eigenvalues.sizes == {"realisation": 1, "eigenvalue": 209}
    assert data.eigenvalues.values.sum() == pytest.approx(np.trace(weights))
    assert data.attrs["g"] ** 2 == pytest.approx(209 * np.mean(weights**2))
    assert data.attrs["nonzero_fraction"] == np.mean(weights != 0)
    ring = data.boundary.values[0]
    np.testing.assert_allclose(np.abs(ring[~np.isnan(ring)]), data.attrs["g"], rtol=1e-6)
    assert set(data.prediction.values) == {"ring of its singular values", "Gaussian modes with its overlaps"}
    assert (np.abs(data.outliers) > data.attrs["g"]).all() and data.sizes["outlier"] >= 1
    assert np.isfinite(data.overlaps).all() and data.sizes["mode"] == 209
    assert is_a_figure(here / "a" / "b" / "spectrum.png")
    out = capsys.readouterr().out
    assert "0.1700" in out and "s.e. from chance" in out
    assert "note: one singular mode of value 3.39 carries 97% of <s^4>" in out


@pytest.mark.slow
def test_overlaps_of_independent_modes_are_at_chance(here):
    np.save("iid.npy", np.random.default_rng(0).normal(size=(80, 80)) / np.sqrt(80))
    assert command("--matrix", "iid.npy") == 0
    attributes = xr.open_zarr(here / "spectrum.zarr").attrs
    assert abs(attributes["overlap_mean_z"]) < 3 and abs(attributes["overlap_sd_z"]) < 3
    assert attributes["effective_rank"] > 5 and attributes["rank"] == 80


@pytest.mark.slow
def test_feedforward_weights_have_no_eigenvalue_but_zero(here):
    np.save("chain.npy", np.tri(30, k=-1))
    assert command("--matrix", "chain.npy") == 0
    assert not xr.open_zarr(here / "spectrum.zarr").eigenvalues.values.any()


MATRIX = np.array([[0, 1.5, 0], [-2, 0, 1e-3], [4, 0, 0.25]])


def save_zipped(path, **arrays):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in arrays.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    ("name", "save"),
    {
        "comma.csv": lambda path: np.savetxt(path, MATRIX, delimiter=","),
        "semicolon.csv": lambda path: np.savetxt(path, MATRIX, delimiter="; "),
        "space.csv": lambda path: np.savetxt(path, MATRIX, header="a comment"),
        "tab.CSV": lambda path: np.savetxt(path, MATRIX, delimiter="\t"),
        "bom.csv": lambda path: path.write_text("\ufeff" + "\n".join(",".join(map(str, row)) for row in MATRIX)),
        "dense.npy": lambda path: np.save(path, MATRIX.astype(np.float32)),
        "fortran.npy": lambda path: np.save(path, np.asfortranarray(MATRIX)),
        "dense.npz": lambda path: np.savez(path, weights=MATRIX),
        "csr.npz": lambda path: scipy.sparse.save_npz(path, scipy.sparse.csr_array(MATRIX)),
        "coo.npz": lambda path: scipy.sparse.save_npz(path, scipy.sparse.coo_matrix(MATRIX)),
        "dia.npz": lambda path: scipy.sparse.save_npz(path, scipy.sparse.dia_matrix(MATRIX)),
    }.items(),
)
def test_read_matrix(tmp_path, name, save):
    save(tmp_path / name)
    np.testing.assert_allclose(read_weights(measured(tmp_path / name)).matrix, MATRIX, rtol=1e-6)


def test_read_matrix_of_integers(tmp_path):
    np.save(tmp_path / "counts.npy", np.eye(3, dtype=np.int64))
    assert read_weights(measured(tmp_path / "counts.npy")).matrix.dtype == np.float64


def test_how_a_matrix_is_read(tmp_path, capsys):
    """The array by its name, the labels beside it, the factor, the transpose, and a table that looks like another."""
    labels = np.array(["a", "b", "c"])
    np.savez(tmp_path / "two.npz", first=MATRIX, second=MATRIX + 1, labels=labels)
    found = read_weights(measured(tmp_path / "two.npz", scale=2.0, transpose=True, name="second"))
    np.testing.assert_allclose(found.matrix, 2 * (MATRIX + 1).T)
    assert found.labels == ("a", "b", "c") and "array second, labels beside it, transposed" in capsys.readouterr().out
    with pytest.raises(InputError, match="say which by `--name`"):
        read_weights(measured(tmp_path / "two.npz"))
    (tmp_path / "square.csv").write_text("0,1,2\n1,2,-1\n2,0,3\n")
    assert read_weights(measured(tmp_path / "square.csv", kind="edges")).matrix[1, 0] == 2
    assert read_weights(measured(tmp_path / "square.csv", kind="matrix")).matrix[1, 0] == 1


def measured(path, scale=1.0, transpose=False, name=None, kind=None):
    return Measured(str(path), scale, transpose, name, kind)


class Bomb:
    """Leaves a folder behind when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("unpickled",)


def corrupt_sparse(path):
    np.savez(path, format=b"csr", shape=(3, 3), data=[1.0], indices=[10_000_000], indptr=[0, 1, 1, 1])


BAD_MATRICES = {
    "missing.csv": (None, "No such file"),
    "folder.npy": (lambda path: path.mkdir(), "directory"),
    "wide.csv": (lambda path: path.write_text("1 2 3 4\n4 5 6 7\n"), "square matrix, got shape (2, 4)"),
    "ragged.csv": (lambda path: path.write_text("1 2\n3\n"), "row 2 of the table has 1 entries, the first has 2"),
    "nan.csv": (lambda path: path.write_text("1,nan\n3,4\n"), "finite numbers, got nan in row 0, column 1"),
    "inf.npy": (lambda path: np.save(path, [[np.inf]]), "finite numbers, got inf"),
    "text.csv": (
        lambda path: path.write_text("neuron weight x\na b c\nd e f\n"),
        "row 2, column 2 of the table holds 'b'",
    ),
    "hole.csv": (lambda path: path.write_text("1,,2\n3,4,5\n6,7,8\n"), "got nan in row 0, column 1"),
    "binary.csv": (lambda path: path.write_bytes(bytes(range(256))), "cannot read"),
    "empty.csv": (lambda path: path.write_text("\n"), "the table is empty"),
    "zeros.csv": (lambda path: path.write_text("0 0\n0 0\n"), "not 0 everywhere"),
    "empty.npy": (lambda path: path.write_bytes(b""), "cannot read"),
    "nothing.npy": (lambda path: np.save(path, np.zeros((0, 0))), "empty one"),
    "vector.npy": (lambda path: np.save(path, np.ones(4)), "square matrix, got shape (4,)"),
    "complex.npy": (lambda path: np.save(path, np.eye(2) * 1j), "real numbers, got complex128"),
    "strings.npy": (lambda path: np.save(path, np.array([["a"]])), "no array of numbers"),
    "object.npy": (lambda path: np.save(path, np.array([[Bomb()]]), allow_pickle=True), "allow_pickle=False"),
    "pickle.npy": (lambda path: path.write_bytes(pickle.dumps(Bomb())), "cannot read"),
    "object.npz": (lambda path: np.savez(path, np.array([[Bomb()]])), "allow_pickle=False"),
    "two.npz": (lambda path: np.savez(path, a=MATRIX, b=MATRIX), "holds a (3 x 3), b (3 x 3): say which"),
    "text.npz": (lambda path: path.write_text("garbage"), "cannot read"),
    "member.npz": (lambda path: save_zipped(path, note="text"), "no array of numbers"),
    "corrupt.npz": (corrupt_sparse, "cannot read"),
    "wide.npz": (
        lambda path: scipy.sparse.save_npz(path, scipy.sparse.coo_matrix(([1.0], ([0], [0])), shape=(10**6, 10**7))),
        "square matrix",
    ),
    "table.xlsx": (lambda path: path.write_text("x"), "its name must end in .csv"),
}


@pytest.mark.parametrize("name", BAD_MATRICES)
def test_bad_matrix(here, capsys, name):
    save, message = BAD_MATRICES[name]
    if save is not None:
        save(here / name)
    before = sorted(os.listdir(here))
    assert command("--matrix", name) == 2
    refused(capsys, message)
    assert sorted(os.listdir(here)) == before


# --- bad input


def refused(capsys, message: str):
    """One line on standard error, nothing on standard output."""
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("jaxnets: error: ") and err.count("\n") == 1
    assert message in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--ensemble", "DeepHebbian(load=-1)"], "`load` must be a finite number > 0, got -1"),
        (["--ensemble", "DeepHebbian(load='much')"], "`load`"),
        (["--ensemble", "DeepHebbian(hetero=())"], "`hetero` must be a non-empty"),
        (["--ensemble", "DeepHebbian(patterns='ternary')"], "`patterns` must be"),
        (["--ensemble", "DeepHebbian(load=.0001)"], "at least one mode"),
        (["--ensemble", "RandomModes.flat(overlap=1.5)"], "`overlap` must be numbers in [-1, 1]"),
        (["--ensemble", "RandomModes((1., 2.), weights=(1.,))"], "`weights`"),
        (["--ensemble", "RandomModes()"], "missing a required argument: 'amplitudes'"),
        (["--ensemble", "IID(gian=1)"], "unexpected keyword argument 'gian'"),
        (["--ensemble", "IID(g=1e999)"], "`g`"),
        (["--ensemble", "Gaussian()"], "unknown name `Gaussian`; known are BlockMeans, CellTypes"),
        (["--ensemble", "Ensemble()"], "unknown name `Ensemble`"),
        (["--ensemble", "IID.sample(3)"], "unknown name `IID.sample`"),
        (["--ensemble", "__import__('os').system('touch owned')"], "unknown name"),
        (["--ensemble", "IID(g=__import__('os').getpid())"], "unknown name"),
        (["--ensemble", "().__class__"], "not part of the notation"),
        (["--ensemble", "(lambda: IID())()"], "not part of the notation"),
        (["--ensemble", "[IID() for _ in range(9)][0]"], "not part of the notation"),
        (["--ensemble", "IID(**{'g': 1})"], "each argument its own name"),
        (["--ensemble", "IID() * IID()"], "not part of the notation"),
        (["--ensemble", "IID() + 1"], "not part of the notation"),
        (["--ensemble", "9**9**9"], "not part of the notation"),
        (["--ensemble", "IID(g='a' * 1000000000)"], "not part of the notation"),
        (["--ensemble", "IID("], "must be an expression"),
        (["--ensemble", ""], "must be an expression"),
        (["--ensemble", "IID()\0"], "must be an expression"),
        (["--ensemble", "(" * 5000], "must be an expression"),
        (["--ensemble", "-" * 5000 + "1"], "must be an expression"),
        (["--ensemble", "3"], "must be one of BlockMeans"),
        (["--ensemble", "0 * IID()"], "must have a positive variance"),
        (["--ensemble", "LowRank(2.)"], "must have a positive variance"),
        (["--n", "0"], "at least 1"),
        (["--num-samples", "-2"], "at least 1"),
        (["--seed", "-1"], "`--seed`"),
        (["--gains", "Tanh()"], "go together"),
        (["--variance", "1"], "go together"),
        (["--gains", "Tanh()", "--variance", "-1"], "`--variance` must be a positive number, got -1.0"),
        (["--gains", "Tanh()", "--variance", "nan"], "`--variance` must be a positive number, got nan"),
        (["--gains", "IID()", "--variance", "1"], "unknown name `IID`; known are Erf"),
        (["--scale", "2"], "`--scale` belongs to `--matrix`"),
        (["--matrix", "larva-left", "--n", "5"], "no meaning with `--matrix`"),
        (["--transpose"], "`--transpose` belongs to `--matrix`"),
        (["--name", "w"], "`--name` belongs to `--matrix`"),
        (["--matrix", "larva-left", "--kind", "edges"], "say how a file is read"),
        (["--matrix", "larva-left", "--kind", "list"], "`--kind` must be matrix or edges"),
        (["--matrix", "larva-left", "--scale", "0"], "not 0 everywhere"),
        (["--matrix", "larva-left", "--scale", "inf"], "must be finite"),
        (["--matrix", "larva-left", "--scale", "1e308"], "must be finite"),
        (["--matrix", "larva-middle"], "larva-left or larva-right"),
    ],
)
def test_bad_input(here, capsys, args, message):
    assert command(*args) == 2
    refused(capsys, message)
    assert os.listdir(here) == []


@pytest.mark.parametrize("args", [[], ["spectra"], ["spectrum", "--n", "many"], ["spectrum", "--ensembel", "IID()"]])
def test_bad_option(here, capsys, args):
    with pytest.raises(SystemExit) as stop:
        main(args)
    assert stop.value.code == 2
    assert os.listdir(here) == []


@pytest.mark.parametrize("text", ["IID(g=.5)", " 0.5*IID() ", "-IID(0.5)", "IID(.3) + IID(.4)", "IID(2 * (.05 + .2))"])
def test_notation(text):
    assert float(evaluate(text, ENSEMBLES, couplings.Ensemble, "--ensemble").variance()) == pytest.approx(0.25)


def test_notation_has_every_ensemble_and_its_constructors():
    assert {"IID", "SingularModes", "LowRank", "RandomModes.two_valued"} <= set(ENSEMBLES)
    assert evaluate("LowRank([[1, 2], [0, 1]])", ENSEMBLES, couplings.Ensemble, "").overlaps.shape == (2, 2)


# --- what is left behind


@pytest.mark.parametrize("name", ["spectrum.png", "spectrum.zarr"])
def test_what_others_wrote_is_not_overwritten(here, capsys, name):
    (here / name).write_text("mine")
    assert command(*SMALL) == 2
    refused(capsys, f"{name} was not written by jaxnets")
    assert (here / name).read_text() == "mine" and os.listdir(here) == [name]


def test_cache_must_be_a_folder(here, capsys):
    (here / "file").write_text("")
    assert command("--cache", "file") == 2
    refused(capsys, "`--cache` must be a folder")


@pytest.mark.slow
def test_compiled_programs_are_kept(here):
    run = [sys.executable, "-c", "import sys; from jaxnets.cli import main; sys.exit(main())", "spectrum", *SMALL]
    found, programs = [], []
    for out in ("first", "second"):
        subprocess.run([*run, "--cache", "compiled", "--out", out], check=True, capture_output=True)
        found.append(xr.open_zarr(here / out / "spectrum.zarr").load())
        programs.append({path.name for path in (here / "compiled").iterdir() if path.name.endswith("-cache")})
    xr.testing.assert_identical(*(data.drop_attrs() for data in found))
    assert programs[0] and programs[1] == programs[0]


def test_out_must_be_a_folder(here, capsys):
    (here / "file").write_text("mine")
    assert command(*SMALL, "--out", "file/below") == 2
    refused(capsys, "`--out` must be a folder")


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError, OSError])
def test_outputs_come_together_or_not_at_all(here, failure):
    """Former outputs survive whatever happens while new ones are written; a folder made for them goes."""
    (here / "a").write_text("old")
    for folder in (here, here / "new" / "folder"):
        with pytest.raises(InputError if failure is OSError else failure):
            with outputs.replacing(folder, ("a", "b")) as stage:
                (stage / "a").write_text("half")
                raise failure
    assert os.listdir(here) == ["a"] and (here / "a").read_text() == "old"


def test_outputs_return_when_the_last_cannot_be_moved(here):
    (here / "a").write_text("old")
    with pytest.raises(InputError, match="cannot write"):
        with outputs.replacing(here, ("a", "b")) as stage:
            (stage / "a").write_text("new")  # and no b
    assert os.listdir(here) == ["a"] and (here / "a").read_text() == "old"


def test_interrupt_while_computing(here, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(spectra.SpectralLaw, "boundary", interrupted)
    assert command(*SMALL, "--ensemble", "IID()") == 130
    assert "interrupted" in capsys.readouterr().err and os.listdir(here) == []
