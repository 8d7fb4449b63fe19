"""What a notebook shows: tables as HTML in which nothing from outside is markup, and names to complete."""

import html
import re

import pytest
from sample_report import HOSTILE, hostile_report, sample_report
from test_results_table import record_with_floor

import hf_distill
from hf_distill.reporting import Report, results_table, summary

TAGS = {"table", "thead", "tbody", "tr", "th", "td", "ul", "li", "h4", "p"}


def tags(page):
    return set(re.findall(r"</?([^\s>/]+)", page))


def test_a_report_is_shown_with_its_verdict_and_all_its_tables():
    report = sample_report()
    page, text = Report(report)._repr_html_(), Report(report).to_markdown()
    assert page.startswith(f"<p>{html.escape(report['verdict']['sentence'])}</p>")
    assert page.count("<table>") == text.count("\n| ---")
    assert page.count("<h4>") == text.count("\n## ")
    assert tags(page) <= TAGS


def test_nothing_from_outside_is_markup():
    report = hostile_report()
    page = Report(report)._repr_html_()
    assert tags(page) <= TAGS
    assert "&lt;/script&gt;&lt;img" in page
    row = {"model": HOSTILE, "accuracy": 0.5, "num_parameters": 1, "p50_ms": None}
    table = results_table([row], "accuracy")._repr_html_()
    assert tags(table) <= TAGS
    assert "&lt;img src=x onerror=alert(1)&gt;&#x27;&quot;&amp;$\\alpha$" in table


def test_a_result_table_prints_as_text_and_is_shown_as_html():
    table = summary(record_with_floor(0.7))
    page = table._repr_html_()
    assert str(table).startswith("| model")
    lines = [line for line in table.splitlines() if line.startswith("|")]
    assert page.count("<tr>") == len(lines) - 1  # without the rule below the header
    assert page.count("<td>") == (len(lines) - 2) * (lines[0].count("|") - 1)


@pytest.mark.parametrize("name", hf_distill.__all__)
def test_a_public_name_is_completed_before_it_is_imported(name):
    assert name in dir(hf_distill)
