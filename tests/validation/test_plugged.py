from __future__ import annotations

import json
from importlib import metadata

import numpy as np
import pytest

import validation
from hepflows.registry import PluginError
from validation import Estimate, Gate, Judgement, PluggedMetric, Settings, compare


def shift(generated, reference, *, replicas, seed):
    g, r = generated.values("a"), reference.values("a")
    error = np.sqrt(g.var() / len(g) + r.var() / len(r))
    return {"a_shift": Estimate(value=abs(float(g.mean() - r.mean())), error=float(error))}


METRIC = PluggedMetric(
    compare=shift, judgements={"a_shift": Judgement(target=0.0, meaning="Difference of the means of a")}
)


@pytest.fixture
def announce(monkeypatch):
    """Lets an installed package announce objects in the group of metrics."""

    def announced(**objects):
        for name, thing in objects.items():
            monkeypatch.setattr(validation, f"_test_{name}", thing, raising=False)
        entries = [
            metadata.EntryPoint(name=name, value=f"validation:_test_{name}", group="hepflows.metrics")
            for name in objects
        ]
        entries.append(metadata.EntryPoint(name="compare", value="validation:compare", group="hepflows.metrics"))
        monkeypatch.setattr(metadata, "entry_points", lambda *, group: entries if group == "hepflows.metrics" else [])

    return announced


def run(points, domain, *, off=0.0, **gates):
    settings = Settings(trainings=0, replicas=10, gates=gates)
    return compare(points(400, seed=1), points(400, seed=2, shift=off), domain, settings=settings)


def test_metric_of_another_package_has_floor_gate_and_place_in_the_report(announce, points, domain, tmp_path):
    announce(shift=METRIC)
    found = run(points, domain, a_shift=Gate(k=1, m=4))
    metric = found.samples["generated"]["a_shift"]
    assert metric.floor is not None
    assert abs(metric.pull()) < 4
    assert found.passed
    assert not run(points, domain, off=1.0, a_shift=Gate(k=1, m=4)).passed
    found.write(tmp_path / "report")
    document = json.loads((tmp_path / "report" / "report.json").read_text())
    assert document["samples"]["generated"]["a_shift"]["value"] == metric.value
    assert "Difference of the means of a" in (tmp_path / "report" / "report.html").read_text()


def test_metric_for_other_domains_is_left_out(announce, points, domain):
    announce(shift=PluggedMetric(compare=shift, judgements=METRIC.judgements, domains=("calofast",)))
    assert "a_shift" not in run(points, domain).samples["generated"]


@pytest.mark.parametrize("name", ["other", "separation_a"])
def test_names_that_were_not_announced_or_are_taken_are_refused(announce, points, domain, name):
    judgements = {"separation_a": Judgement(target=0.0)}

    def wrong(*_, **__):
        return {name: Estimate(value=0.0, error=1.0)}

    announce(wrong=PluggedMetric(compare=wrong, judgements=judgements))
    with pytest.raises(PluginError, match="names"):
        run(points, domain)


def test_metric_that_cannot_be_imported_names_its_package(announce, points, domain, monkeypatch):
    broken = metadata.EntryPoint(name="broken", value="no_such_module:METRIC", group="hepflows.metrics")
    monkeypatch.setattr(metadata, "entry_points", lambda *, group: [broken] if group == "hepflows.metrics" else [])
    with pytest.raises(PluginError, match="no_such_module"):
        run(points, domain)
