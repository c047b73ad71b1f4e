from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest

import validation
from hepflows.errors import OutputError
from validation.gates import Gate, GateOutcome
from validation.headline import number, rows_of, split_metrics
from validation.metric import Metric
from validation.settings import Settings
from validation.verdict import verdicts


class Tags(HTMLParser):
    """Collects open tags and attributes, and checks that tags are closed in order."""

    VOID = frozenset({"meta", "img", "br", "link"})

    def __init__(self):
        super().__init__()
        self.stack, self.found = [], []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag


@pytest.fixture(scope="module")
def comparison(points, domain):
    return validation.compare(
        points(300, seed=1),
        {"good": points(200, seed=2), "bad <b>": points(200, seed=3, shift=2.0)},
        domain,
        settings=Settings(trainings=1, epochs=3, replicas=20, gates={"auc_all": Gate(k=1, m=3)}),
        provenance={"reference": {"file": "truth.h5"}},
    )


@pytest.fixture(scope="module")
def out(comparison, tmp_path_factory):
    return comparison.write(tmp_path_factory.mktemp("written") / "report")


def test_report_is_self_contained_and_complete(out):
    html = (out / "report.html").read_text()
    assert not re.search(r"(src|href)=\"(?!data:|#)", html)
    assert "http" not in re.sub(r"data:image/png;base64,[^\"]*", "", html)
    tags = Tags()
    tags.feed(html)
    assert tags.stack == []
    images = [attrs for tag, attrs in tags.found if tag == "img"]
    pictures = sorted(path.name for path in (out / "pictures").iterdir())
    assert len(images) == len(pictures) > 5
    assert {"average.png", "response.png", "classifier.png", "example_0.png"} <= set(pictures)
    assert all(attrs["src"].startswith("data:image/png;base64,iVBOR") for attrs in images)
    assert "bad &lt;b&gt;" in html
    assert "Failed" in html
    assert "truth.h5" in html
    anchors = {attrs["id"] for _, attrs in tags.found if "id" in attrs}
    assert {attrs["href"][1:] for tag, attrs in tags.found if tag == "a"} <= anchors


def test_json_file_equals_the_result(comparison, out):
    assert json.loads((out / "report.json").read_text()) == json.loads(json.dumps(comparison.to_json()))


def test_existing_report_needs_force(comparison, tmp_path, monkeypatch):
    monkeypatch.setattr("validation.report.gallery", lambda *_, **__: iter(()))  # pictures take seconds
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "mine").touch()
    with pytest.raises(OutputError, match="exists"):
        comparison.write(tmp_path / "report")
    comparison.write(tmp_path / "report", force=True)
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        "mine",
        "pictures",
        "report.html",
        "report.json",
    }


def test_failure_leaves_nothing_behind(comparison, tmp_path, monkeypatch):
    monkeypatch.setattr("validation.report.gallery", lambda *_, **__: iter(()))
    monkeypatch.setattr("validation.report.render", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        comparison.write(tmp_path / "report")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.53712, 0.0123, "0.537 ± 0.012"),
        (1.019876, 0.00011, "1.01988 ± 0.00011"),
        (30.1194, 3.989, "30.1 ± 4.0"),
        (1.0, 0.0, "1.000 ± 0.000"),
        (-0.00019, 0.00066, "(-1.9 ± 6.6)·10⁻⁴"),
        (2.5e-6, 3e-7, "(2.50 ± 0.30)·10⁻⁶"),
    ],
)
def test_numbers_show_the_digits_that_their_error_deserves(value, error, text):
    assert number(value, error) == text


def gate(metric, excess, limit):
    return GateOutcome(sample="fast", metric=metric, excess=excess, limit=limit, passed=excess <= limit)


def test_verdict_names_the_worst_gates_and_counts_the_others():
    failed = [gate(f"w1_{k}", 1.0 + k, 1.0) for k in range(1, 8)] + [gate("kpd", 0.1, -0.1), gate("fpd", 0.0, 1.0)]
    samples = {"fast": {"separation_a": Metric(value=0.5, error=0.01, floor=0.0, n=100)}}
    (found,) = verdicts(SimpleNamespace(gates=tuple(failed), samples=samples))
    assert found.gates == 9
    assert [outcome.metric for outcome in found.failed] == ["kpd", *(f"w1_{k}" for k in range(7, 0, -1))]
    assert found.worst.startswith("kpd (0.1, allowed -0.1), w1_7 (8 times the limit)")
    assert found.worst.endswith("and 3 more")
    assert found.sentence == "0 of 1 distributions agree with the floor within 3 standard errors."


def test_table_on_top_has_the_deciding_metrics_first_and_marks_gates(comparison):
    groups, details = split_metrics(comparison)
    assert [heading for heading, _ in groups] == [
        "Told apart by a classifier?", "Distributions", "Variety and copies", "Means and widths"
    ]  # fmt: skip
    shown = [key for _, keys in groups for key in keys]
    assert len(shown) == len(set(shown))
    assert set(shown) | set(details) == {key for metrics in comparison.samples.values() for key in metrics}
    (row,) = rows_of(comparison, ["auc_all"])
    assert [cell.mark for cell in row.cells] == ["✓", "✗"]
    assert row.target == "0.5"
