import configparser
import json
import re
from functools import cache
from pathlib import Path

import matplotlib as mpl
import pytest
from page import Page
from PIL import Image
from sample_report import METRICS, hostile_report, sample_report

import hf_distill
from hf_distill.reporting import formats
from hf_distill.reporting.page.drawing import report_style
from hf_distill.reporting.page.html import render_html
from hf_distill.reporting.page.palette import COLOURS, model_colours
from hf_distill.reporting.page.plots import PLOTS, inline_svgs, save_plots

SECTIONS = ["models", "quality", "fidelity", "calibration", "robustness", "cost", "deferral", "method"]
URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s\"'<>)]*", re.IGNORECASE)
PARTS = ["fidelity", "calibration", "by_length", "by_class", "shifted", "cost", "deferral"]


@cache
def rendered(problem_type):
    return render_html(sample_report(problem_type))


@pytest.fixture(scope="module")
def html():
    return rendered("single_label_classification")


@pytest.fixture(scope="module")
def svgs():
    return inline_svgs(sample_report())


@pytest.fixture(scope="module")
def hostile_html():
    return render_html(hostile_report())


def without(*parts):
    """The sample report with parts that do not apply to any model."""
    report = sample_report()
    for model in report["models"].values():
        model.update(dict.fromkeys(parts))
    return report


def rows_of_first_table(html):
    body = html[html.index("<tbody>") : html.index("</tbody>")]
    cells = [re.findall("<bdi>(.*?)</bdi>", row) for row in body.split("<tr>")[1:]]
    return [[cell.replace("\u00a0", " ") for cell in row] for row in cells]


def section_ids(html):
    return [attributes["id"] for attributes in Page(html).all("section") if "id" in attributes]


@pytest.mark.parametrize("problem_type", METRICS)
def test_the_page_is_well_formed_for_every_problem_type(problem_type):
    page = Page(rendered(problem_type))
    ids = page.values("id")
    assert len(set(ids)) == len(ids)
    named = {name for names in page.values("aria-labelledby") for name in names.split()}
    assert named <= set(ids)
    assert {target[1:] for target in page.values("href") + page.values("xlink:href")} <= set(ids)
    assert set(re.findall(r"url\(#(.*?)\)", str(page.elements))) <= set(ids)
    assert {attributes["scope"] for attributes in page.all("th")} == {"col", "row"}


def test_what_does_not_apply_to_a_regression_is_left_out():
    html = rendered("regression")
    assert section_ids(html) == ["models", "quality", "fidelity", "robustness", "cost", "method"]
    assert "RMSE" in html
    assert "KL divergence</th>" not in html


def test_sections_without_numbers_are_left_out(html):
    assert section_ids(html) == SECTIONS
    html = render_html(without("fidelity", "calibration", "cost", "deferral"))
    assert section_ids(html) == ["models", "quality", "robustness", "method"]


def test_rows_without_labels_leave_a_page_without_scores():
    report = without(*PARTS[1:], "retention", "gap_closed", "versus_teacher", "versus_baseline", "metrics")
    report["task"]["metrics"], report["verdict"] = (
        [],
        {"sentence": "Nothing is known.", "replace": None, "model": None},
    )
    html = render_html(report)
    assert section_ids(html) == ["models", "fidelity", "method"]
    assert rows_of_first_table(html)[1] == ["student", *["n/a"] * 8]
    assert "Not clear" in html


def test_the_first_table_says_what_decides(html):
    teacher, student, export, baseline = rows_of_first_table(html)
    assert teacher == ["teacher", "91.2 %", "n/a", "n/a", "n/a", "22.7 M", "91.0 MB", "21.4 ms", "1.0×"]
    # 0.9025 / 0.912 = 0.98958; (0.9025 - 0.881) / 0.031 = 0.6935
    assert student == ["student", "90.2 %", "99.0 %", "69.4 %", "yes", "17.4 M", "69.5 MB", "10.7 ms", "2.0×"]
    assert export[-3:] == ["17.8 MB", "4.12 ms", "5.2×"]
    assert baseline[3:5] == ["n/a", "not shown"]


def test_texts_of_disagreements_stand_with_both_answers(html):
    entry = html[html.index("Hardly a disaster.") :].split("</ul>")[0]
    assert re.findall("<bdi>(.*?)</bdi>", entry) == ["negative", "negative", "positive"]  # label, teacher, student
    assert "teacher, 95.1\u00a0% sure" in entry


@pytest.mark.parametrize("is_hostile", [False, True])
def test_the_report_itself_is_in_the_page(html, hostile_html, is_hostile):
    page = hostile_html if is_hostile else html
    data = page[page.index('id="report-data">') + len('id="report-data">') : page.rindex("</script>")]
    assert not set("<>&\u2028\u2029") & set(data)
    assert json.loads(data) == (hostile_report() if is_hostile else sample_report())


def test_a_number_that_is_not_finite_is_refused():
    report = sample_report()
    report["models"]["student"]["cost"]["flops_per_example"] = float("inf")
    report["verdict"]["model"] = "teacher"
    with pytest.raises(ValueError, match="JSON"):
        render_html(report)


def test_there_is_no_url_but_namespaces(html):
    assert set(URL.findall(html)) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "@import" not in html
    assert not Page(html).values("src")


def test_hostile_strings_make_no_element_and_no_attribute(html, hostile_html):
    page = Page(hostile_html)
    assert {tag for tag, _ in page.elements} == {tag for tag, _ in Page(html).elements}
    assert [attributes["type"] for attributes in page.all("script")] == ["application/json"]
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert "student </script><img…" in page.texts["text"]  # it did reach the plots
    assert not set("\u202e\u2028\x00") & set(hostile_html)


def test_a_plot_is_there_for_all_that_has_numbers(svgs):
    assert svgs.keys() == PLOTS.keys()
    assert inline_svgs(without(*PARTS)).keys() == {"scores"}


def test_plots_take_their_colours_from_the_page(html, svgs):
    drawn = "".join(svgs.values())
    assert not re.search("#[0-9a-fA-F]{6}", re.sub(r"#[\w-]+\)|href=\"#[^\"]*", "", drawn))
    assert set(re.findall(r"var\(--([\w-]+)\)", drawn)) <= COLOURS.keys()
    for colour in COLOURS:
        assert html.count(f"--{colour}:") == 2  # light and dark


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1])
def test_colours_stand_out_as_accessibility_asks(scheme):
    # WCAG 2.2: 4.5 for words (criterion 1.4.3), 3 for graphics (1.4.11). Models' names are drawn in their colours.
    card = luminance(COLOURS["card"][scheme])
    assert len({pair[scheme] for pair in COLOURS.values()}) == len(COLOURS)
    for name in COLOURS.keys() - {"paper", "card", "line"}:
        shades = sorted([card, luminance(COLOURS[name][scheme])])
        least = 3 if name == "baseline" else 4.5
        assert (shades[1] + 0.05) / (shades[0] + 0.05) >= least, name


def test_a_role_keeps_its_colour_and_a_second_student_gets_another():
    models = {name: {"role": role} for name, role in [("t", "teacher"), ("a", "student"), ("b", "student")]}
    assert model_colours(models) == {"t": "teacher", "a": "student-1", "b": "student-2"}


def test_many_classes_show_the_worst_in_the_plot_and_all_in_the_table():
    labels = [f"class{i:02d}" for i in range(77)]
    report = sample_report(labels=labels)
    for i, found in enumerate(report["models"]["student"]["by_class"]):
        found["f1"] = 0.5 + i / 200
    svg = inline_svgs(report)["f1_by_class"]
    assert re.findall(r"class\d\d", svg) == labels[:15]
    html = render_html(report)
    assert all(html.count(f"<bdi>{label}</bdi>") >= 7 for label in labels)  # three tables of agreement, four of F1


def test_pngs_are_written_without_a_word_of_who_wrote_them(tmp_path):
    paths = save_plots(sample_report(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{name}.png" for name in PLOTS)
    with Image.open(paths[0]) as image:
        assert image.width == 960  # 4.8 inches at 200 dots
        assert "Software" not in image.info


def test_a_readers_matplotlib_settings_neither_show_nor_change(svgs):
    with mpl.rc_context({"axes.facecolor": "pink", "font.size": 30, "text.usetex": True}):
        assert inline_svgs(sample_report()) == svgs
        assert mpl.rcParams["font.size"] == 30
    with report_style(), pytest.raises(RuntimeError):
        raise RuntimeError
    assert mpl.rcParams["text.parse_math"]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (formats.quantity(22_713_216), "22.7 M"),
        (formats.quantity(91_000, "B"), "91.0 kB"),
        (formats.quantity(940, "B"), "940 B"),
        (formats.quantity(None, "B"), "n/a"),
        (formats.difference(-0.012, "accuracy"), "\u22121.2 points"),
        (formats.difference(-0.012, "pearson"), "\u22120.012"),
        (formats.score(0.9, "entity_f1"), "90.0 %"),
        (formats.score(0.9, "matthews_correlation"), "0.900"),
        (formats.p_value(0.0004), "< 0.001"),
        (formats.interval({"low": 0.978, "high": 1.001}, formats.share), "97.8 to 100.1 %"),
        (formats.interval({"low": None, "high": None}, formats.share), ""),
        (formats.milliseconds(125.4), "125 ms"),
        (formats.bucket(1, 8), "1–8"),
        (formats.bucket(17, None), "17+"),
        (formats.short("a\u202eb\n c", 9), "a b c"),
        (formats.short("abcdef", 4), "abc…"),
        (formats.ends("card_lost_abroad_1", 9), "card…ad_1"),
    ],
)
def test_numbers_and_names_are_written_as_a_reader_wants_them(shown, expected):
    assert shown.replace("\u00a0", " ") == expected


def test_every_file_of_the_package_is_installed():
    root = Path(hf_distill.__file__).parent
    setup = configparser.ConfigParser()
    setup.read(root.parent / "setup.cfg")
    listed = {
        root / package.replace("hf_distill", ".", 1).replace(".", "/").lstrip("/") / name
        for package, names in setup["options.package_data"].items()
        for name in names.replace(",", " ").split()
    }
    others = {path for path in root.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert {path.resolve() for path in listed} == {path.resolve() for path in others}
