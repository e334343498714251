"""The driver starts the processes, kills them during a request or at any time, and restarts them.

Each process calls the engine through its own fault proxy, which runs in the driver. So the driver knows how far a
request has come when it kills the process.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from threading import Lock, Thread
from typing import IO, TYPE_CHECKING, Any, Self

from dynamo_outbox.testing import LATE, FaultProxy, random_faults

from .counts import Told, changes_so_far, has_published
from .settings import CALLED, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from dynamo_outbox.testing import Exchange, Fault, MiniStack, Phase

    from .buses import Bus
    from .world import World

__all__ = ["FULL", "FULL_CUSTOM", "SHORT", "SHORT_CUSTOM", "Driver", "Plan"]

PROJECT = Path(__file__).resolve().parents[3]
KILLED_AT = frozenset({"TransactWriteItems", "PutItem", "PutEvents", "DeleteMessageBatch"})
"""The operations during which processes are killed: all writes of the library, and the queue's acknowledgement."""
OUTAGE = 2.0
"""Seconds during which all requests of a process meet a fault."""
TICK = 0.1
INVOCATION = 1.0
"""Seconds that the bus waits for a function's response."""
ENDED = "its process has ended"
PATIENCE = 120.0
"""The maximum seconds until everything is delivered, and until a process has stopped."""


@dataclass(frozen=True)
class Plan:
    """Size of a run.

    Attributes:
        roles: The processes.
        entities: The number of entities for which the writers contend.
        changes: The minimum number of committed changes.
        kills: The minimum number of kills between a request and its response.
        fault_rate: The share of requests that meet a fault.
        outage_rate: The probability of an outage of a process, each half second.
        kill_rate: The probability that a process is killed at a phase of a `KILLED_AT` request.
        pause: The average seconds between kills at any time.
        patience: The maximum seconds to reach these numbers.
    """

    roles: tuple[str, ...]
    entities: int
    changes: int
    kills: int
    fault_rate: float
    outage_rate: float
    kill_rate: float
    pause: float
    patience: float


SHORT = Plan(
    roles=("writer", "writer", "relay", "consumer"),
    entities=4,
    changes=40,
    kills=4,
    fault_rate=0.2,
    outage_rate=0.05,
    kill_rate=0.02,
    pause=5.0,
    patience=15.0,
)
FULL = Plan(
    roles=("writer", "writer", "writer", "relay", "consumer", "consumer"),
    entities=10,
    changes=2000,
    kills=60,
    fault_rate=0.1,
    outage_rate=0.03,
    kill_rate=0.005,
    pause=5.0,
    patience=420.0,
)
CALLED_FUNCTIONS = ("writer", "writer", "relay", "function", "function")
SHORT_CUSTOM = replace(SHORT, roles=CALLED_FUNCTIONS, fault_rate=0.1)
FULL_CUSTOM = replace(FULL, roles=("writer", *CALLED_FUNCTIONS), changes=1000)
"""Plans for a bus that calls the consumers."""


@dataclass
class Kills:
    """Numbers of kills, by the phase of the request and by the process's role."""

    by_phase: Counter[str] = field(default_factory=Counter)
    by_role: Counter[str] = field(default_factory=Counter)

    @property
    def between(self) -> int:
        """Kills between sending a request and reading its response."""
        return sum(self.by_phase[phase] for phase in IN_BETWEEN.values())


IN_BETWEEN: dict[Phase, str] = {
    "received": "before it was forwarded",
    "forwarded": "after it was forwarded, before the engine's response",
    "engine answered": "after the engine's response, before the client received it",
}
AFTER, ANY_TIME = "after the response", "at any time"


class FailedCallError(Exception):
    """A call of a function that the bus repeats."""


class Process:
    """A process of the run, including its restarts."""

    def __init__(self, name: str, role: str, proxy: FaultProxy, start: Callable[[int], subprocess.Popen[str]]) -> None:
        self.name = name
        self.role = role
        self.proxy = proxy
        self.lives = 0
        self.first_request = 0
        self.is_retired = False
        self.outage_until = 0.0
        self._start = start
        self.running: subprocess.Popen[str] | None = None
        self._readers: list[Thread] = []
        self.open_call: int | None = None
        self._outcome = ""

    def call(self, number: int, payload: Any) -> None:
        """Call this process's function and wait for its response.

        Raises:
            FailedCallError: It failed, was killed, or did not respond in time; in the last case it goes on.
        """
        running, self.open_call = self.running, number
        if running is None or running.stdin is None:
            raise FailedCallError(ENDED)
        try:
            running.stdin.write(json.dumps({"number": number, "payload": payload}) + "\n")
            running.stdin.flush()
        except (OSError, ValueError) as error:
            raise FailedCallError(ENDED) from error
        deadline = time.monotonic() + INVOCATION
        while self.open_call == number:
            if running.poll() is not None:
                raise FailedCallError(ENDED)
            if time.monotonic() > deadline:
                raise FailedCallError("no response in time")
            time.sleep(TICK / 20)  # ok: polling
        if self._outcome != CALLED:
            raise FailedCallError(self._outcome)

    def take(self, facts: Mapping[str, Any]) -> None:
        """Take a function's response to its call."""
        if self.open_call is not None and facts.get("call") == self.open_call:
            self._outcome, self.open_call = facts["outcome"], None

    def begin(self, read: Callable[[Process, IO[str]], None]) -> None:
        """Start or restart the process, and a thread that reads its reports."""
        self.first_request = len(self.proxy.exchanges)
        self._outcome, self.open_call = ENDED, None
        self.running = self._start(self.lives)
        self.lives += 1
        reader = Thread(target=read, args=(self, self.running.stdout), daemon=True)
        reader.start()
        self._readers.append(reader)

    def is_its_own(self, exchange: Exchange) -> bool:
        """Return whether a request is from the running process and not a late one from before a restart."""
        return exchange.number >= self.first_request and exchange.fault is not LATE

    def kill(self) -> bool:
        """End the process with `kill -9`; return False if it has already ended."""
        if self.running is None or self.running.poll() is not None:
            return False
        self.running.kill()
        return True

    def has_ended(self) -> bool:
        """Return whether the process is not running."""
        return self.running is None or self.running.poll() is not None

    def stop(self, timeout: float) -> None:
        """Stop the process after its current work, and do not restart it; kill it if that takes too long."""
        self.is_retired = True
        if self.running is None:
            return
        assert self.running.stdin is not None
        try:
            self.running.stdin.write("stop\n")
            self.running.stdin.flush()
            self.running.wait(timeout)
        except (OSError, subprocess.TimeoutExpired):
            self.running.kill()
        self.close()

    def close(self) -> None:
        """Clean up after an ended process, or end it."""
        if self.running is None:
            return
        self.running.kill()
        self.running.wait()
        if self.running.stdin is not None:
            with suppress(OSError):
                self.running.stdin.close()
        for reader in self._readers:
            reader.join()
        self._readers.clear()
        self.running = None


class Driver:
    """A run, as a context manager: on exit, every process has ended.

    Args:
        engine: The engine.
        bus: The bus.
        world: The resources on the engine.
        plan: The size of the run.
        seed: The seed of all random decisions.

    Attributes:
        told: The processes' reports.
        kills: The numbers of kills.
        outages: The number of outages of a process.
        crashes: Output of processes that failed without being killed.
        seconds: The duration of each part of the run.
    """

    def __init__(self, engine: MiniStack, bus: Bus, world: World, plan: Plan, *, seed: int) -> None:
        self.plan = plan
        self.told = Told()
        self.kills = Kills()
        self.outages = 0
        self.crashes: list[str] = []
        self.seconds: dict[str, float] = {}
        self._engine = engine
        self._bus = bus
        self._world = world
        self._seed = seed
        self._chance = random.Random(f"{seed} driver")  # noqa: S311  # not for secrets
        self._killing = False
        self._calls = count(1)
        self._lock = Lock()
        self._processes: list[Process] = []
        self._resources = ExitStack()
        self._folder = ""

    def __enter__(self) -> Self:
        self._folder = self._resources.enter_context(tempfile.TemporaryDirectory(prefix="dynamo-outbox-proof-"))
        numbers: Counter[str] = Counter()
        for role in self.plan.roles:
            numbers[role] += 1
            process = self._process(f"{role}-{numbers[role]}", role)
            self._processes.append(process)
            self._resources.callback(process.close)
        self._bus.calls(self._call_a_function)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._killing = False
        self._resources.close()

    def work(self) -> None:
        """Run and kill the processes until the plan's numbers or its time limit are reached; then stop the writers."""
        begun = time.monotonic()
        self._killing = True
        next_kill = begun + self.plan.pause
        dynamodb = self._engine.client("dynamodb")
        while time.monotonic() - begun < self.plan.patience and not self._is_done(
            changes_so_far(dynamodb, self._world)
        ):
            until = time.monotonic() + 5 * TICK
            while time.monotonic() < until:
                self._restart_the_dead()
                self._deliver_late(0.2)
                time.sleep(TICK)  # ok: polling
            for process in self._processes:
                if self._chance.random() < self.plan.outage_rate:
                    process.outage_until = time.monotonic() + OUTAGE
                    self.outages += 1
            if time.monotonic() > next_kill:
                self._kill_any()
                next_kill = time.monotonic() + self._chance.expovariate(1 / self.plan.pause)
        self._killing = False
        self._restart_the_dead()
        for process in self._processes:
            if process.role == "writer":
                process.stop(PATIENCE)
        self.seconds["working"] = time.monotonic() - begun

    def settle_down(self) -> None:
        """Let relay and consumers continue, with faults, until nothing moves any more; then stop them too.

        If the bus recognises what is sent again for some time, the relay publishes the whole stream again after it.
        """
        begun = time.monotonic()
        self._wait_until_nothing_moves()
        if self._bus.forgets():
            self._publish_again()
            self._wait_until_nothing_moves()
        for process in self._processes:
            process.stop(PATIENCE)
        self.seconds["settling down"] = time.monotonic() - begun

    def _wait_until_nothing_moves(self) -> None:
        streams = self._engine.client("dynamodbstreams")
        deadline, still = time.monotonic() + PATIENCE, 0
        while time.monotonic() < deadline and still < 3:
            self._restart_the_dead()
            self._deliver_late(1.0)
            time.sleep(5 * TICK)  # ok: polling
            is_quiet = has_published(streams, self._world, Path(self._folder)) and self._bus.is_quiet()
            still = still + 1 if is_quiet else 0

    def _publish_again(self) -> None:
        """Let the relay begin again at the start of its stream."""
        for process in self._processes:
            if process.role == "relay":
                process.close()
                (Path(self._folder) / f"{process.name}.json").unlink()

    def _call_a_function(self, payload: Any) -> None:
        """Call a function that is idle, as one of Lambda's execution environments."""
        idle = [each for each in self._processes if each.role == "function" and each.open_call is None]
        number = next(self._calls)
        try:
            if not idle:
                raise FailedCallError("all functions are busy")
            idle[number % len(idle)].call(number, payload)
        except FailedCallError as error:
            with self._lock:
                self.told.take({"outcome": f"call repeated: {error}"})
            raise

    @property
    def faults_met(self) -> Counter[str]:
        """The number of requests that met each fault, by its name."""
        return sum((process.proxy.faults_met for process in self._processes), Counter())

    @property
    def done(self) -> str:
        """The faults and kills of the run, in a few words."""
        return f"{self.faults_met.total():,} faults, {self.kills.by_phase.total():,} kills, seed {self._seed}"

    def report(self) -> str:
        """Return the faults by kind, and the kills by phase and by role, as text."""
        faults = self.faults_met
        requests = sum(len(process.proxy.exchanges) for process in self._processes)
        lines = [
            f"{', '.join(f'{seconds:.0f} s {what}' for what, seconds in self.seconds.items())}; {requests:,} requests",
            f"{faults.total():,} faults, {self.outages} outages:",
            *(f"  {number:5,}  {name}" for name, number in faults.most_common()),
            f"{self.kills.by_phase.total()} kills, {self.kills.between} of them between a request and its response:",
            *(f"  {number:5,}  {phase}" for phase, number in sorted(self.kills.by_phase.items())),
            *(f"  {number:5,}  of a {role}" for role, number in sorted(self.kills.by_role.items())),
            *(f"failed without being killed: {crash}" for crash in self.crashes[:20]),
        ]
        return "\n".join(lines)

    def _process(self, name: str, role: str) -> Process:
        number = len(self._processes)
        by_chance = random_faults(self._seed * 100 + number, self.plan.fault_rate)
        all_through = random_faults(self._seed * 100 + number, 1.0)

        def fault_of(operation: str, count: int) -> Fault | None:
            is_out = time.monotonic() < process.outage_until
            return (all_through if is_out else by_chance)(operation, count)

        def on_phase(phase: Phase, exchange: Exchange) -> None:
            self._kill_at(process, phase, exchange)

        upstream = self._bus.url if role == "relay" else self._engine.endpoint_url
        proxy = FaultProxy(upstream, script=fault_of, on_phase=on_phase, region=self._engine.region)
        self._resources.enter_context(proxy)

        def start(life: int) -> subprocess.Popen[str]:
            habits = random.Random(f"{self._seed} {name} {life}")  # noqa: S311
            settings = Settings(
                role=role,
                name=name,
                seed=self._seed * 1000 + life,
                engine_url=self._engine.endpoint_url,
                proxy_url=proxy.endpoint_url,
                region=self._engine.region,
                folder=self._folder,
                entities=self.plan.entities,
                attempts=habits.choice([1, 2]),
                retry_timeout=habits.choice([0.0, 0.0, 1.0]),
                world=self._world,
            )
            return subprocess.Popen(  # noqa: S603  # this interpreter, and this package
                [sys.executable, "-m", f"{__package__}.worker", settings.to_json()],
                cwd=PROJECT,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )

        process = Process(name, role, proxy, start)
        return process

    def _read(self, process: Process, output: IO[str]) -> None:
        """Read a process's reports; ignore a line that a kill cut off."""
        with output:
            for line in output:
                if not line.endswith("\n"):
                    continue
                try:
                    facts = json.loads(line)
                except ValueError:
                    self.crashes.append(f"{process.name}: {line.rstrip()}")
                    continue
                process.take(facts)
                with self._lock:
                    self.told.take(facts)

    def _kill_at(self, process: Process, phase: Phase, exchange: Exchange) -> None:
        """Kill a process at a phase of its request, at random."""
        if not self._killing or exchange.operation not in KILLED_AT or not process.is_its_own(exchange):
            return
        chance = random.Random(f"{self._seed} {process.name} {exchange.operation} {exchange.count} {phase}")  # noqa: S311
        if chance.random() < self.plan.kill_rate and process.kill():
            self._count_kill(process, IN_BETWEEN.get(phase, AFTER))

    def _kill_any(self) -> None:
        process = self._chance.choice(self._processes)
        if process.kill():
            self._count_kill(process, ANY_TIME)

    def _count_kill(self, process: Process, when: str) -> None:
        with self._lock:
            self.kills.by_phase[when] += 1
            self.kills.by_role[process.role] += 1

    def _restart_the_dead(self) -> None:
        for process in self._processes:
            if process.has_ended() and not process.is_retired:
                process.close()
                process.begin(self._read)

    def _deliver_late(self, chance: float) -> None:
        for process in self._processes:
            if self._chance.random() < chance:
                process.proxy.deliver_late()

    def _is_done(self, changes: int) -> bool:
        phases_met = all(self.kills.by_phase[phase] for phase in IN_BETWEEN.values())
        return changes >= self.plan.changes and self.kills.between >= self.plan.kills and phases_met
