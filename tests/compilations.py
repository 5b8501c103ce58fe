"""Counting compiled programs: a second call with other numbers must not wait for the compiler."""

import contextlib
from collections.abc import Iterator

import jax


@contextlib.contextmanager
def compilations() -> Iterator[list[str]]:
    """The list of programs that were compiled within the block, or read from the cache on disk."""
    programs: list[str] = []

    def heard(event: str, _: float, **kwargs) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            programs.append(kwargs.get("fun_name", "?"))

    jax.monitoring.register_event_duration_secs_listener(heard)
    try:
        yield programs
    finally:
        jax.monitoring.unregister_event_duration_listener(heard)
