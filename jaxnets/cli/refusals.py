"""What the command refuses in one line. JAX is not imported here: what can be refused without it is refused at once."""

from pathlib import Path


class InputError(Exception):
    """An error that the user can mend.

    The command prints the `message` as one line and exits with code 2.
    """

    def __init__(self, message: str):
        super().__init__(" ".join(message.split()))


def require_file(path: Path) -> None:
    """Refuses a file that is missing or cannot be opened."""
    try:
        open(path, "rb").close()
    except (OSError, ValueError) as error:  # a ValueError for a name with a null character
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


def require_sweep(folder: Path) -> None:
    """Refuses a folder that is missing or holds no sweep."""
    if not (folder / "manifest.json").exists():
        raise InputError(f"`output` must be the folder of a sweep, got {folder}, which has no manifest.json")


def require_counts(**counts: int) -> None:
    """Refuses numbers below 1, by the names of their options."""
    for name, value in counts.items():
        if value < 1:
            raise InputError(f"`--{name.replace('_', '-')}` must be at least 1, got {value}")


def require_seed(seed: int, bits: int = 63) -> None:
    """Refuses a seed that has no place in a random key."""
    if not 0 <= seed < 2**bits:
        raise InputError(f"`--seed` must be in [0, 2^{bits}), got {seed}")
