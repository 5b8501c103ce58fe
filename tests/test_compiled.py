"""The folder of compiled programs: where it is, that nothing stops for it, and that a damaged one mends itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import jaxnets as jn
from jaxnets import _compiled

COMMAND = ["simulate", "--n", "20", "--duration", "6", "--discard", "2", "--num-trajectories", "2"]


@pytest.fixture
def settings(monkeypatch):
    """What JAX would have been told."""
    told = {}
    monkeypatch.setattr(_compiled, "configure", told.__setitem__)
    return told


def test_the_folder_of_the_user_is_the_default(settings, tmp_path, monkeypatch):
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name, **_: tmp_path / name)
    assert jn.keep_compiled() == tmp_path / "jaxnets" == Path(settings["jax_compilation_cache_dir"])
    assert settings["jax_compilation_cache_max_size"] == 2**30
    assert jn.keep_compiled(tmp_path / "other" / "folder", max_bytes=100) == tmp_path / "other" / "folder"
    assert settings["jax_compilation_cache_max_size"] == 100


def test_where_nothing_can_be_written_all_is_as_without(settings, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name, **_: tmp_path / "file" / name)
    with pytest.warns(RuntimeWarning, match="compiled programs are not kept: .*file"):
        assert jn.keep_compiled() is None

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.warns(RuntimeWarning, match="not kept: .*: No space left on device"):
        assert jn.keep_compiled(tmp_path / "full") is None
    assert not settings


def test_what_cannot_be_a_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="`folder` must be a folder, got the file"):
        jn.keep_compiled(tmp_path / "file")
    with pytest.raises(ValueError, match="`max_bytes` must be a positive number of bytes, got 0"):
        jn.keep_compiled(tmp_path / "folder", max_bytes=0)
    assert not (tmp_path / "folder").exists()


def test_halves_of_killed_processes_go(settings, tmp_path):
    """JAX reads the time of every program when it keeps another one, and fails where there is none."""
    for name, content in {
        "a-cache": b"x",
        "a-atime": b"12345678",
        "b-cache": b"x",
        "c-cache": b"",
        "c-atime": b"1",
    }.items():
        (tmp_path / name).write_bytes(content)
    jn.keep_compiled(tmp_path)
    assert {path.name for path in tmp_path.glob("*-cache")} == {"a-cache"}
    _compiled.forget_compiled(tmp_path)
    assert not list(tmp_path.glob("*-*"))


def run(folder: Path, *options: str, **variables: str) -> str:
    """What a command says on standard error, in a new process whose cache folder is in `folder`."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")} | variables
    words = [*COMMAND, "--out", str(folder / "out"), *options]
    script = f"import sys; from jaxnets.cli import main; sys.exit(main({words!r}))"
    environment |= {"XDG_CACHE_HOME": str(folder / "cache")}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


def remarks(text: str) -> list[str]:
    return [line for line in text.replace("\r", "\n").split("\n") if line.startswith("jaxnets:")]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the folder is not in XDG_CACHE_HOME")
def test_a_command_keeps_finds_and_mends(tmp_path):
    kept = tmp_path / "cache" / "jaxnets"
    assert not remarks(run(tmp_path, "--no-cache")) and not kept.exists()
    assert not remarks(run(tmp_path))
    programs = {path: path.read_bytes() for path in kept.glob("*-cache")}
    assert programs
    # On a busy machine more programs take long enough to be kept.
    assert not remarks(run(tmp_path)) and programs.keys() <= set(kept.glob("*-cache"))
    for path in programs:
        path.write_bytes(b"damaged")
    (said,) = remarks(run(tmp_path))
    assert "made anew" in said and not list(kept.glob("*-cache"))
    assert not remarks(run(tmp_path)) and list(kept.glob("*-cache"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the folder is not in XDG_CACHE_HOME")
def test_without_a_folder_one_line_says_so(tmp_path):
    (tmp_path / "cache").write_text("a file")
    (said,) = remarks(run(tmp_path))
    assert said.startswith("jaxnets: compiled programs are not kept:")
