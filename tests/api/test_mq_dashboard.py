"""The dashboard, its events and Prometheus' metrics over HTTP: every field, every limit, every odd topic."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto.backends import get_backend
from moto.core import DEFAULT_ACCOUNT_ID
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from chalicelib.api.mq import metrics
from chalicelib.core.exposition import Family, MetricType, Sample, exposition
from chalicelib.core.histogram import BUCKETS
from chalicelib.core.projection import Bucket, Group, Measure, minute_of
from chalicelib.core.states import State
from chalicelib.engine.projections.dashboard import OLDEST_TOPICS_MAX, SPAN_MIN_MS, Topic
from chalicelib.store.insights import Insights, Standing
from tests.support.service import Reply, Service, service

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
ODD_TOPICS = ('a "quoted" topic', "back\\slash", "\\n", "订单 \U0001f4e6", "{a='b'}", "timestamp", "tail\\")


@pytest.fixture
def api() -> Iterator[Service]:
    """An installation."""
    with service() as made:
        yield made


def publish(api: Service, topic: str, **fields: Any) -> str:
    reply = api.post("/mq/message/publish", {"topic": topic, "payload": {}, **fields})
    assert reply.status == 200, reply.text
    return str(reply.json["id"])


def poll(api: Service, topic: str) -> str:
    (message,) = api.get("/mq/message/poll", {"topic": topic, "limit": 1}).json
    return str(message["id"])


def settle(api: Service, how: str, message_id: str) -> None:
    assert api.post(f"/mq/message/{how}", {"id": message_id}).status == 200


def project(api: Service) -> None:
    """The change stream, to the projector."""
    shard = get_backend("dynamodb")[DEFAULT_ACCOUNT_ID]["us-east-1"].tables[api.yard.settings.jobs_table].stream_shard
    api.module.projector({"Records": [record.to_json() for record in shard.items]}, None)


def dashboard(api: Service, **query: Any) -> dict[str, Any]:
    """The dashboard, once the stream is read."""
    project(api)
    reply = api.get("/mq/dashboard", query)
    assert reply.status == 200, reply.text
    return dict(reply.json)


def a_morning(api: Service) -> None:
    """Of five invoices one is done after 700 ms and 80 ms of work, one is dead after two failures; one mail waits."""
    for _ in range(5):
        publish(api, "invoice.due", maxRetries=2)
    publish(api, "mail")
    api.clock.move(700)
    first, second = poll(api, "invoice.due"), poll(api, "invoice.due")
    api.clock.move(80)
    settle(api, "complete", first)
    settle(api, "fail", second)
    api.clock.move(30_000)
    failing = poll(api, "invoice.due")
    while failing != second:
        failing = poll(api, "invoice.due")
    settle(api, "fail", second)


class TestDashboard:
    def test_every_field(self, api: Service) -> None:
        a_morning(api)
        now = api.clock.ms
        seconds = (now - (now - 5 * MINUTE_MS) // MINUTE_MS * MINUTE_MS) / 1_000
        shown = dashboard(api)
        ready = shown["current"]["queueDepth"]["byTopic"]["invoice.due"]
        assert shown.keys() == {"timestamp", "since", "current", "timeSeries", "topicsLeftOut", "seriesLeftOut"}
        assert (shown["topicsLeftOut"], shown["seriesLeftOut"]) == (0, 0)
        assert (shown["timestamp"], shown["since"]) == (now, now - seconds * 1_000)
        current = shown["current"]
        assert 0 < ready <= 3
        assert current == {
            "queueDepth": {"byTopic": {"invoice.due": ready, "mail": 1}, "total": ready + 1},
            "consumedTotal": {"byTopic": {"invoice.due": 1, "mail": 0}, "total": 1},
            "failedTotal": {"byTopic": {"invoice.due": 2, "mail": 0}, "total": 2},
            "dlqTotal": {"byTopic": {"invoice.due": 1, "mail": 0}, "total": 1},
            "consumeRate": {
                "byTopic": {"invoice.due": rounded(1 / seconds), "mail": 0},
                "total": rounded(1 / seconds),
            },
            "failureRate": {
                "byTopic": {"invoice.due": rounded(2 / seconds), "mail": 0},
                "total": rounded(2 / seconds),
            },
            "dlqRate": {"byTopic": {"invoice.due": rounded(1 / seconds), "mail": 0}, "total": rounded(1 / seconds)},
            "successRatio": rounded(1 / 3),
            "successRatioByTopic": {"invoice.due": rounded(1 / 3), "mail": None},
            "oldestReadyAgeMs": {"byTopic": {"invoice.due": 30_780, "mail": 30_780}, "max": 30_780},
            "waitMs": current["waitMs"],
            "runMs": current["runMs"],
        }
        assert current["waitMs"]["byTopic"].keys() == {"invoice.due", "mail"}
        assert current["waitMs"]["byTopic"]["mail"] == {"p50": None, "p95": None, "p99": None}
        assert 500 < current["waitMs"]["total"]["p50"] <= 30_000
        assert 50 < current["runMs"]["byTopic"]["invoice.due"]["p50"] <= 100

    def test_the_series(self, api: Service) -> None:
        api.clock.ms = api.clock.ms // MINUTE_MS * MINUTE_MS + 30_000
        publish(api, "orders")
        publish(api, "orders")
        api.clock.move(MINUTE_MS)
        settle(api, "complete", poll(api, "orders"))
        now = api.clock.ms
        series = dashboard(api)["timeSeries"]
        assert series.keys() == {"queueDepth", "consumeRate", "failureRate", "dlqRate"}
        times = [now - 30_000 - back * MINUTE_MS for back in reversed(range(59))] + [now]
        assert [point["timestamp"] for point in series["queueDepth"]] == times
        assert series["queueDepth"][-3:] == [
            {"timestamp": now - 90_000, "orders": 0},
            {"timestamp": now - 30_000, "orders": 2},
            {"timestamp": now, "orders": 1},
        ]
        assert series["consumeRate"][-2:] == [
            {"timestamp": now - 30_000, "orders": 0},
            {"timestamp": now, "orders": rounded(1 / 30)},
        ]
        for name in ("failureRate", "dlqRate"):
            assert series[name] == [{"timestamp": at, "orders": 0} for at in times]

    def test_nothing_yet(self, api: Service) -> None:
        shown = dashboard(api)
        nothing = {"byTopic": {}, "total": 0}
        unknown = {"p50": None, "p95": None, "p99": None}
        assert shown["current"] == {
            **dict.fromkeys(("queueDepth", "consumedTotal", "failedTotal", "dlqTotal"), nothing),
            **dict.fromkeys(("consumeRate", "failureRate", "dlqRate"), nothing),
            "successRatio": None,
            "successRatioByTopic": {},
            "oldestReadyAgeMs": {"byTopic": {}, "max": None},
            "waitMs": {"byTopic": {}, "total": unknown},
            "runMs": {"byTopic": {}, "total": unknown},
        }
        assert {len(points) for points in shown["timeSeries"].values()} == {60}

    def test_a_topic_alone(self, api: Service) -> None:
        publish(api, "orders")
        publish(api, "mail")
        shown = dashboard(api, topic="mail")
        assert shown["current"]["queueDepth"] == {"byTopic": {"mail": 1}, "total": 1}
        assert shown["timeSeries"]["queueDepth"][-1] == {"timestamp": api.clock.ms, "mail": 1}
        assert dashboard(api, topic="nobody")["current"]["queueDepth"] == {"byTopic": {}, "total": 0}

    def test_odd_topics(self, api: Service) -> None:
        for topic in ODD_TOPICS:
            publish(api, topic)
        shown = dashboard(api)
        assert shown["current"]["queueDepth"]["byTopic"] == dict.fromkeys(ODD_TOPICS, 1)
        newest = shown["timeSeries"]["queueDepth"][-1]
        assert newest == {**dict.fromkeys(ODD_TOPICS, 1), "timestamp": api.clock.ms}  # the time wins over the topic

    @pytest.mark.parametrize(
        ("query", "points"),
        [
            ({}, SPAN_MIN_MS // MINUTE_MS),
            ({"window": MINUTE_MS}, 60),
            ({"window": 90_001, "step": 10 * MINUTE_MS}, 6),
            ({"window": DAY_MS, "step": 4 * MINUTE_MS}, 360),
            ({"window": DAY_MS}, 360),
            ({"step": DAY_MS}, 1),
        ],
    )
    def test_the_window_and_the_step(self, api: Service, query: dict[str, int], points: int) -> None:
        shown = dashboard(api, **query)
        window_ms = query.get("window", 5 * MINUTE_MS)
        assert 0 <= shown["timestamp"] - window_ms - shown["since"] < MINUTE_MS
        assert [len(series) for series in shown["timeSeries"].values()] == [points] * 4

    @pytest.mark.parametrize(
        ("query", "field", "expected"),
        [
            ({"window": MINUTE_MS - 1}, "window", "greater than or equal to 60000"),
            ({"window": DAY_MS + 1}, "window", "less than or equal to 86400000"),
            ({"window": "five"}, "window", "a whole number, 60000 to 86400000"),
            ({"step": 30_000}, "step", "a multiple of 60000"),
            ({"step": 90_000}, "step", "a multiple of 60000"),
            ({"step": 0}, "step", "greater than or equal to 60000"),
            ({"step": 2 * DAY_MS}, "step", "less than or equal to 86400000"),
            ({"window": DAY_MS, "step": MINUTE_MS}, "step", "at least 240000 for this window"),
        ],
    )
    def test_what_cannot_be_shown(self, api: Service, query: dict[str, Any], field: str, expected: str) -> None:
        for path in ("/mq/dashboard", "/mq/dashboard/sse"):
            assert problem(api.get(path, query)) == (422, field, expected)


class TestManyTopics:
    """However many topics there are, and whatever they are called, the answer stays below what Lambda sends."""

    @staticmethod
    def stand(api: Service, monkeypatch: pytest.MonkeyPatch, names: Sequence[str], busy: int) -> None:
        """These topics: each has a message more than the next; the first ``busy`` were at work in each minute."""
        now_ms = api.yard.now_ms()
        standings = {
            Group("message", name, name): Standing(
                states=Counter({State.SUCCESS: len(names) - place}),
                totals=Counter({Measure.PUBLISHED: len(names) - place}),
            )
            for place, name in enumerate(names)
        }
        worked: Counter[Any] = Counter({Measure.SUCCEEDED: 7, Measure.FAILED: 7, Measure.DEAD: 7, Measure.BACKLOG: -1})
        minutes = {
            (Group("message", name, name), minute_of(now_ms) - back * MINUTE_MS): worked
            for name in names[:busy]
            for back in range(360)
        }
        monkeypatch.setattr(Insights, "standings", lambda _: standings)
        monkeypatch.setattr(Insights, "minutes", lambda *_: minutes)

    @pytest.mark.parametrize(
        ("form", "count", "busy"),
        [("{}", 3_000, 0), ("{}" + "单" * 396, 70, 70), ("{}" + "\U0001f4e6" * 396, 171, 1)],
        ids=["many", "busy", "long"],
    )
    def test_the_answer_fits(
        self, api: Service, monkeypatch: pytest.MonkeyPatch, form: str, count: int, busy: int
    ) -> None:
        names = [form.format(place) for place in range(count)]
        self.stand(api, monkeypatch, names, busy)
        for query in ({}, {"window": 360 * MINUTE_MS}):
            shown = api.get("/mq/dashboard", query)
            assert shown.status == 200, shown.text[:300]
            current = shown.json["current"]["consumedTotal"]
            seen = list(current["byTopic"])
            assert len(seen) == count - shown.json["topicsLeftOut"] >= min(count, 50)
            assert set(seen) == set(names[: len(seen)])
        assert api.get("/mq/dashboard/sse", {"window": 360 * MINUTE_MS}).status == 200
        told = api.get("/mq/metrics").text
        counted = {line.split('"')[1] for line in told.splitlines() if line.startswith("mq_consumed_total{")}
        left_out = int(told.partition("\nmq_topics_left_out{} ")[2].split()[0])
        assert len(counted) == count - left_out >= min(count, 100)
        assert counted == set(names[: len(counted)])
        alone = parsed(api.get("/mq/metrics", {"topic": names[-1]}).text)
        assert [sample.labels for sample in alone["mq_queue_depth"].samples] == [{"topic": names[-1]}]

    def test_zeros_go_first_and_then_the_least_busy(self, api: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        names = [f"{place}{'单' * 397}" for place in range(70)]
        self.stand(api, monkeypatch, names, busy=1)
        shown = api.get("/mq/dashboard").json
        assert (shown["topicsLeftOut"], shown["seriesLeftOut"]) == (0, 0)
        assert shown["timeSeries"]["dlqRate"][0].keys() == {names[0], "timestamp"}
        self.stand(api, monkeypatch, names, busy=70)
        shown = api.get("/mq/dashboard").json
        drawn = 70 - shown["seriesLeftOut"]
        assert 0 < drawn < 70
        assert shown["timeSeries"]["dlqRate"][0].keys() == {*names[:drawn], "timestamp"}
        alone = api.get("/mq/dashboard", {"topic": names[69]}).json
        assert (alone["seriesLeftOut"], alone["timeSeries"]["dlqRate"][0].keys()) == (0, {names[69], "timestamp"})


class TestEvents:
    def test_one_event_tells_all_and_when_to_come_back(self, api: Service) -> None:
        a_morning(api)
        shown = dashboard(api)
        reply = api.get("/mq/dashboard/sse")
        assert reply.status == 200
        retry, id_, data, *rest = reply.text.split("\n")
        assert (retry, id_) == ("retry: 5000", f"id: {api.clock.ms}")
        assert json.loads(data.removeprefix("data: ")) == shown
        assert rest == ["", ""]

    def test_an_event_has_a_name_where_one_is_asked_for(self, api: Service) -> None:
        assert api.get("/mq/dashboard/sse", {"event": "dashboard"}).text.split("\n")[2] == "event: dashboard"
        assert problem(api.get("/mq/dashboard/sse", {"event": "a\nb"}))[:2] == (422, "event")

    def test_the_headers_keep_it_from_being_kept(self, api: Service) -> None:
        headers = api.get("/mq/dashboard/sse").headers
        assert headers["content-type"] == "text/event-stream; charset=utf-8"
        assert headers["cache-control"] == "no-cache, no-store, no-transform"
        assert headers["x-accel-buffering"] == "no"

    def test_the_next_event_is_another(self, api: Service) -> None:
        ids = []
        for _ in range(2):
            ids.append(api.get("/mq/dashboard/sse", **{"Last-Event-ID": "7"}).text.split("\n")[1])
            api.clock.move(5_000)
        assert ids == [f"id: {api.clock.ms - 10_000}", f"id: {api.clock.ms - 5_000}"]

    def test_all_viewers_share_what_was_worked_out_within_a_second(
        self, api: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(api.yard.shared, "fresh_ms", 1_000)
        api.clock.move(10_000)
        event, shown = api.get("/mq/dashboard/sse").text, dashboard(api)
        api.clock.move(999)
        assert (api.get("/mq/dashboard/sse").text, dashboard(api)) == (event, shown)
        assert dashboard(api, window=120_000)["timestamp"] == api.clock.ms
        api.clock.move(1)
        assert dashboard(api)["timestamp"] == api.clock.ms

    def test_what_breaks_lines_does_not_break_the_event(self, api: Service) -> None:
        for topic in ODD_TOPICS:
            publish(api, topic)
        project(api)
        text = api.get("/mq/dashboard/sse", {"topic": ODD_TOPICS[3]}).text
        assert [line.partition(":")[0] for line in text.splitlines()] == ["retry", "id", "data", ""]

    def test_the_interval(self, api: Service) -> None:
        assert api.get("/mq/dashboard/sse", {"interval": 1_000}).text.startswith("retry: 1000\n")
        for interval in (999, 3_600_001):
            assert problem(api.get("/mq/dashboard/sse", {"interval": interval}))[:2] == (422, "interval")


class TestMetrics:
    def test_every_metric(self, api: Service) -> None:
        a_morning(api)
        project(api)
        reply = api.get("/mq/metrics")
        assert (reply.status, reply.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        families = parsed(reply.text)
        orders = {"topic": "invoice.due"}
        depth = dashboard(api)["current"]["queueDepth"]["byTopic"]["invoice.due"]
        assert value(families, "mq_queue_depth", orders) == depth
        assert value(families, "mq_consumed_total", orders) == 1
        assert value(families, "mq_failed_total", orders) == 2
        assert value(families, "mq_dlq_total", orders) == 1
        assert value(families, "mq_oldest_ready_age_seconds", orders) == 30.78
        assert value(families, "mq_wait_seconds_count", orders) == 2 + (3 - depth) + 1
        assert value(families, "mq_run_seconds_count", orders) == 3
        assert value(families, "mq_run_seconds_bucket", {**orders, "le": "0.1"}) >= 2  # the two of 80 ms
        assert value(families, "mq_consumed_total", {"topic": "mail"}) == 0

    def test_topics_of_any_script(self, api: Service) -> None:
        for topic in ODD_TOPICS:
            publish(api, topic)
        project(api)
        families = parsed(api.get("/mq/metrics").text)
        depths = {sample.labels["topic"]: sample.value for sample in families["mq_queue_depth"].samples}
        assert depths == dict.fromkeys(ODD_TOPICS, 1)

    def test_counters_never_fall(self, api: Service) -> None:
        before: dict[tuple[str, str], float] = {}
        for _ in range(3):
            message_id = publish(api, "orders", maxRetries=1)
            poll(api, "orders")
            settle(api, "fail", message_id)
            api.post("/mq/dlq/replay", {"id": message_id})
            settle(api, "complete", poll(api, "orders"))
            project(api)
            families = parsed(api.get("/mq/metrics").text)
            now = {
                (sample.name, str(sorted(sample.labels.items()))): sample.value
                for family in families.values()
                for sample in family.samples
                if family.type in ("counter", "histogram")
            }
            assert now.keys() >= before.keys()
            assert all(now[key] >= before[key] for key in before)
            assert before != now
            before = now

    def test_nothing_yet(self, api: Service) -> None:
        families = parsed(api.get("/mq/metrics").text)
        assert set(families) == {
            "mq_queue_depth",
            "mq_consumed",
            "mq_failed",
            "mq_dlq",
            "mq_oldest_ready_age_seconds",
            "mq_wait_seconds",
            "mq_run_seconds",
            "mq_topics_left_out",
            "mq_histograms_left_out",
        }
        samples = [sample for family in families.values() for sample in family.samples]
        assert [(sample.name, sample.labels, sample.value) for sample in samples] == [
            ("mq_topics_left_out", {}, 0),
            ("mq_histograms_left_out", {}, 0),
        ]

    def test_what_is_not_known_is_not_told(self) -> None:
        families = {family.name: family for family in metrics.families({"orders": Topic(3, Counter(), None)})}
        assert families["mq_oldest_ready_age_seconds"].samples == []
        assert families["mq_queue_depth"].samples == [Sample({"topic": "orders"}, 3)]
        assert str(OLDEST_TOPICS_MAX) in families["mq_oldest_ready_age_seconds"].help


topics_met = st.dictionaries(
    st.text(),
    st.builds(
        Topic,
        st.integers(0, 10**9),
        st.dictionaries(
            st.one_of(
                st.sampled_from(list(Measure)),
                st.builds(Bucket, st.sampled_from((Measure.WAIT_MS, Measure.RUN_MS)), st.sampled_from(BUCKETS)),
            ),
            st.integers(0, 10**15),
        ).map(Counter),
        st.none() | st.integers(0, 10**12),
    ),
    max_size=4,
)


@given(topics_met)
def test_any_state_is_well_told(topics: dict[str, Topic]) -> None:
    """What promtool's linter asks for, and what a scrape would refuse."""
    text = exposition(metrics.families(topics))
    families = parsed(text)
    names = [line.split(" ")[2] for line in text.split("\n") if line.startswith("# TYPE")]
    assert len(names) == len(set(names))
    for name, family in families.items():
        assert family.documentation
        told_as = f"{name}_total" if family.type == "counter" else name
        assert told_as in names
        assert name.startswith("mq_")
        assert family.type != "gauge" or not told_as.endswith(("_total", "_count", "_sum", "_bucket"))
        series = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in family.samples]
        assert len(series) == len(set(series))
        assert all(sample.value >= 0 and math.isfinite(sample.value) for sample in family.samples)
    assert {sample.labels["topic"] for sample in families["mq_queue_depth"].samples} == set(topics)
    for name, measure in (("mq_wait_seconds", Measure.WAIT_MS), ("mq_run_seconds", Measure.RUN_MS)):
        for topic, standing in topics.items():
            buckets = [
                (float(sample.labels["le"]), sample.value)
                for sample in families[name].samples
                if sample.name == f"{name}_bucket" and sample.labels["topic"] == topic
            ]
            assert [bound for bound, _ in buckets] == [math.inf if b is None else b / 1_000 for b in BUCKETS]
            assert [count for _, count in buckets] == sorted(count for _, count in buckets)
            assert buckets[-1][1] == value(families, f"{name}_count", {"topic": topic})
            assert value(families, f"{name}_sum", {"topic": topic}) == standing.totals[measure] / 1_000


@given(st.text(), st.text())
def test_any_text_is_told_as_it_is(label: str, meaning: str) -> None:
    text = exposition([Family("mq_test", MetricType.GAUGE, meaning, [Sample({"topic": label}, 1)])])
    assert text.count("\n") == 3
    (family,) = text_string_to_metric_families(text)
    assert [sample.labels for sample in family.samples] == [{"topic": label}]


def parsed(text: str) -> dict[str, Metric]:
    """What Prometheus' own client reads in a text, by name; a counter's has no _total there."""
    assert text.endswith("\n")
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(families: dict[str, Metric], name: str, index_keys: dict[str, str]) -> float:
    (found,) = [
        sample.value
        for family in families.values()
        for sample in family.samples
        if sample.name == name and sample.labels == index_keys
    ]
    return float(found)


def problem(reply: Reply) -> tuple[int, str, str]:
    """The status of a refusal, the field that it names, and what was expected of it."""
    (detail,) = reply.json["details"]
    return reply.status, detail["field"], detail["expected"]


def rounded(number: float) -> float:
    return round(number, 6)
