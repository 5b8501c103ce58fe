"""What is shown of long work: something new every second, also while JAX compiles."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm


@contextmanager
def moving(bar: tqdm) -> Iterator[tqdm]:
    """Draws a bar again twice a second, so that its clock goes on while nothing else does."""
    if bar.disable:
        yield bar
        return
    ended = threading.Event()

    def draw():
        while not ended.wait(0.5):
            if bar.delay:
                bar.last_print_t = bar.start_t + bar.delay  # so that the bar knows that it has been drawn
            bar.refresh()

    drawer = threading.Thread(target=draw, daemon=True)
    drawer.start()
    try:
        yield bar
    finally:
        ended.set()
        drawer.join()
        bar.close()


@contextmanager
def stage(text: str, progress: bool = True) -> Iterator[tqdm]:
    """A line with a clock for work that cannot be counted; `set_description_str` changes its text."""
    bar = tqdm(desc=text, bar_format="{desc}: {elapsed}", leave=False, disable=not progress, delay=0.1)
    with moving(bar):
        yield bar
