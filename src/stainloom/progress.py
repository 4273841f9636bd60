"""How a long job says how far it is, and how it is told to stop."""

from collections.abc import Callable

Progress = Callable[[float, float, str], None]
"""`progress(done, total, what)`: may raise `Cancelled`. Core calls it at least ten times a second."""


class Cancelled(Exception):
    """The user asked to stop. Nothing half-made is left behind."""


def silent(done: float, total: float, what: str) -> None:
    """The default: nobody is watching."""


def part(progress: Progress, start: float, stop: float) -> Progress:
    """Lend a sub-step its share of a bar.

    Parameters
    ----------
    progress
        The bar of the whole job.
    start, stop
        The share, fractions of the whole in [0, 1].

    Returns
    -------
    A progress callable that reports `done / total` of the sub-step as that share of 1.
    """
    if not 0 <= start <= stop <= 1:
        raise ValueError(f"a share lies within 0 and 1, in order: {start}, {stop}")

    def inner(done: float, total: float, what: str) -> None:
        fraction = min(1.0, done / total) if total > 0 else 1.0
        progress(start + (stop - start) * fraction, 1.0, what)

    return inner
