"""What can go wrong for a user: one base, a handful of children, each naming slide, expectation, finding and next step."""


class StainloomError(Exception):
    """A failure that its user can act on.

    Parameters
    ----------
    what
        What happened, one sentence without a full stop, in the pathologist's words.
    slide
        The slide or file concerned, as the user knows it (never a patient's name).
    stain
        The stain concerned.
    expected, found
        What would have been right, and what was there.
    next
        What to do now, one sentence.
    """

    def __init__(
        self,
        what: str,
        *,
        slide: str | None = None,
        stain: str | None = None,
        expected: str | None = None,
        found: str | None = None,
        next: str | None = None,
    ) -> None:
        self.what = what.rstrip(".")
        self.slide = slide
        self.stain = stain
        self.expected = expected
        self.found = found
        self.next = next
        super().__init__(self._text())

    def _text(self) -> str:
        named = ", ".join(
            part
            for part in (f"stain {self.stain}" if self.stain else "", f"file {self.slide}" if self.slide else "")
            if part
        )
        parts = [f"{self.what} ({named})" if named else self.what]
        if self.expected:
            parts.append(f"Expected: {self.expected.rstrip('.')}")
        if self.found:
            parts.append(f"Found: {self.found.rstrip('.')}")
        if self.next:
            parts.append(f"Next: {self.next.rstrip('.')}")
        return ". ".join(parts) + "."

    def as_dict(self) -> dict[str, str | None]:
        """The same facts for a program: the keys of the `error` line of contracts for jobs."""
        return {
            "what": self.what,
            "slide": self.slide,
            "stain": self.stain,
            "expected": self.expected,
            "found": self.found,
            "next": self.next,
        }


class SlideError(StainloomError):
    """A slide cannot be opened, read or understood."""


class CaseError(StainloomError):
    """A study, a case or one of their files is missing, broken, newer than this program, or held by somebody else."""


class LabelError(StainloomError):
    """Painted labels or an annotation file cannot be read or kept."""


class RegistrationError(StainloomError):
    """Two sections cannot be aligned, or a point lies where an alignment says nothing."""


class PatchError(StainloomError):
    """Patches cannot be selected, cut, split or stored."""


class ModelError(StainloomError):
    """A network cannot be built, trained, loaded or applied."""
