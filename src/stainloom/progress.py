"""How a long job says how far it is, and how it is told to stop."""

from collections.abc import Callable
from typing import Literal, Protocol

Wish = Literal["go", "pause", "cancel", "finish"]
"""What is asked of a job that keeps its state: `finish` ends it early with what it has."""
Control = Callable[[], Wish]


class Progress(Protocol):
    """`progress(done, total, what)`: may raise `Cancelled`. Core calls it at least ten times a second."""

    def __call__(self, done: float, total: float, what: str, slide: str = "") -> None:
        """Say how far the work is.

        Parameters
        ----------
        done, total
            How much of how much, in any unit.
        what
            What is being done now, for the reader.
        slide
            Case and stain that it is being done to, where it is one slide; empty where not.
        """


class Cancelled(Exception):
    """The user asked to stop. Nothing half-made is left behind."""


def silent(done: float, total: float, what: str, slide: str = "") -> None:
    """The default: nobody is watching."""


def part(progress: Progress, start: float, stop: float, slide: str = "") -> Progress:
    """Lend a sub-step its share of a bar.

    Parameters
    ----------
    progress
        The bar of the whole job.
    start, stop
        The share, fractions of the whole in [0, 1].
    slide
        Case and stain that the sub-step works on, unless it says so itself.

    Returns
    -------
    A progress callable that reports `done / total` of the sub-step as that share of 1.
    """
    if not 0 <= start <= stop <= 1:
        raise ValueError(f"a share lies within 0 and 1, in order: {start}, {stop}")
    whole_step = slide

    def inner(done: float, total: float, what: str, slide: str = "") -> None:
        fraction = min(1.0, done / total) if total > 0 else 1.0
        progress(start + (stop - start) * fraction, 1.0, what, slide or whole_step)

    return inner
