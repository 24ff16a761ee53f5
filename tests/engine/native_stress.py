"""What could end a process, in a process of its own: failing allocations, little memory, Ctrl+C, forks.

Usage: native_stress.py NAME; test_native_stress.py runs each. It exits with 0 if all went as it should.
"""

import ctypes
import itertools
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from native_smoke import networks

from firstspike import _native  # type: ignore[attr-defined]
from firstspike.arith import Code, LogWeights, kernel
from firstspike.engine.native import NativeEngine
from firstspike.engine.reference import ReferenceEngine
from firstspike.spec import INPUT, Channels, Conv2d, Flatten, Linear, MaxPool2d, Network


def images(network: Network, count: int) -> np.ndarray:
    rng = np.random.default_rng(count)
    return rng.integers(0, 2 * network.code.T, (count, *network.input_shape)).astype(np.uint8)


def small_networks() -> list[Network]:
    """Every kind of step, few numbers: 16-bit and 64-bit sums."""
    rng = np.random.default_rng(1)

    def numbers(*shape: int) -> dict[str, Any]:
        codes = rng.integers(0, 32, shape, dtype=np.uint8)
        return {"codes": codes, "scale": 0, "bias": rng.integers(0, 1 << 18, shape[0])}

    layers = (
        Conv2d(name="a", source=INPUT, padding=(1, 1), **numbers(4, 2, 3, 3)),
        MaxPool2d(name="b", source="a", kernel=(2, 2), stride=(2, 2)),
        Conv2d(name="c", source="b", groups=2, **numbers(6, 2, 1, 1)),
        Conv2d(name="d", source="c", groups=6, residuals=("c",), **numbers(6, 1, 1, 1)),
        Flatten(name="e", source="d"),
        Linear(name="f", source="e", fires=False, **numbers(3, 36)),
    )
    part = Conv2d(name="i", source=INPUT, fires=False, **(numbers(4, 2, 1, 1) | {"bias": np.zeros(4, dtype=np.int64)}))
    branches = (
        Conv2d(name="a", source=INPUT, padding=(1, 1), **numbers(4, 2, 3, 3)),
        Channels(name="b", source="a", others=("a",), channels=(7, -1, 0)),
        Conv2d(name="c", source="b", parts=(part,), **numbers(4, 3, 1, 1)),
        Flatten(name="e", source="c"),
        Linear(name="f", source="e", fires=False, **numbers(3, 96)),
    )
    kinds = ((Code(), layers, 32), (Code(), layers, 48), (Code(input="planes"), branches, 36))
    return [
        Network(code=code, weights=LogWeights(), input_shape=(2, 4, 6), layers=chosen, accumulator_bits=bits)
        for code, chosen, bits in kinds
    ]


# ---- allocations that fail ----------------------------------------------------------------------------------------


def faults() -> None:
    """Every allocation of planning, running and encoding fails once, alone or with all after it."""
    library = ctypes.CDLL(None)
    library.faults_arm.argtypes = [ctypes.c_long, ctypes.c_int]
    library.faults_disarm.restype = ctypes.c_long
    failed = errors = 0

    def sweep(act: Callable[[], Any], check: Callable[[Any], None]) -> None:
        nonlocal failed, errors
        for many in (0, 1):
            for position in itertools.count():
                library.faults_arm(position, many)
                try:
                    result = act()
                except MemoryError:
                    failures = library.faults_disarm()
                    errors += 1
                    assert failures > 0
                else:
                    failures = library.faults_disarm()
                    check(result)
                if failures == 0:
                    break
                failed += 1
                check(act())  # and the next is right

    def equal(expected: np.ndarray) -> Callable[[np.ndarray], None]:
        def check(found: np.ndarray) -> None:
            assert np.array_equal(found, expected)

        return check

    for network in small_networks():
        times = images(network, 5)
        expected = ReferenceEngine(network).logits(times)

        def planned(network: Network = network) -> NativeEngine:
            return NativeEngine(network, threads=1)

        if network.accumulator_bits != 48:
            sweep(planned, lambda engine: equal(expected)(engine.logits(times)))  # noqa: B023
        for path, threads, count in (("event", 1, 5), ("dense", 1, 1), ("dense", 2, 5), ("event", 3, 1)):
            engine = NativeEngine(network, threads=threads, path=path)

            def run(engine: NativeEngine = engine, some: np.ndarray = times[:count]) -> np.ndarray:
                return engine.logits(some)

            sweep(run, equal(expected[:count]))
    values = np.random.default_rng(0).random(100_000)
    ascending = np.ascontiguousarray(kernel(Code())[::-1])

    def encode() -> np.ndarray:
        encoded = np.empty(values.shape, dtype=np.uint8)
        _native.encode(values, encoded, ascending, 3)
        return encoded

    sweep(encode, equal(encode()))
    assert failed > 1000 and errors > 1000, (failed, errors)
    print(f"{failed} failing allocations, {errors} errors")


def memory() -> None:
    """The process's address space ends a little above what it uses."""
    first = Conv2d(name="a", source=INPUT, codes=silent(64, 3, 3, 3), scale=0, bias=np.arange(64) << 16, padding=(1, 1))
    last = Conv2d(name="b", source="a", codes=silent(10, 64, 3, 3), scale=0, bias=np.arange(10), fires=False)
    network = network_of(first, last, shape=(3, 64, 64))
    times = images(network, 32)
    expected = NativeEngine(network, threads=3).logits(times)
    unlimited = resource.getrlimit(resource.RLIMIT_AS)
    errors = 0
    for extra in range(0, 60_000, 2_000):
        engine = NativeEngine(network, threads=3)
        found = np.empty_like(expected)
        with open("/proc/self/statm") as file:
            size = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + extra * 1024, unlimited[1]))
        try:
            engine._native.run(times, found, [], 3)
        except MemoryError:
            errors += 1
            found = expected
        finally:
            resource.setrlimit(resource.RLIMIT_AS, unlimited)
        assert np.array_equal(found, expected)
        assert np.array_equal(engine.logits(times), expected)
    assert errors > 0
    print(f"{errors} errors")


def in_flight() -> None:
    """Images of 8 MiB of activations each: as many at once as fit 64 MiB, not 32."""
    pool = MaxPool2d(name="p", source=INPUT, kernel=(1, 1), stride=(1, 1))
    last = Conv2d(
        name="b",
        source="p",
        codes=silent(1, 4, 1, 1),
        scale=0,
        bias=np.zeros(1, dtype=np.int64),
        stride=(64, 64),
        fires=False,
    )
    engine = NativeEngine(network_of(pool, last, shape=(4, 1 << 10, 1 << 10)), threads=1)
    times = np.full((32, 4, 1 << 10, 1 << 10), 1, dtype=np.uint8)

    def kilobytes(field: str) -> int:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith(f"{field}:"))

    before = kilobytes("VmRSS")
    engine.logits(times)
    grown = (kilobytes("VmHWM") - before) >> 10
    assert 32 < grown < 192, grown
    print(f"{grown} MiB")


# ---- Ctrl+C -------------------------------------------------------------------------------------------------------


def interrupts() -> None:
    """Each kind of long call ends within 0.2 s of the signal, and the next call is right. The best of three counts."""
    for name, act in long_calls():
        delays = []
        while len(delays) < 3 and (not delays or min(delays) > 0.2):
            sent: list[float] = []

            def send(sent: list[float] = sent) -> None:
                sent.append(time.monotonic())
                os.kill(os.getpid(), signal.SIGINT)

            timer = threading.Timer(0.3, send)
            timer.start()
            try:
                act()
            except KeyboardInterrupt:
                delays.append(time.monotonic() - sent[0])
            else:
                raise AssertionError(f"{name}: it ended before the signal, or went on")
        assert min(delays) <= 0.2, (name, delays)
        print(f"{name}: {min(delays):.3f} s")
    network = networks()[0]
    times = images(network, 9)
    expected = NativeEngine(network, threads=1).logits(times)
    assert np.array_equal(NativeEngine(network, threads=2).logits(times), expected)


def silent(*shape: int) -> np.ndarray:
    return np.full(shape, 15, dtype=np.uint8)


def network_of(*layers: Any, shape: tuple[int, ...], bits: int = 32) -> Network:
    return Network(code=Code(T=4), weights=LogWeights(), input_shape=shape, layers=layers, accumulator_bits=bits)


def long_calls() -> Iterator[tuple[str, Callable[[], object]]]:
    """Calls that take seconds, by name."""
    network = networks()[0]
    many = np.zeros((40_000, *network.input_shape), dtype=np.uint8)
    for threads in (1, 2):
        yield f"many images, {threads} threads", lambda n=threads: NativeEngine(network, threads=n).logits(many)

    stop = threading.Event()
    shared = NativeEngine(network, threads=2)

    def other() -> None:
        while not stop.is_set():
            shared.logits(many[:200])

    others = [threading.Thread(target=other) for _ in range(2)]
    for thread in others:
        thread.start()
    yield "waiting for the pool", lambda: shared.logits(many)
    stop.set()
    for thread in others:
        thread.join()
    one = np.zeros((1, 1, 1, 65536), dtype=np.uint8)
    zero = np.zeros(32, dtype=np.int64)
    row = Conv2d(
        name="a", source=INPUT, codes=silent(32, 1, 1, 16383), scale=0, bias=zero, padding=(0, 8191), fires=False
    )
    for bits, threads in ((32, 1), (48, 2)):
        engine = NativeEngine(network_of(row, shape=(1, 1, 65536), bits=bits), threads=threads, instructions="portable")
        yield f"one row, {bits} bits", lambda engine=engine: engine.logits(one)  # type: ignore[misc]
    depthwise = Conv2d(
        name="a",
        source=INPUT,
        codes=silent(64, 1, 1, 16383),
        scale=0,
        bias=np.zeros(64, dtype=np.int64),
        padding=(0, 8191),
        groups=64,
        fires=False,
    )
    engine = NativeEngine(network_of(depthwise, shape=(64, 1, 65536)), threads=1, instructions="portable")
    yield "depthwise", lambda: engine.logits(np.zeros((1, 64, 1, 65536), dtype=np.uint8))
    pool = MaxPool2d(name="p", source=INPUT, kernel=(1, 16383), stride=(1, 1), padding=(0, 8191))
    last = Conv2d(name="b", source="p", codes=silent(1, 64, 1, 1), scale=0, bias=zero[:1], fires=False)
    pooled = NativeEngine(network_of(pool, last, shape=(64, 1, 65536)), threads=2, instructions="portable")
    yield "pool", lambda: pooled.logits(np.zeros((1, 64, 1, 65536), dtype=np.uint8))
    outputs, inputs = 1 << 11, 1 << 16
    stream = np.zeros(outputs * inputs * 5 // 8, dtype=np.uint8)
    numbers = np.zeros(256, dtype=np.int64)

    def plan() -> Any:
        planned = _native.Engine((inputs, 1, 1), 4, 5, 32, "auto", "auto")
        planned.add_synaptic(
            0,
            (inputs, 1, 1),
            (outputs, 1, 1),
            stream,
            (1, 1),
            (1, 1),
            (0, 0),
            (1, 1),
            1,
            False,
            4,
            numbers,
            numbers[:32],
            np.zeros(outputs, dtype=np.int64),
            numbers[:0],
            numbers,
            [],
            [],
            False,
            numbers[:0],
        )
        return planned

    yield "plan", plan
    planned = plan()
    yield "codes", lambda: planned.codes(0, stream)
    values = np.random.default_rng(0).random(1 << 22)
    times = np.empty(values.shape, dtype=np.uint8)
    ascending = np.ascontiguousarray(kernel(Code(T=255, tau=32, mantissa_bits=12))[::-1])
    repeated = np.broadcast_to(values, (60, len(values))).reshape(-1)
    many_times = np.broadcast_to(times, (60, len(times))).reshape(-1).copy()
    yield "encode", lambda: _native.encode(repeated, many_times, ascending, 1)


# ---- forks --------------------------------------------------------------------------------------------------------


def forks() -> None:
    """Threads are inside the engine while the process forks, and each child runs the engine."""
    network = small_networks()[0]
    engine = NativeEngine(network, threads=2)
    times = images(network, 40)
    expected = engine.logits(times)
    stop = threading.Event()

    def work(count: int) -> None:
        while not stop.is_set():
            assert np.array_equal(engine.logits(times[:count]), expected[:count])

    threads = [threading.Thread(target=work, args=(count,)) for count in (1, 2, 3, 40)]
    for thread in threads:
        thread.start()
    count = int(os.environ.get("FORKS", "200"))
    bad = []
    for _ in range(count):
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # ends a child that waits for ever
            right = all(np.array_equal(engine.logits(times), expected) for _ in range(2))
            os._exit(0 if right else 1)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status != 0:
            bad.append(status)
    stop.set()
    for thread in threads:
        thread.join()
    assert not bad, bad
    print(f"{count} children")


def fork_in_handler() -> None:
    """A signal's handler forks in the middle of a run: the parent goes on, the child is told or is right."""
    network = networks()[0]
    times = images(network, 3000)
    engine = NativeEngine(network, threads=2)
    expected = engine.logits(times)
    children: list[int] = []

    def handler(number: int, frame: object) -> None:
        children.append(os.fork())
        if children[-1] == 0:
            signal.alarm(20)

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.06)
    try:
        right = np.array_equal(engine.logits(times), expected)
    except RuntimeError as error:
        right = "a fork in a signal's handler" in str(error)
    if children and children[-1] == 0:
        os._exit(0 if right and np.array_equal(engine.logits(times[:50]), expected[:50]) else 1)
    assert right and len(children) == 1
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    {f.__name__: f for f in (faults, memory, in_flight, interrupts, forks, fork_in_handler)}[sys.argv[1]]()
