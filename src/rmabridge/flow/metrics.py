"""Prometheus metrics, named by its conventions; one registry for each bridge, so that tests do not share them."""

from __future__ import annotations

from collections import Counter as Tally
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from .batch import Batch

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
REPLIES = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)


class Metrics:
    """What a bridge counts."""

    def __init__(self) -> None:
        made = self.registry = CollectorRegistry()
        self.accepted = Counter("rmabridge_accepted_total", "Events on disk", ["account"], registry=made)
        self.refused = Counter("rmabridge_refused_total", "Webhooks refused", ["account", "status"], registry=made)
        self.ack_seconds = Histogram(
            "rmabridge_ack_seconds", "Webhook to acknowledgement", buckets=SECONDS, registry=made
        )
        self.routed_total = Counter("rmabridge_routed_total", "Inbox rows routed", ["state"], registry=made)
        self.cases_opened = Counter("rmabridge_cases_opened_total", "Cases opened", ["shop"], registry=made)
        self.actions = Counter("rmabridge_actions_total", "Actions judged", ["type", "state"], registry=made)
        self.deliveries = Counter("rmabridge_deliveries_total", "Attempts", ["account", "outcome"], registry=made)
        self.delivery_seconds = Histogram(
            "rmabridge_delivery_seconds", "Time of one attempt", ["account"], buckets=SECONDS, registry=made
        )
        self.first_response = Histogram(
            "rmabridge_first_response_seconds",
            "Request to first reply",
            ["shop", "channel"],
            buckets=REPLIES,
            registry=made,
        )
        self.waiting = Gauge("rmabridge_inbox_waiting", "Inbox rows waiting to be routed", registry=made)
        self.stuck = Gauge("rmabridge_stuck", "What waits for a person", ["what"], registry=made)
        self.outbox = Gauge("rmabridge_outbox", "Ledger rows not settled", ["account", "state"], registry=made)
        self.breaker = Gauge("rmabridge_breaker_open", "Open breakers", ["account"], registry=made)
        self.policy_seconds = Counter(
            "rmabridge_policy_seconds_total", "Time spent in each policy", ["policy"], registry=made
        )
        self.tap_dropped = Counter("rmabridge_tap_dropped_total", "Copies that the tap could not write", registry=made)
        self.loop_lag = Gauge("rmabridge_loop_lag_seconds", "How late the event loop runs", registry=made)

    def routed(self, batch: Batch) -> None:
        """Count what a batch has written."""
        for state, rows in (("done", batch.done), ("parked", batch.parked)):
            if rows:
                self.routed_total.labels(state).inc(len(rows))
        for (type_, state), count in Tally((row["type"], row["state"]) for row in batch.changes.outbox).items():
            self.actions.labels(type_, state).inc(count)
        for work in batch.works.values():
            if work.version == 1 and work.created_at == batch.now:
                self.cases_opened.labels(work.shop.name).inc()
        for shop, channel, seconds in batch.changes.first_replies:
            self.first_response.labels(shop, channel).observe(max(0.0, seconds))

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)
