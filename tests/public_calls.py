"""The public functions and classes that take arrays, found by their annotations.

`CALLS` has a call of each, so that a new one without an entry fails `test_robustness.py`. Among the good arguments,
tests put others in place of an array.
"""

import inspect

from calls import CALLS

import jaxnets as jn

__all__ = ["CALLS", "NOT_CALLED", "called", "modules", "takes_arrays"]

# Names that are not themselves called, and why.
NOT_CALLED = {
    "dynamics.heun": "one step within a compiled loop; takes JAX arrays as they come",
    "dynamics.euler": "as `heun`",
    "dynamics.rk4": "as `heun`",
    "learning.squared_error": "part of a loss; takes JAX arrays as they come",
    "learning.local_errors": "part of a loss; takes JAX arrays as they come",
    "replica.branch_end": "equations of a user's own problem; takes JAX arrays as they come",
    "replica.coexistence": "as `branch_end`",
    "replica.fold": "as `branch_end`",
    "replica.vanishing": "as `branch_end`",
    "replica.SymmetricCore": "is `memory.SymmetricCore`",
    "spectra.eigenvalues": "is `eigen.eigenvalues`",
    "fitting.Family.ensemble": "is called by fits, with numbers that are traced",
    **{
        f"meanfield.TypedStationary.{name}": "as the same of `Stationary`; a state of types takes long to find"
        for name in ("response", "spectrum_phi", "spectrum_x")
    },
    "computations": "functions of one point of a sweep: strings and numbers that are traced",
}


def modules():
    """The rooms, and their public modules."""
    rooms = {name: getattr(jn, name) for name in jn.__all__ if inspect.ismodule(getattr(jn, name))}
    return rooms | {"observables.online": jn.observables.online, "memory.dense": jn.memory.dense}


def takes_arrays(function) -> set[str]:
    """The names of the arguments that are arrays."""
    kinds = {name: str(p.annotation) for name, p in inspect.signature(function).parameters.items()}
    arrays = ("ArrayLike", "ndarray", "Complex[Array", "Float[Array", "Int[Array", "Bool[Array")
    return {name for name, kind in kinds.items() if any(a in kind for a in arrays) and "Callable" not in kind}


def called() -> dict[str, set[str]]:
    """The public functions, classes and methods that take arrays, and which of their arguments are arrays."""
    found = {"Discrete": {"values", "weights"}}
    for room, module in modules().items():
        for name in dir(module):
            thing = getattr(module, name)
            if inspect.isfunction(thing):
                found[f"{room}.{name}"] = takes_arrays(thing)
            elif inspect.isclass(thing):
                found |= _of_class(f"{room}.{name}", thing)
    return {name: arrays for name, arrays in found.items() if arrays}


def _of_class(path: str, kind: type) -> dict[str, set[str]]:
    """Constructors and methods that take what is not yet an array of JAX: results and inner functions do not."""
    found = {}
    for name, method in vars(kind).items():
        function = getattr(method, "__func__", method)
        if not inspect.isfunction(function) or (name.startswith("_") and name != "__init__"):
            continue
        kinds = {k: str(p.annotation) for k, p in inspect.signature(function).parameters.items()}
        arrays = {k for k, text in kinds.items() if "ArrayLike" in text and "Callable" not in text}
        found[path if name == "__init__" else f"{path}.{name}"] = arrays
    return found
