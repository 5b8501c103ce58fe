"""The outcome of a call with anything in place of an array: a result without silent NaN, or a refusal that names it."""

import dataclasses
import re
import warnings
from typing import Any

import jax
import numpy as np
from calls import Call


def fault(call: Call, name: str, value: Any) -> str | None:
    """What is wrong with the outcome of a call with ``value`` for the argument ``name``; None if nothing is."""
    arguments = call.arguments()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", category=UserWarning, module="jaxnets")
            result = call.function(**arguments | {name: value})
    except ValueError as error:
        named = set(re.findall(r"`([A-Za-z_]\w*)[^`]*`", str(error)))
        return None if named & set(arguments) else f"unnamed: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    found = silent_nan(result, call.nan)
    return f"NaN in {', '.join(found)}" if found else None


def silent_nan(result: Any, allowed: tuple[str, ...]) -> list[str]:
    """The fields that are NaN, though the result does not say that it has not converged."""
    leaves = _leaves(result)
    if any(path.split(".")[-1] in ("converged", "finite") and not np.all(leaf) for path, leaf in leaves):
        return []
    return [
        path or "the result"
        for path, leaf in leaves
        if not any(path.split(".")[-1] == name for name in allowed)
        and np.issubdtype(leaf.dtype, np.inexact)
        and np.isnan(leaf).any()
    ]


def _leaves(result: Any, path: str = "") -> list[tuple[str, np.ndarray]]:
    """The numbers of a result and their names."""
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        parts = {field.name: getattr(result, field.name, None) for field in dataclasses.fields(result)}
        if hasattr(type(result), "converged"):
            parts["converged"] = result.converged
    elif isinstance(result, dict):
        parts = result
    elif isinstance(result, tuple | list):
        names = getattr(result, "_fields", range(len(result)))
        parts = dict(zip(names, result, strict=True))
    elif isinstance(result, jax.Array | np.ndarray | np.generic | float | complex):
        array = np.asarray(result)
        return [(path, array)] if array.dtype.kind in "fcb" else []
    else:
        return []
    return [leaf for name, part in parts.items() for leaf in _leaves(part, f"{path}.{name}" if path else str(name))]
