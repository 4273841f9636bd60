"""A report escapes, embeds and says what it must."""

from stainloom.report.page import RESEARCH_ONLY, Page, Picture, Section, Table, render_page


def test_names_from_strangers_are_escaped_and_pictures_lie_inside() -> None:
    page = Page(
        "<script>alert(1)</script>",
        (
            Section(
                "Runs & more",
                ("a < b",),
                (Table(("run", "accuracy", "n"), (("<b>x</b>", 0.12345, 1234),)),),
                (Picture(b"\x89PNG", 'the "picture"'),),
            ),
        ),
    )
    text = render_page(page)
    assert "<script>" not in text
    assert "<b>x" not in text
    assert "&lt;b&gt;x" in text
    assert '<td class="number">0.123</td><td class="number">1,234</td>' in text
    assert "data:image/png;base64,iVBORw==" in text
    assert "http" not in text
    assert RESEARCH_ONLY in text
