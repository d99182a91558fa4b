"""The Grafana dashboards: importable, with the documented panels, over metrics that exist."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from chalicelib.api.mq.metrics import families
from chalicelib.core import cloudwatch
from chalicelib.core.cloudwatch import NAMESPACE, STAGE, TOPIC
from chalicelib.core.exposition import MetricType
from chalicelib.engine.projections.dashboard import Topic

FOLDER = Path(__file__).parents[2] / "infra" / "grafana"
PROMETHEUS, CLOUDWATCH = "mq-dashboard.json", "mq-dashboard-cloudwatch.json"
KINDS = {PROMETHEUS: "prometheus", CLOUDWATCH: "cloudwatch"}
UNITS = {
    "Queue Depth": "short",
    "Consume Rate": "mps",
    "Failure Rate": "mps",
    "DLQ Rate": "mps",
    "Success Ratio": "percentunit",
    "Consumed vs Failed Comparison": "mps",
}
GRID_COLUMNS = 24
TOLD = {cloudwatch.MQ_CONSUMED.name, cloudwatch.MQ_FAILED.name, cloudwatch.MQ_DLQ.name, cloudwatch.MQ_DEPTH.name}
EXPOSED = {family.name: family.type for family in families({"t": Topic(0, Counter(), 0)})}
GRAFANA_VARIABLES = {"__rate_interval", "__all"}

Document = Mapping[str, Any]


def read(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


@pytest.fixture(params=list(KINDS))
def dashboard(request: pytest.FixtureRequest) -> tuple[str, Document]:
    """A dashboard, and the kind of its data source."""
    return KINDS[request.param], read(request.param)


def targets(document: Document) -> Iterator[Document]:
    for panel in document["panels"]:
        yield from panel["targets"]


def panel(document: Document, title: str) -> Document:
    (found,) = [panel for panel in document["panels"] if panel["title"] == title]
    return dict(found)


def texts(part: Any) -> Iterator[str]:
    """Every text in a document."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, Mapping):
        for inner in part.values():
            yield from texts(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from texts(inner)


class TestBoth:
    def test_it_can_be_imported(self, dashboard: tuple[str, Document]) -> None:
        """As Grafana exports a dashboard to be shared: its data source is asked for at the import."""
        kind, document = dashboard
        assert document["id"] is None
        assert document["schemaVersion"] >= 36
        assert re.fullmatch(r"[a-z-]{1,40}", document["uid"])
        assert document["title"]
        (wanted,) = document["__inputs"]
        assert (wanted["type"], wanted["pluginId"]) == ("datasource", kind)
        (source,) = [v for v in document["templating"]["list"] if v["type"] == "datasource"]
        assert (source["name"], source["query"]) == ("datasource", kind)
        assert source["current"]["value"] == f"${{{wanted['name']}}}"
        assert {(r["type"], r["id"]) for r in document["__requires"]} == {
            ("grafana", "grafana"),
            ("datasource", kind),
            ("panel", "timeseries"),
        }

    def test_the_two_do_not_replace_each_other(self) -> None:
        assert len({read(name)["uid"] for name in KINDS}) == len({read(name)["title"] for name in KINDS}) == 2

    def test_every_query_asks_the_chosen_data_source(self, dashboard: tuple[str, Document]) -> None:
        kind, document = dashboard
        chosen = {"type": kind, "uid": "${datasource}"}
        queried = [v for v in document["templating"]["list"] if v["type"] == "query"]
        assert all(part["datasource"] == chosen for part in [*document["panels"], *targets(document), *queried])

    def test_the_documented_panels(self, dashboard: tuple[str, Document]) -> None:
        _, document = dashboard
        titles = [panel["title"] for panel in document["panels"]]
        assert titles[:6] == list(UNITS)
        for title, unit in UNITS.items():
            defaults = panel(document, title)["fieldConfig"]["defaults"]
            assert (defaults["unit"], defaults["min"]) == (unit, 0)
            assert defaults.get("max") == (1 if unit == "percentunit" else None)
            assert panel(document, title)["description"]

    def test_the_comparison_is_stacked_but_for_dead_letters_which_failures_include(
        self, dashboard: tuple[str, Document]
    ) -> None:
        _, document = dashboard
        stacked = [
            p["title"]
            for p in document["panels"]
            if p["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"] == "normal"
        ]
        assert stacked == ["Consumed vs Failed Comparison"]
        (override,) = panel(document, stacked[0])["fieldConfig"]["overrides"]
        assert override["matcher"] == {"id": "byName", "options": "dead letters"}
        assert {"id": "custom.stacking", "value": {"mode": "none", "group": "A"}} in override["properties"]

    def test_panels_have_numbers_and_places_of_their_own(self, dashboard: tuple[str, Document]) -> None:
        _, document = dashboard
        ids = [panel["id"] for panel in document["panels"]]
        assert len(ids) == len(set(ids))
        cells = [
            (x, y)
            for place in (panel["gridPos"] for panel in document["panels"])
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        ]
        assert len(cells) == len(set(cells))
        assert {x for x, _ in cells} == set(range(GRID_COLUMNS))

    def test_references_within_a_panel_are_unique(self, dashboard: tuple[str, Document]) -> None:
        _, document = dashboard
        for one in document["panels"]:
            refs = [target["refId"] for target in one["targets"]]
            assert len(refs) == len(set(refs))

    def test_every_variable_that_is_used_is_declared(self, dashboard: tuple[str, Document]) -> None:
        _, document = dashboard
        declared = {variable["name"] for variable in document["templating"]["list"]}
        inputs = {wanted["name"] for wanted in document["__inputs"]}
        used = {name for text in texts(document) for name in re.findall(r"\$\{?(\w+)(?![\w(])\}?", text)}
        assert used - GRAFANA_VARIABLES - {"PROP"} == declared | inputs

    def test_topics_are_chosen_among_those_there_are(self, dashboard: tuple[str, Document]) -> None:
        _, document = dashboard
        (topic,) = [v for v in document["templating"]["list"] if v["name"] == "topic"]
        assert (topic["multi"], topic["includeAll"]) == (True, True)
        assert cloudwatch.MQ_DEPTH.name in json.dumps(topic["query"])


class TestPrometheus:
    def test_every_query_names_metrics_that_are_exposed(self) -> None:
        named = {name for target in targets(read(PROMETHEUS)) for name in re.findall(r"\bmq_\w+", target["expr"])}
        assert named <= EXPOSED.keys()
        assert named == TOLD

    def test_counters_are_asked_for_their_rate_and_gauges_for_their_value(self) -> None:
        for target in targets(read(PROMETHEUS)):
            for before, name in re.findall(r"(rate\()?(\bmq_\w+)", target["expr"]):
                assert bool(before) == (EXPOSED[name] is MetricType.COUNTER)

    def test_every_query_is_of_the_chosen_topics_and_balanced(self) -> None:
        for target in targets(read(PROMETHEUS)):
            assert target["expr"].count("mq_") == target["expr"].count('{topic=~"$topic"}')
            assert target["expr"].count("(") == target["expr"].count(")")

    def test_ratios_are_overall_and_by_topic(self) -> None:
        ratio = panel(read(PROMETHEUS), "Success Ratio")
        assert [target["legendFormat"] for target in ratio["targets"]] == ["overall", "{{topic}}"]
        assert all(" / (" in target["expr"] for target in ratio["targets"])


class TestCloudWatch:
    def test_every_query_names_metrics_that_are_told(self) -> None:
        named = {
            name
            for target in targets(read(CLOUDWATCH))
            for name in [target["metricName"], *re.findall(r'MetricName="(\w+)"', target["expression"])]
            if name
        }
        assert named == TOLD

    def test_namespace_and_dimensions_are_those_that_are_told(self) -> None:
        for target in targets(read(CLOUDWATCH)):
            assert (target["namespace"], target["matchExact"]) == (NAMESPACE, True)
            if target["metricName"]:
                assert target["dimensions"] == {STAGE: "$stage", TOPIC: "$topic"}
            schemas = re.findall(r"SEARCH\('\{([^}]+)\} MetricName=\"\w+\" (\w+)=\"\$stage\"", target["expression"])
            assert schemas == [(f"{NAMESPACE},{STAGE},{TOPIC}", STAGE)] * target["expression"].count("SEARCH(")

    def test_sums_of_a_minute_are_told_by_the_second(self) -> None:
        document = read(CLOUDWATCH)
        for title in ("Consume Rate", "Failure Rate", "DLQ Rate"):
            summed, rate = panel(document, title)["targets"]
            assert (summed["statistic"], summed["period"], summed["hide"]) == ("Sum", "60", True)
            assert (rate["expression"], rate["hide"]) == ("m1 / 60", False)
        for target in panel(document, "Consumed vs Failed Comparison")["targets"]:
            assert target["expression"].endswith("'Sum', 60)) / 60")
        (depth,) = panel(document, "Queue Depth")["targets"]
        assert depth["statistic"] == "Maximum"

    def test_math_names_queries_of_its_panel(self) -> None:
        for one in read(CLOUDWATCH)["panels"]:
            ids = [target["id"] for target in one["targets"]]
            assert len(ids) == len(set(ids))
            for target in one["targets"]:
                assert set(re.findall(r"\bm\d", target["expression"])) <= set(ids)
                assert target["metricEditorMode"] == (1 if target["expression"] else 0)

    def test_each_topic_has_a_ratio(self) -> None:
        *_, ratio = read(CLOUDWATCH)["panels"]
        assert (ratio["title"], ratio["repeat"]) == ("Success Ratio of $topic", "topic")
        assert [target["metricName"] for target in ratio["targets"]] == ["mq_consumed_total", "mq_failed_total", ""]
        assert ratio["targets"][-1]["expression"] == "m1 / (m1 + m2)"
