"""A checkpoint of a fit: one file, which is whole or not there at all."""

import hashlib
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree


class Checkpoint:
    """The file of one fit; `None` in place of a path keeps nothing."""

    def __init__(self, path: str | os.PathLike | None, *asked_for: Any):
        self.path = None if path is None else Path(path)
        self.signature = _digest(asked_for)

    def latest(self, start: PyTree) -> PyTree:
        """The tree that was written last, in the shape of `start`; `start` itself if there is none.

        Raises `ValueError` for the file of another fit, which is left as it is.
        """
        if self.path is None or not self.path.exists():
            return start
        try:
            with np.load(self.path) as file:
                stored = {name: file[name] for name in file.files}
        except (OSError, ValueError) as error:
            raise ValueError(f"`checkpoint` must be a file of an earlier run, got {self.path}: {error}") from error
        if str(stored.get("signature")) != self.signature:
            raise ValueError(
                f"`checkpoint` must be of the same fit, got {self.path}, of other data, settings or versions: remove "
                "it, or name another file"
            )
        leaves, structure = jax.tree.flatten(start)
        return jax.tree.unflatten(structure, [_like(leaf, stored[f"leaf{k}"]) for k, leaf in enumerate(leaves)])

    def write(self, tree: PyTree) -> None:
        """Writes another file and puts it in place of the old one, when all of it is on the disk."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        making = self.path.with_name(f".{self.path.name}-{os.getpid()}")
        leaves: dict[str, Any] = {f"leaf{k}": np.asarray(leaf) for k, leaf in enumerate(jax.tree.leaves(tree))}
        with open(making, "wb") as file:
            np.savez(file, signature=np.asarray(self.signature), **leaves)
            file.flush()
            os.fsync(file.fileno())
        os.replace(making, self.path)


def _like(leaf: Any, stored: np.ndarray) -> Any:
    return jnp.asarray(stored, leaf.dtype) if isinstance(leaf, jax.Array) else stored


def _digest(asked_for: Any) -> str:
    """What must be the same for a run to go on."""
    found = hashlib.sha256()
    for leaf in jax.tree.leaves((asked_for, jax.__version__, np.__version__)):
        if isinstance(leaf, (jax.Array, np.ndarray)):
            array = np.asarray(jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf)
            found.update(f"{array.shape}{array.dtype}".encode() + np.ascontiguousarray(array).tobytes())
        else:
            found.update(repr(leaf).encode())
    return found.hexdigest()
