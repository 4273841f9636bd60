"""Errors say what a user needs."""

from stainloom.errors import CaseError, StainloomError


def test_an_error_names_slide_stain_expectation_finding_and_next_step() -> None:
    error = CaseError(
        "the slide is empty.", slide="HE.tif", stain="HE", expected="tissue", found="glass", next="scan it again."
    )
    assert isinstance(error, StainloomError)
    assert str(error) == (
        "the slide is empty (stain HE, file HE.tif). Expected: tissue. Found: glass. Next: scan it again."
    )
    assert error.as_dict()["next"] == "scan it again."


def test_an_error_without_details_is_one_sentence() -> None:
    assert str(CaseError("nothing to do")) == "nothing to do."
