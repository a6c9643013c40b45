"""An outgoing connection: when it is dialed again, and when it isn't."""

from __future__ import annotations

from itertools import pairwise

from net.reconnecting_dialer.dialed import WHERE, Bench


def gaps(times: list[float]) -> list[float]:
    """The time between neighbors."""
    return [later - earlier for earlier, later in pairwise(times)]


# -- back-off -------------------------------------------------------------------------------------------------------


def test_back_off_grows_to_a_bound() -> None:
    """The nth pause is 50 ms doubled n - 1 times, at most 1 s, less up to half of it by chance."""
    longest = [0.05, 0.1, 0.2, 0.4, 0.8, *[1.0] * 30]
    shares = []
    for seed in range(20):
        bench = Bench(seed)
        bench.dialer.dial()
        bench.network.advance(60)
        pauses = gaps(bench.dials)[: len(longest)]
        assert len(pauses) == len(longest)
        shares += [pause / most for pause, most in zip(pauses, longest, strict=True)]
    assert 0.5 - 1e-9 <= min(shares) < 0.51
    assert 0.99 < max(shares) <= 1 + 1e-9
    assert 0.72 < sum(shares) / len(shares) < 0.78


def test_back_off_is_jittered() -> None:
    """Two peers that fail together don't come back together; the same seed gives the same times."""
    times = []
    for seed in (1, 2, 2):
        bench = Bench(seed)
        bench.dialer.dial()
        bench.network.advance(10)
        times.append(bench.dials)
    assert set(times[0]) & set(times[1]) == {0.0}
    assert times[1] == times[2]


def test_back_off_lasts_for_years(bench: Bench) -> None:
    """The pause stays what it is, however often it failed before."""
    bench.dialer._backoff.failures = 10_000
    bench.dialer.dial()
    bench.network.advance(10)
    assert max(gaps(bench.dials)) <= 1 + 1e-9


def test_back_off_begins_anew(bench: Bench) -> None:
    """After a connection that could be used the first pause is short again."""
    bench.dialer.dial()
    bench.network.advance(30)
    bench.listen()
    bench.network.advance(2)
    assert len(bench.ups) == 1
    bench.refuse()
    before = len(bench.dials)
    bench.network.cut(*WHERE)
    lost = bench.clock.seconds()
    bench.network.advance(0.051)
    assert len(bench.dials) == before + 1
    assert 0.025 <= bench.dials[-1] - lost <= 0.05


def test_back_off_from_a_peer_that_hangs_up(bench: Bench) -> None:
    """A peer that greets and hangs up is dialed with growing pauses; one that stayed for a second, with a short one."""
    bench.listen()
    bench.dialer.dial()
    bench.network.settle()
    for _ in range(400):
        bench.network.cut(*WHERE)
        bench.network.advance(0.05)
    assert 20 < len(bench.dials) < 50
    assert min(gaps(bench.dials)[6:]) > 0.4
    bench.network.advance(2)
    bench.network.cut(*WHERE)
    before = len(bench.dials)
    bench.network.advance(0.06)
    assert len(bench.dials) == before + 1


def test_wanting_does_not_shorten_the_pause(bench: Bench) -> None:
    """Who wants the connection during a pause waits for its end."""
    bench.dialer.dial()
    bench.network.advance(10)
    before = len(bench.dials)
    for _ in range(10):
        bench.dialer.dial()
    assert len(bench.dials) == before


# -- wanted or not --------------------------------------------------------------------------------------------------


def test_not_wanted_any_more(bench: Bench) -> None:
    """A failed attempt is not repeated when nobody wants the connection, until somebody does."""
    bench.wanted = False
    bench.dialer.dial()
    bench.network.advance(10)
    assert (len(bench.dials), len(bench.downs)) == (1, 1)
    bench.listen()
    bench.dialer.dial()
    bench.network.settle()
    assert len(bench.ups) == 1


def test_not_wanted_when_the_pause_ends(bench: Bench) -> None:
    """A pause at whose end nobody wants the connection any more ends in nothing, and leaves nothing behind."""
    bench.dialer.dial()
    bench.wanted = False
    bench.network.advance(10)
    assert len(bench.dials) == 1
    bench.wanted = True
    bench.dialer.dial()
    assert len(bench.dials) == 2
