"""The service's own counters: which rung answered, and what the feature store could not do.

prometheus_client is imported only in the served process, after BentoML has set up its multi-process directory.
"""

from __future__ import annotations

from typing import Protocol


class ServiceMetrics(Protocol):
    """Where the API reports an answer."""

    def answered(self, source: str, fault: str) -> None:
        """Count one answer by its rung, and the store's fault if it had one."""


class NoMetrics:
    """Counts nothing."""

    def answered(self, source: str, fault: str) -> None:
        """See `ServiceMetrics`."""


class PrometheusMetrics:
    """Counters in the process's Prometheus registry."""

    def __init__(self) -> None:
        from prometheus_client import Counter

        self._answers = Counter("understudy_answers_total", "Answers by the rung that gave them.", ["source"])
        self._faults = Counter("understudy_feature_faults_total", "Reads the feature store failed, by kind.", ["fault"])

    def answered(self, source: str, fault: str) -> None:
        """See `ServiceMetrics`."""
        self._answers.labels(source).inc()
        if fault:
            self._faults.labels(fault).inc()
