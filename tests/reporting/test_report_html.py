import configparser
import json
import re
from functools import cache
from html import unescape
from pathlib import Path

import matplotlib as mpl
import pytest
from page import Page
from PIL import Image
from sample_report import METRICS, hostile_report, sample_report

import hf_distill
from hf_distill.reporting.page.drawing import report_style, to_svg
from hf_distill.reporting.page.html import render_html, render_page
from hf_distill.reporting.page.palette import COLORS, model_colors
from hf_distill.reporting.page.plots import PLOTS, inline_svgs, save_plots
from hf_distill.reporting.page.sections import SECTIONS
from hf_distill.reporting.report import Report
from hf_distill.reporting.text import HTML, PLAIN, bucket, describe_machine, ends, non_inferiority, p_value, short

SECTION_IDS = ["models", "quality", "fidelity", "calibration", "robustness", "cost", "deferral", "method"]
URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s\"'<>)]*", re.IGNORECASE)
PARTS = ["fidelity", "calibration", "by_length", "by_class", "shifted", "cost", "deferral"]


@cache
def drawn(problem_type):
    """The plots of the sample report. Drawing them takes two seconds."""
    return inline_svgs(sample_report(problem_type))


@cache
def rendered(problem_type):
    return render_page(sample_report(problem_type), drawn(problem_type))


@pytest.fixture(scope="module")
def html():
    return rendered("single_label_classification")


@pytest.fixture(scope="module")
def svgs():
    return drawn("single_label_classification")


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


def test_parts_that_do_not_apply_to_a_regression_are_left_out():
    html = rendered("regression")
    assert section_ids(html) == ["models", "quality", "fidelity", "robustness", "cost", "method"]
    assert "RMSE" in html
    assert "KL divergence (nats)</th>" not in html


def test_sections_without_numbers_are_left_out(html):
    assert section_ids(html) == SECTION_IDS
    html = render_html(without("fidelity", "calibration", "cost", "deferral"))
    assert section_ids(html) == ["models", "quality", "robustness", "method"]


def test_a_page_for_rows_without_labels_has_no_scores():
    scores = ("retention", "gap_closed", "versus_teacher", "versus_baseline", "metrics", "confusions")
    report = without(*PARTS[1:], *scores) | {"leaderboard": [], "slices": [], "changes": None}
    report["task"]["metrics"], report["verdict"] = (
        [],
        {"sentence": "Nothing is known.", "replace": None, "reason": "no labels", "model": None},
    )
    report["leaderboard"] = []
    html = render_html(report)
    assert section_ids(html) == ["models", "fidelity", "method"]
    assert rows_of_first_table(html) == [[name] for name in report["models"]]  # no column of n/a
    assert "Not shown" in html


def test_the_first_table_has_the_numbers_that_decide(html):
    teacher, student, export, baseline = rows_of_first_table(html)
    assert teacher == ["teacher", "91.2 %", "–", "–", "–", "22.7 M", "91.0 MB", "21.4 ms", "1.0×"]
    # 0.9025 / 0.912 = 0.98958; (0.9025 - 0.881) / 0.031 = 0.6935
    assert student == ["student", "90.2 %", "99.0 %", "69.4 %", "yes", "17.4 M", "69.5 MB", "10.7 ms", "2.0×"]
    assert export[-3:] == ["17.8 MB", "4.12 ms", "5.2×"]
    assert baseline[3:5] == ["–", "–"]


def test_a_text_of_disagreement_is_shown_with_both_answers(html):
    entry = html[html.index("Hardly a disaster.") :].split("</ul>")[0]
    assert re.findall("<bdi>(.*?)</bdi>", entry) == ["negative", "negative", "positive"]  # label, teacher, student
    assert "teacher, confidence 95.1\u00a0%" in entry


# ---- The words of the page ----


def words(html):
    """The text of the page without its data, with plain spaces."""
    text = re.sub(r"<script.*?</script>|<style.*?</style>|<svg.*?</svg>", "", html, flags=re.DOTALL)
    return " ".join(unescape(re.sub("<[^>]+>", " ", text)).split())


def changed(change):
    """The page of the sample report after a change, with the plots from before it."""
    report = sample_report()
    change(report)
    return render_page(report, drawn("single_label_classification"))


def widen_gap(report):
    report["models"]["student"]["gap_closed"] = {"value": 1.266, "low": 0.738, "high": 3.956}


def test_a_number_and_its_unit_stay_on_one_line(html):
    text = re.sub(
        r"<svg.*?</svg>|<[^>]+>", "", unescape(html[html.index("<h2") : html.index("<script")]), flags=re.DOTALL
    )
    assert "its accuracy is 90.2\u00a0%" in text
    assert not re.search(r"\d (%|points?\b|ms\b|rows?\b)", text)


def test_minus_signs_and_apostrophes_of_sentences_are_those_of_the_tables():
    sentence = "The student's loss: -1.3 to +2.2, in sst-2, 3-4."
    html = changed(lambda report: report["verdict"].update(sentence=sentence))
    assert "The student’s loss: −1.3 to +2.2, in sst-2, 3-4." in unescape(html)


def test_the_tests_say_which_of_several_runs_they_are_about(html):
    table = html[html.index("Paired tests on the same rows") :]
    table = " ".join(re.sub("<[^>]*>", " ", table[: table.index("</table>")]).split())
    assert "student run 1 of 3 the teacher" in table
    assert "student mean of the runs the baseline" in table
    report = sample_report()
    report["models"]["student"]["shipped_run"] = 2
    row = next(line for line in Report(report).to_markdown().splitlines() if "student (mean of 3 runs)" in line)
    assert row.count("run 3: ") == 1
    assert "run 3: +" in row or "run 3: -" in row


def test_a_deviation_of_a_share_is_in_points(html):
    assert "±0.4\u00a0points\u00a0(seeds)" in html
    assert "±0.4\u00a0%" not in html


def test_a_gap_that_is_too_small_is_no_headline():
    html = changed(widen_gap)
    assert "126.6" not in words(html)
    assert "3.1 points" in words(html)  # 0.912 - 0.881
    assert "between teacher and baseline 3.1 points too little to say how much of it is closed" in words(html)
    _, student, export, _ = rows_of_first_table(html)
    assert (student[3], export[3]) == ("unclear", "62.9 %")
    assert PLAIN.gap_closed({"value": 1.266, "low": 0.738, "high": 3.956}) == "unclear (small gap)"
    assert PLAIN.gap_closed({"value": 1.12, "low": 0.9, "high": 1.3}) == "112.0 % (90.0 to 130.0)"


def test_the_answers_are_yes_no_and_not_shown_and_only_yes_and_no_have_a_color():
    def answer(report):
        for entry, text in zip(report["leaderboard"], (None, "no", "not shown", None), strict=True):
            entry["answer"] = text

    html = changed(answer)
    first = html[html.index("<tbody>") : html.index("</tbody>")]
    assert '<td class="bad"><bdi>no</bdi>' in first
    assert "<td><bdi>not shown</bdi>" in first
    assert "<td><bdi>–</bdi>" in first
    assert 'class="bad"' not in html[html.index("Paired tests") :].split("</table>")[0]


def test_models_are_sorted_by_score_and_there_is_no_second_table_of_the_same_numbers():
    html = changed(lambda report: report["leaderboard"].reverse())
    assert [row[0] for row in rows_of_first_table(html)] == ["baseline", "student int8", "student", "teacher"]
    assert "Leaderboard" not in html


def test_no_table_has_a_column_without_a_value():
    def remove(report):
        for model in report["models"].values():
            model["cost"].update(peak_memory_bytes=None, flops_per_example=None, bytes_on_disk=None)

    html = changed(remove)
    assert not {"on disk", "peak memory", "computation for one text"} & set(re.findall("<th[^>]*>(.*?)</th>", html))


def test_the_best_corner_of_a_plot_is_the_lower_one_for_an_error(html):
    assert "One text at a time. Upper left is best." in words(html)
    report = sample_report("regression")
    report["task"]["metric_name"] = "mae"
    for model in report["models"].values():
        model["metrics"]["mae"] = model["metrics"]["pearson"]
    assert "Lower left is best." in words(render_page(report, drawn("regression")))


def test_rows_without_a_name_are_named_by_their_number():
    for num_rows, title in ((872, "Comparison on 872 rows"), (1, "Comparison on 1 row")):
        html = changed(lambda report, num_rows=num_rows: report["task"].update(name="data", rows=num_rows))
        assert f"<title>Distillation report: {title}</title>" in html


def test_the_machine_is_described_in_the_singular_and_in_the_words_of_the_card():
    machine = {"cores": 1, "threads": 1, "cpu": "AMD EPYC", "memory_gb": 23.5, "gpu": None, "is_busy": False}
    assert describe_machine(machine) == "1 core of AMD EPYC, 1 thread, 23.5 GiB of memory, no GPU"
    assert describe_machine(machine) in words(changed(lambda report: report.update(machine=machine)))


def test_times_of_a_busy_machine_are_no_headline(html):
    assert "as fast on one text" in html
    assert "as fast on one text" not in changed(lambda report: report["machine"].update(is_busy=True))


def test_the_first_texts_of_disagreement_are_shown_and_the_others_folded():
    html = changed(lambda report: report.update(disagreements=5 * report["disagreements"]))
    shown, folded = html.split("<summary>15 more</summary>")
    assert shown.count("Hardly a disaster.") == 1
    assert folded.split("<script")[0].count("Hardly a disaster.") == 4


def test_a_lost_class_has_a_table():
    entry = {"label": "fraud", "rows": 36, "teacher": 0.861, "model": 0.0, "p_value": 0.0001}
    lost = {"lost": [entry], "vanished": [], "num_classes": 2, "num_too_small": 0}
    html = changed(lambda report: report["models"]["student"].update(lost_classes=lost))
    header = "Lost classes model class rows teacher finds model finds p-value"
    assert f"{header} student fraud lost 36 86.1 % 0.0 % < 0.001" in words(html)


def test_requirements_have_a_table():
    interval = {"low": 0.88, "high": 0.92, "level": 0.95}
    results = [
        {"text": "accuracy >= 0.9", "is_met": True, "value": 0.9025, "bound": 0.9, "reason": None,
         "certainty": "more rows", "interval": interval, "more_rows": 93111},
        {"text": "ece <= 0.01", "is_met": False, "value": 0.067, "bound": 0.01, "reason": None,
         "certainty": None, "interval": None, "more_rows": None},
    ]  # fmt: skip
    html = changed(lambda report: report.update(requirements={"model": "student", "results": results}))
    assert (
        "Requirements on the student requirement answer measured bound accuracy >= 0.9 not certain: the 95 % interval "
        "is 0.88 to 0.92, and about 94,000 more rows would show it in 4 of 5 samples met 0.9025 0.9"
    ) in words(html)
    assert "ece <= 0.01 not met 0.067 0.01" in words(html)


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
        render_page(report, drawn("single_label_classification"))


def test_the_only_urls_are_namespaces(html):
    assert set(URL.findall(html)) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "@import" not in html
    assert not Page(html).values("src")


def test_hostile_strings_make_no_element_and_no_attribute(html, hostile_html):
    page = Page(hostile_html)
    assert {tag for tag, _ in page.elements} == {tag for tag, _ in Page(html).elements}
    assert [attributes["type"] for attributes in page.all("script")] == ["application/json"]
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert "student </script><img…" in page.texts["text"]  # the string is in the plots
    assert not set("\u202e\u2028\x00") & set(hostile_html)


def test_every_plot_with_numbers_is_drawn(svgs):
    assert svgs.keys() == PLOTS.keys()
    assert inline_svgs(without(*PARTS)).keys() == {"scores"}


def test_every_plot_has_one_place_in_the_page_and_every_name_of_a_section_is_a_plot(html):
    named = [name for section in SECTIONS for name in section.plots]
    assert sorted(named) == sorted(PLOTS)
    captions = [attributes["id"].removesuffix("-caption") for attributes in Page(html).all("figcaption")]
    assert sorted(captions) == sorted(PLOTS)
    assert all(html.count(f'aria-labelledby="{name}-caption"') == 1 for name in PLOTS)


def test_plots_take_their_colors_from_the_page(html, svgs):
    plots = "".join(svgs.values())
    assert not re.search("#[0-9a-fA-F]{6}", re.sub(r"#[\w-]+\)|href=\"#[^\"]*", "", plots))
    assert set(re.findall(r"var\(--([\w-]+)\)", plots)) <= COLORS.keys()
    for color in COLORS:
        assert html.count(f"--{color}:") == 2  # light and dark


def luminance(color):
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1])
def test_colors_have_the_contrast_that_accessibility_needs(scheme):
    # WCAG 2.2: 4.5 for words (criterion 1.4.3), 3 for graphics (1.4.11). Names of models are drawn in color.
    card = luminance(COLORS["card"][scheme])
    assert len({pair[scheme] for pair in COLORS.values()}) == len(COLORS)
    for name in COLORS.keys() - {"paper", "card", "line"}:
        shades = sorted([card, luminance(COLORS[name][scheme])])
        least = 3 if name == "baseline" else 4.5
        assert (shades[1] + 0.05) / (shades[0] + 0.05) >= least, name


def test_a_role_keeps_its_color_and_a_second_student_gets_another():
    models = {name: {"role": role} for name, role in [("t", "teacher"), ("a", "student"), ("b", "student")]}
    assert model_colors(models) == {"t": "teacher", "a": "student-1", "b": "student-2"}


def test_the_plot_shows_the_worst_classes_and_the_table_all():
    labels = [f"class{i:02d}" for i in range(77)]
    report = sample_report(labels=labels)
    for i, entry in enumerate(report["models"]["student"]["by_class"]):
        entry["f1"] = 0.5 + i / 200
    with report_style():
        svg = to_svg(PLOTS["f1_by_class"].draw(report), "f1_by_class")
    assert re.findall(r"class\d\d", svg) == labels[:15]
    html = render_page(report, drawn("single_label_classification"))
    assert all(html.count(f"<bdi>{label}</bdi>") >= 2 for label in labels)  # one table of agreement, one of F1
    assert html.count("By class: 77 classes, the worst first</summary>") == 2


def test_pngs_do_not_name_the_software_that_wrote_them(tmp_path):
    paths = save_plots(sample_report(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{name}.png" for name in PLOTS)
    with Image.open(paths[0]) as image:
        assert image.width == 960  # 4.8 inches at 200 dots
        assert "Software" not in image.info


def test_the_users_matplotlib_settings_have_no_effect_and_stay(svgs):
    with mpl.rc_context({"axes.facecolor": "pink", "font.size": 30, "text.usetex": True}):
        assert inline_svgs(sample_report()) == svgs
        assert mpl.rcParams["font.size"] == 30
    with report_style(), pytest.raises(RuntimeError):
        raise RuntimeError
    assert mpl.rcParams["text.parse_math"]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (HTML.quantity(22_713_216), "22.7 M"),
        (HTML.quantity(91_000, "B"), "91.0 kB"),
        (HTML.quantity(940, "B"), "940 B"),
        (HTML.quantity(None, "B"), "n/a"),
        (HTML.difference(-0.012, "accuracy"), "\u22121.2 points"),
        (HTML.difference(-0.012, "pearson"), "\u22120.012"),
        (HTML.score(0.9, "entity_f1"), "90.0 %"),
        (HTML.score(0.9, "matthews_correlation"), "0.900"),
        (p_value(0.0004), "< 0.001"),
        (HTML.interval({"low": 0.978, "high": 1.001}, HTML.share), "97.8 to 100.1 %"),
        (HTML.interval({"low": None, "high": None}, HTML.share), ""),
        (HTML.milliseconds(125.4), "125 ms"),
        (bucket(1, 8), "1–8"),
        (bucket(17, None), "17+"),
        (short("a\u202eb\n c", 9), "a b c"),
        (short("abcdef", 4), "abc…"),
        (ends("card_lost_abroad_1", 9), "card…ad_1"),
    ],
)
def test_numbers_and_names_are_written_for_html(shown, expected):
    assert shown.replace("\u00a0", " ") == expected


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (PLAIN.score(0.912, "accuracy"), "91.2 %"),
        (PLAIN.score(0.812, "pearson"), "0.812"),
        (PLAIN.score(0.5, "a_score_of_the_user"), "0.500"),
        (PLAIN.score(float("nan"), "accuracy"), "n/a"),
        (PLAIN.difference(-0.012, "accuracy"), "-1.2 points"),
        (PLAIN.difference(None, "accuracy"), "n/a"),
        (PLAIN.difference(0.0004, "accuracy"), "0.0 points"),
        (PLAIN.difference(-0.0004, "pearson"), "0.000"),
        (PLAIN.difference(-0.0006, "accuracy"), "-0.1 points"),
        (PLAIN.margin(0.01, "accuracy"), "1 point"),
        (PLAIN.margin(0.015, "accuracy"), "1.5 points"),
        (PLAIN.margin(0.01, "pearson"), "0.010"),
        (PLAIN.estimate({"value": 0.812, "low": 0.793, "high": 0.831}, PLAIN.share), "81.2 % (79.3 to 83.1)"),
        (PLAIN.estimate({"value": None, "low": None, "high": None}, PLAIN.share), "n/a"),
        (PLAIN.estimate(None, PLAIN.share), "n/a"),
        (PLAIN.interval({"low": -0.012, "high": 0.004}, PLAIN.share), "-1.2 to 0.4 %"),
        (PLAIN.quantity(4_100_000_000), "4.10 G"),
        (PLAIN.times(4.21), "4.2×"),
    ],
)
def test_numbers_are_written_for_plain_text(shown, expected):
    assert shown == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(-0.005, 0.02, "yes"), (-0.05, -0.02, "no"), (-0.02, 0.02, "not shown")]
)
def test_non_inferiority_is_yes_no_or_not_shown(low, high, expected):
    assert non_inferiority({"low": low, "high": high, "margin": 0.01, "non_inferior": low > -0.01}) == expected
    assert non_inferiority({"low": low, "high": high}) == non_inferiority(None) == "n/a"


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
