"""The report in a real browser."""

import re
import shutil

import pytest
from sample_report import hostile_report, sample_report

from hf_distill.reporting.page.html import render_html

playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")

REPORTS = {
    "sample": sample_report,
    "many classes": lambda: sample_report(labels=[f"a_rather_long_name_of_a_class_{i}" for i in range(77)]),
    "hostile": hostile_report,
}
UNPROTECTED = "hostile, unprotected"


@pytest.fixture(scope="module")
def browser():
    with playwright_api.sync_playwright() as playwright:
        # The sandbox does not work in most containers. The pages are our own.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Each report as a file, and the hostile report also without the policy that would stop a script anyway."""
    folder = tmp_path_factory.mktemp("reports")
    pages = {name: render_html(make()) for name, make in REPORTS.items()}
    pages[UNPROTECTED] = re.sub('<meta http-equiv="Content-Security-Policy".*?>', "", pages["hostile"])
    assert pages[UNPROTECTED] != pages["hostile"]
    for name, html in pages.items():
        (folder / f"{name}.html").write_text(html, encoding="utf-8")
    return {name: (folder / f"{name}.html").as_uri() for name in pages}


@pytest.fixture
def visit(browser, files):
    """Open a report. Afterwards there must be no console message, no request and no script that ran."""
    events, contexts = [], []

    def open_page(name, width=1200, **kwargs):
        context = browser.new_context(viewport={"width": width, "height": 900}, **kwargs)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: events.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: events.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (events.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: events.append(request.url) if request.url != files[name] else None)
        page.goto(files[name])
        page.evaluate("document.querySelectorAll('details').forEach(element => element.open = true)")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not events


def brightness(page, selector, style):
    color = page.eval_on_selector(selector, f"element => getComputedStyle(element).{style}")
    return sum(map(int, re.findall(r"\d+", color)[:3])) / (3 * 255)


def some_slow(names, quick):
    return [pytest.param(name, marks=() if name in quick else pytest.mark.slow) for name in names]


@pytest.mark.parametrize("name", some_slow([*REPORTS, UNPROTECTED], quick=["sample", UNPROTECTED]))
def test_a_report_causes_no_console_message_and_no_request(visit, name):
    page = visit(name)
    assert page.locator("section").count() == 9
    for box in page.locator("figure svg").all():
        assert box.bounding_box()["width"] > 300
    assert (
        page.evaluate("document.images.length + document.links.length - document.querySelectorAll('nav a').length")
        == 0
    )


@pytest.mark.parametrize("name", some_slow(REPORTS, quick=["many classes"]))
def test_a_phone_does_not_scroll_sideways(visit, name):
    page = visit(name, width=400)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_words_of_plots_can_be_read_on_a_phone(visit):
    page = visit("sample", width=400)
    line_heights = [
        text.bounding_box()["height"] for text in page.locator("#scores-figure_1 text, #latency-figure_1 text").all()
    ]
    assert min(line_heights) >= 10  # CSS pixels


def test_the_page_is_dark_for_readers_who_prefer_dark_and_light_on_paper(visit):
    light, dark = visit("sample", color_scheme="light"), visit("sample", color_scheme="dark")
    assert brightness(light, "body", "backgroundColor") > 0.9
    assert brightness(light, "figure svg text", "fill") < 0.5
    assert brightness(dark, "body", "backgroundColor") < 0.2
    assert brightness(dark, "figure svg text", "fill") > 0.6
    dark.emulate_media(media="print")
    assert brightness(dark, "section", "backgroundColor") > 0.9
    assert brightness(dark, "figure svg text", "fill") < 0.5


def test_everything_inside_a_plot_stays_inside_it(visit):
    page = visit("many classes")
    outside = page.evaluate(
        """[...document.querySelectorAll('figure svg')].flatMap(svg => {
            const box = svg.getBoundingClientRect()
            return [...svg.querySelectorAll('text')].filter(text => {
                const inner = text.getBoundingClientRect()
                return inner.left < box.left - 1 || inner.right > box.right + 1
            }).map(text => text.textContent)
        })"""
    )
    assert outside == []
