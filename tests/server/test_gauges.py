"""What is looked at, not counted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from server.gauges import Buffers, Gauges
from storage.postgres import PoolUse

#: One of several workers on a port, and what is scraped of it.
WORKER = """
import json
from server.metrics import Metrics
metrics = Metrics()
metrics.gauges.buffers(lambda: (7, 1))
print(json.dumps(metrics.text().decode()))
"""


def samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Looked:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.gauges = Gauges(self.registry, shared=False)

    def at(self, *, thorough: bool = True) -> dict[tuple[str, tuple[str, ...]], float]:
        self.gauges.look(thorough=thorough)
        return samples(generate_latest(self.registry).decode())


def test_queues_and_staleness_are_as_they_are_now() -> None:
    looked, waiting = Looked(), [3]
    looked.gauges.queue("commits", lambda: waiting[0])
    looked.gauges.staleness(lambda: 0.25)
    assert looked.at()["braingame_queue_length", ("commits",)] == 3
    waiting[0] = 0
    found = looked.at()
    assert found["braingame_queue_length", ("commits",)] == 0
    assert found["braingame_board_staleness_seconds", ()] == 0.25


def test_pool_tells_its_connections_by_state() -> None:
    looked = Looked()
    looked.gauges.pool("requests", lambda: PoolUse(used=3, open=5, limit=8, waiting=2))
    found = looked.at()
    states = {state: found["braingame_pool_connections", ("requests", state)] for state in ("used", "idle", "limit")}
    assert states == {"used": 3, "idle": 2, "limit": 8}
    assert found["braingame_pool_waiting", ("requests",)] == 2


def test_buffers_of_all_sockets_are_looked_at_only_where_it_is_thorough() -> None:
    looked, looks = Looked(), 0

    def buffers() -> Buffers:
        nonlocal looks
        looks += 1
        return Buffers(1000, 2)

    looked.gauges.buffers(buffers)
    looked.at(thorough=False)
    assert looks == 0
    found = looked.at()
    assert (found["braingame_send_buffer_bytes", ()], found["braingame_slow_readers", ()]) == (1000, 2)


def test_parts_that_do_not_work_are_named_until_they_do() -> None:
    looked = Looked()
    looked.gauges.down(["redis"])
    found = looked.at()
    assert {part: found["braingame_not_ready", (part,)] for part in ("postgresql", "redis", "delivery")} == {
        "postgresql": 0,
        "redis": 1,
        "delivery": 0,
    }
    looked.gauges.down([])
    assert looked.at()["braingame_not_ready", ("redis",)] == 0


def test_process_tells_its_descriptors() -> None:
    found = Looked().at()
    assert 0 < found["process_open_fds", ()] < found["process_max_fds", ()]


def test_worker_tells_its_descriptors_under_the_same_names_with_its_id(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", WORKER],
        cwd=Path(__file__).parents[2],
        env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    found = samples(json.loads(result.stdout))
    ((pid,),) = [labels for name, labels in found if name == "process_open_fds"]
    assert pid.isdigit()
    assert 0 < found["process_open_fds", (pid,)] < found["process_max_fds", (pid,)]
    assert found["process_resident_memory_bytes", (pid,)] > 1e6
    assert found["process_cpu_seconds_total", ()] > 0
    assert found["braingame_slow_readers", ()] == 1
