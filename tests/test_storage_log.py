"""The log before LMDB, by value: its format, what is read back, what is refused, and what a failing disk leaves.

tests/test_storage_power.py has it lose its power at any moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from disks import System
from stores import folder

from pyshard.errors import ConfigError
from pyshard.storage.log import Group, Log, groups_in, header, packed, salt_of

IDENTITY = "00112233445566778899aabbccddeeff"
SALT = b"saltsalt"
HEADER = 44
GROUP = 25

#: The number before that of the first group of a new log.
SAFE = 1


@pytest.fixture
def path() -> Iterator[Path]:
    """A log's place."""
    with folder() as made:
        yield made / "log"


def opened(path: Path, safe: int = 0) -> Log:
    """The log at a place, with salts of its own."""
    return Log(path, IDENTITY, safe)


def filled(path: Path, texts: list[bytes], sync: bool = True) -> list[int]:
    """Make a log with groups; where each begins, and where the last ends."""
    log = opened(path)
    places = [log.size]
    for text in texts:
        log.append(text, sync)
        places.append(log.size)
    log.close()
    return places


def found(path: Path, safe: int = SAFE) -> list[bytes]:
    """The texts of the groups that a start finds, which are counted without a gap."""
    log = opened(path, safe)
    assert [group.sequence for group in log.groups] == list(range(safe + 1, safe + 1 + len(log.groups)))
    assert log.sequence == safe + len(log.groups)
    log.close()
    return [group.text for group in log.groups]


def refusal(path: Path, safe: int = SAFE) -> str:
    """Why a log is refused, in one line."""
    with pytest.raises(ConfigError) as refused:
        opened(path, safe)
    line = str(refused.value)
    first, last = f"{path}: the log can't be used (", "); docs/storage.md says what to do"
    assert (line[: len(first)], line[-len(last) :]) == (first, last)
    assert "\n" not in line
    return line[len(first) : -len(last)]


def found_beside(path: Path) -> list[bytes]:
    """As `found`, in a copy, while the log is in use."""
    beside = path.with_name("copy")
    beside.write_bytes(path.read_bytes())
    return found(beside)


def appended(path: Path, text: bytes, safe: int = SAFE, sync: bool = True) -> None:
    """Start, and write one more group."""
    log = opened(path, safe)
    log.append(text, sync)
    log.close()


def flips(data: bytes, begin: int, end: int) -> Iterator[bytes]:
    """Data with one bit of one of these bytes flipped, for each."""
    for place in range(begin, end):
        for bit in range(8):
            yield data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]


# -- the format -----------------------------------------------------------------------------------------------------


def test_header() -> None:
    """A header is name, identity, salt and checksum."""
    made = header(bytes.fromhex(IDENTITY), SALT)
    assert made.hex() == (
        "70797368617264206c6f6720310a0000" + "00112233445566778899aabbccddeeff" + "73616c7473616c74" + "758a0f77"
    )
    assert (len(made), salt_of(made, bytes.fromhex(IDENTITY))) == (HEADER, SALT)


def test_group() -> None:
    """A group is salt, number, whether synced, size, checksum and text."""
    assert packed(SALT, Group(258, b"text"), True).hex() == (
        "73616c7473616c74" + "0000000000000102" + "01" + "00000004" + "e94b17d5" + "74657874"
    )
    assert packed(SALT, Group(2, b""), False).hex() == (
        "73616c7473616c74" + "0000000000000002" + "00" + "00000000" + "32949e72"
    )


def test_file(path: Path) -> None:
    """A log is a header with its groups behind it."""
    salts: list[int] = []

    def random(size: int) -> bytes:
        salts.append(size)
        return SALT

    log = Log(path, IDENTITY, 0, random)
    log.append(b"one", True)
    log.append(b"", True)
    log.append(b"three", False)
    log.close()
    groups = [(Group(2, b"one"), True), (Group(3, b""), True), (Group(4, b"three"), False)]
    written = header(bytes.fromhex(IDENTITY), SALT) + b"".join(packed(SALT, *each) for each in groups)
    assert (path.read_bytes(), salts) == (written, [8])
    assert groups_in(written, SALT, SAFE) == ([group for group, _ in groups], len(written))


# -- reading back ---------------------------------------------------------------------------------------------------

TEXTS = [b"one", b"", bytes(range(256)) * 20, b"four"]


@pytest.mark.parametrize("sync", [False, True])
def test_what_was_written_is_there(path: Path, sync: bool) -> None:
    """A start finds what isn't safe elsewhere, however often, and goes on behind it."""
    end = filled(path, TEXTS, sync)[-1]
    for safe in range(SAFE, SAFE + 4):
        assert found(path, safe) == TEXTS[safe - SAFE :]
    log = opened(path, 3)
    assert (log.size, log.sequence) == (end, 5)
    log.append(b"five", sync)
    log.close()
    assert found(path, 3) == [*TEXTS[2:], b"five"]
    assert found(path, 6) == []


def test_a_new_log(path: Path) -> None:
    """Data that never had a log get one, also when what an earlier try left of it is empty; it counts from 1."""
    for _ in range(2):
        log = opened(path)
        assert (log.groups, log.sequence, log.size, log.broken) == ([], 1, HEADER, False)
        log.close()
        assert found(path) == []
        path.write_bytes(b"")


def test_the_making_was_cut_short_by_a_power_failure(path: Path) -> None:
    """A file that got its size and not its bytes is no log yet: nothing was acknowledged that could be in it."""
    for size in (1, HEADER, HEADER + GROUP):
        path.write_bytes(bytes(size))
        appended(path, b"one", 0)
        assert found(path) == [b"one"]
        path.write_bytes(bytes(size))
        assert "header" in refusal(path)


def test_a_missing_log(path: Path) -> None:
    """Where groups may have been, no log, or an empty one, is refused, and none is made."""
    assert refusal(path) == "it is missing or empty, and acknowledged changes may be in it"
    assert not path.exists()
    path.touch()
    assert refusal(path) == "it is missing or empty, and acknowledged changes may be in it"


def test_something_else_for_a_log(path: Path) -> None:
    """Another store's log, what is no log, a header that is cut or damaged, and what can't be read are refused."""
    path.mkdir()
    assert refusal(path) == "Is a directory"
    path.rmdir()
    filled(path, [b"one"])
    data = path.read_bytes()
    with pytest.raises(ConfigError, match=f"belongs to the store {IDENTITY}"):
        Log(path, "f" * 32, SAFE)
    for size in range(1, HEADER):
        path.write_bytes(data[:size])
        assert refusal(path) == f"it has {size} bytes, too few for a header"
    for bad in [*flips(data, 0, HEADER), b"garbage" * 100]:
        path.write_bytes(bad)
        for safe in (0, SAFE):
            assert refusal(path, safe) == "its header is damaged, or that of something else"
    path.write_bytes(data)
    assert found(path) == [b"one"]


def test_data_that_are_older_than_a_log_without_groups_over_them(path: Path) -> None:
    """A log of which all is safe, and more, has nothing to give; it goes on behind what is safe."""
    filled(path, TEXTS)
    appended(path, b"next", 20)
    assert found(path, 20) == [b"next"]


# -- damage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sync", [False, True])
@pytest.mark.parametrize("last", [b"", b"last", b"longer than the one that comes"])
def test_cut_anywhere_in_the_last_group(path: Path, sync: bool, last: bytes) -> None:
    """A group that was written by half is none; all before it are there, and the next takes its place."""
    begin, end = filled(path, [b"one", b"two", last], sync)[-2:]
    data = path.read_bytes()
    for size in range(begin, end):
        path.write_bytes(data[:size])
        assert found(path) == [b"one", b"two"]
        appended(path, b"next", sync=sync)
        assert found(path) == [b"one", b"two", b"next"]


@pytest.mark.parametrize("sync", [False, True])
def test_a_flipped_bit_in_the_last_group(path: Path, sync: bool) -> None:
    """Likewise one of which any bit is wrong."""
    begin, end = filled(path, [b"one", b"two", b"last"], sync)[-2:]
    for bad in flips(path.read_bytes(), begin, end):
        path.write_bytes(bad)
        assert found(path) == [b"one", b"two"]
        appended(path, b"next", sync=sync)
        assert found(path) == [b"one", b"two", b"next"]


def test_a_flipped_bit_in_an_earlier_group_that_was_synced(path: Path) -> None:
    """What was acknowledged as being on the disk and can't be read any more isn't passed over in silence."""
    texts = [b"one", b"two", b"three"]
    places = filled(path, texts)
    data = path.read_bytes()
    for begin, end in pairwise(places[:-1]):
        for bad in flips(data, begin, end):
            path.write_bytes(bad)
            assert refusal(path) == f"it is damaged at byte {begin}, and acknowledged changes were there"
            assert path.read_bytes() == bad
    path.write_bytes(data)
    assert found(path) == texts


def test_a_flipped_bit_in_an_earlier_group_that_was_not_synced(path: Path) -> None:
    """A power failure may do that to groups that nobody waited for: those before it are there, and none behind it."""
    texts = [b"one", b"two", b"three"]
    places = filled(path, texts, sync=False)
    data = path.read_bytes()
    for number, (begin, end) in enumerate(pairwise(places[:-1])):
        for bad in flips(data, begin, end):
            path.write_bytes(bad)
            assert found(path) == texts[:number]


def test_damage_in_what_is_safe(path: Path) -> None:
    """Groups that can't be read and are safe elsewhere don't matter, as long as none is wanted."""
    places = filled(path, [b"one", b"two", b"three"])
    data = path.read_bytes()
    for bad in flips(data, places[0], places[1]):
        path.write_bytes(bad)
        assert found(path, SAFE + 3) == []


@pytest.mark.parametrize("sync", [False, True])
def test_what_stood_behind_a_damaged_group_never_comes_back(path: Path, sync: bool) -> None:
    """A group that was lost with one before it isn't found behind a new one that fills the gap exactly."""
    places = filled(path, [b"one", b"two", b"three", b"four"], sync=False)
    data = path.read_bytes()
    for new in (b"2nd", b"", b"longer"):
        path.write_bytes(data[: places[1]] + bytes(GROUP) + data[places[1] + GROUP :])
        assert found(path) == [b"one"]
        appended(path, new, sync=sync)
        assert found(path) == [b"one", new]


def test_a_synced_group_says_only_what_is_sure(path: Path) -> None:
    """One that was written before the groups before it were on the disk proves nothing about them.

    So a power failure while it is brought there can't make a log unusable, and later ones prove again what they do.
    """
    places = filled(path, [b"one", b"two"], sync=False)
    log = opened(path, SAFE)
    log.append(b"three", False)
    places.append(log.size)
    log.append(b"four", True)
    places.append(log.size)
    data = path.read_bytes()
    path.write_bytes(data[: places[2]] + bytes(GROUP) + data[places[2] + GROUP :])
    assert found(path) == [b"one", b"two"]
    path.write_bytes(data)
    log.append(b"five", True)
    log.close()
    data = path.read_bytes()
    path.write_bytes(data[: places[3]] + bytes(GROUP) + data[places[3] + GROUP :])
    assert refusal(path) == f"it is damaged at byte {places[3]}, and acknowledged changes were there"


def test_sync_makes_groups_sure(path: Path) -> None:
    """What was written without waiting and then synced is acknowledged, as the next synced group says."""
    log = opened(path)
    log.append(b"one", False)
    log.sync()
    end = log.size
    log.append(b"two", True)
    log.close()
    data = path.read_bytes()
    path.write_bytes(data[:HEADER] + bytes(end - HEADER) + data[end:])
    assert refusal(path) == f"it is damaged at byte {HEADER}, and acknowledged changes were there"


# -- laps -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sync", [False, True])
@pytest.mark.parametrize("number", [0, 1, 2, 3])
@pytest.mark.parametrize("size", [0, 2, 3, 4, 30])
def test_leftovers_never_come_back(path: Path, sync: bool, number: int, size: int) -> None:
    """What is left of earlier laps is nothing, also where one of its groups begins right at the end."""
    log = opened(path)
    for lap in range(3):
        for each in range(5):
            log.append(b"%d %d" % (lap, each), sync)
        log.restart(log.sequence)
        assert log.size == HEADER
    safe = log.sequence
    texts = [bytes([number]) * size for number in range(number)]
    for text in texts:
        log.append(text, sync)
    log.close()
    assert path.stat().st_size >= HEADER + 5 * (GROUP + 3)
    assert found(path, safe) == texts
    assert found(path, safe + number) == []


def test_a_lap_begins_with_a_start_that_finds_nothing(path: Path) -> None:
    """When all is safe the lap before is over, so that a torn group at its end has no part in what follows."""
    places = filled(path, [b"one", b"two"])
    data = path.read_bytes()
    path.write_bytes(data[: places[1]] + bytes(GROUP) + data[places[1] + GROUP :])
    appended(path, b"new", SAFE + 1)
    assert path.read_bytes()[32:40] != data[32:40]
    assert found(path, SAFE + 1) == [b"new"]


def test_laps_have_salts_of_their_own(path: Path) -> None:
    """No salt is used twice, nor is one like another's."""
    log = opened(path)
    salts = set()
    for _ in range(50):
        log.restart(1)
        salts.add(path.read_bytes()[32:40])
    log.close()
    assert len(salts) == 50


def test_the_numbers_go_on_as_they_are_told(path: Path) -> None:
    """The first group of a lap has the number behind that which the lap was begun with."""
    log = opened(path)
    log.restart(1_000_000)
    log.append(b"one", True)
    log.close()
    assert (log.sequence, found(path, 1_000_000)) == (1_000_001, [b"one"])


def test_the_room_of_a_huge_lap_is_given_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file keeps what a usual lap fills and no more; only a new lap shortens it."""
    monkeypatch.setattr("pyshard.storage.log._KEPT", 1000)
    log = opened(path)
    log.append(bytes(900), True)
    full = log.size
    log.restart(log.sequence)
    assert path.stat().st_size == full
    for _ in range(3):
        log.append(bytes(5000), True)
    assert path.stat().st_size == log.size > 15_000
    log.restart(log.sequence)
    assert path.stat().st_size == 1000
    log.append(b"next", True)
    log.close()
    assert found(path, 5) == [b"next"]


def test_the_room_that_cannot_be_given_back(path: Path, system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told, and hinders nothing."""
    monkeypatch.setattr("pyshard.storage.log._KEPT", 100)
    log = opened(path)
    log.append(bytes(200), True)
    system.failing = {"truncate"}
    with pytest.raises(OSError, match="Input/output error"):
        log.restart(2)
    log.append(b"next", True)
    log.close()
    system.failing = set()
    assert found(path, 2) == [b"next"]


# -- groups within documents ----------------------------------------------------------------------------------------


def test_groups_within_a_text(path: Path) -> None:
    """A text may have the bytes of whole groups, even of the log's own salt: it is read as the text that it is."""
    log = Log(path, IDENTITY, 0, lambda _: SALT)
    texts = [packed(salt, Group(number, b"x"), True) * 3 for salt in (SALT, b"another ") for number in (2, 3, 4, 9)]
    for text in texts:
        log.append(text, True)
    log.close()
    assert found(path) == texts


@pytest.mark.parametrize("sequence", [2, 3, 4, 5])
def test_groups_within_a_text_that_was_lost(path: Path, sequence: int) -> None:
    """Nor does it count when its own group is none: what has another salt isn't a group wherever it stands."""
    inner = packed(b"another ", Group(sequence, b"x"), True)
    begin, end = filled(path, [b"one", inner * 3])[-2:]
    data = path.read_bytes()
    for size in range(begin, end):
        path.write_bytes(data[:size])
        assert found(path) == [b"one"]
    path.write_bytes(data[:begin] + inner * 4)
    assert found(path) == [b"one"]
    appended(path, bytes(len(inner) - GROUP))
    assert found(path) == [b"one", bytes(len(inner) - GROUP)]


@pytest.mark.parametrize("sequence", [1, 2])
def test_a_group_that_was_read_already_within_a_text_that_was_lost(path: Path, sequence: int) -> None:
    """A group behind the end proves nothing when its number is that of one that is there, or is safe."""
    log = Log(path, IDENTITY, 0, lambda _: SALT)
    log.append(b"one", True)
    begin = log.size
    log.append(packed(SALT, Group(sequence, b"x"), True), True)
    log.close()
    data = path.read_bytes()
    path.write_bytes(data[:begin] + bytes(GROUP) + data[begin + GROUP :])
    assert found(path) == [b"one"]


def test_a_salt_without_its_group(path: Path) -> None:
    """What looks like a group's begin, and ends with the file, is none."""
    log = Log(path, IDENTITY, 0, lambda _: SALT)
    log.append(b"one", True)
    end = log.size
    log.close()
    whole = path.read_bytes() + packed(SALT, Group(9, b"beyond"), True)
    for size in range(end, len(whole)):
        path.write_bytes(whole[:size])
        assert found(path) == [b"one"]
    path.write_bytes(whole)
    assert refusal(path) == f"it is damaged at byte {end}, and acknowledged changes were there"


# -- a disk that fails ----------------------------------------------------------------------------------------------


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    """What every log has for `os`."""
    made = System()
    monkeypatch.setattr("pyshard.storage.log.os", made)
    return made


def test_the_order_of_calls(path: Path, system: System) -> None:
    """A new log is there with its name before it is used; a group is written and then synced; a lap waits for it."""
    log = opened(path)
    assert system.take() == ["pwrite", "fsync", "fsync of the folder"]
    log.append(b"one", True)
    assert system.take() == ["pwrite", "fdatasync"]
    log.append(b"two", False)
    assert system.take() == ["pwrite"]
    log.sync()
    assert system.take() == ["fdatasync"]
    log.restart(3)
    assert system.take() == ["pwrite"]
    log.close()


def test_the_name_reaches_the_disk_before_a_group_does(path: Path, system: System) -> None:
    """Also when the process that made the file was killed before it could see to it."""
    system.failing = {"fsync of the folder"}
    assert refusal(path, 0) == "Input/output error"
    system.failing = set()
    system.take()
    opened(path).close()
    assert system.take() == ["pwrite", "fsync", "fsync of the folder"]
    opened(path, SAFE).close()
    assert system.take() == ["pwrite", "fsync"]


@pytest.mark.parametrize("name", ["pwrite", "fsync", "fsync of the folder"])
def test_a_log_that_cannot_be_made(path: Path, system: System, name: str) -> None:
    """It is refused in one line, nothing is left open, and another try may do."""
    files = len(list(Path("/proc/self/fd").iterdir()))
    system.failing = {name}
    assert refusal(path, 0) == "Input/output error"
    assert len(list(Path("/proc/self/fd").iterdir())) == files
    system.failing = set()
    appended(path, b"one", 0)
    assert found(path) == [b"one"]


def test_a_start_settles_what_it_finds(path: Path, system: System) -> None:
    """Groups that are found are on the disk, with nothing behind them, before another is written.

    They are written again for it, in case a sync failed before the process ended: it leaves them for synced.
    """
    places = filled(path, [b"one", b"two", b"three"], sync=False)
    data = path.read_bytes()
    path.write_bytes(data[: places[1]] + bytes(GROUP) + data[places[1] + GROUP :])
    system.take()
    log = opened(path, SAFE)
    assert (system.take(), path.stat().st_size) == (["pwrite", "truncate", "fsync"], places[1])
    log.close()
    assert path.read_bytes() == data[: places[1]]
    for name in ("pwrite", "truncate", "fsync"):
        system.failing = {name}
        assert refusal(path) == "Input/output error"


def test_short_writes(path: Path, system: System) -> None:
    """A system that takes a few bytes at a time is given the rest."""
    for system.most in (1, 2, 7, 50):
        path.unlink(missing_ok=True)
        filled(path, [*TEXTS[:2], bytes(range(200))])
        assert found(path) == [*TEXTS[:2], bytes(range(200))]


@pytest.mark.parametrize("sync", [False, True])
def test_a_group_for_which_there_is_no_room(path: Path, system: System, sync: bool) -> None:
    """It isn't in the log, whatever part of it was; the log goes on, when there is room, as if nothing had been."""
    log = opened(path)
    log.append(b"one", sync)
    text, texts = b"refused", [b"one"]
    for room in range(GROUP + len(text)):
        size, sequence = log.size, log.sequence
        system.room = room
        with pytest.raises(OSError, match="No space left on device"):
            log.append(text, sync)
        assert (log.size, log.sequence, log.broken) == (size, sequence, False)
        assert path.stat().st_size == size
        assert system.take()[-2:] == ["truncate", "fdatasync"]
        system.room = None
        assert found_beside(path) == texts
        texts.append(b"%d" % room)
        log.append(texts[-1], sync)
        assert found_beside(path) == texts
    log.close()


@pytest.mark.parametrize("sync", [False, True])
def test_a_group_that_cannot_be_taken_back(path: Path, system: System, sync: bool) -> None:
    """When what is left of a refused group can't be cut off, nothing is taken until a new lap has begun.

    The lap's header is on the disk before anything else, for until then the refused group may be found.
    """
    log = opened(path)
    log.append(b"one", True)
    system.room, system.failing = 3, {"truncate"}
    with pytest.raises(OSError, match="No space left on device"):
        log.append(b"refused", sync)
    assert (log.broken, log.sequence) == (True, 2)
    system.room, system.failing = None, set()
    system.take()
    for _ in range(2):
        with pytest.raises(OSError, match="could not be mended"):
            log.append(b"refused, too", sync)
    assert system.take() == []
    for name in ("pwrite", "fdatasync"):
        system.failing = {name}
        with pytest.raises(OSError, match="Input/output error"):
            log.restart(2)
        assert (log.broken, log.sequence) == (True, 2)
        system.failing = set()
        with pytest.raises(OSError, match="could not be mended"):
            log.append(b"refused, too", sync)
    system.take()
    log.restart(2)
    assert (system.take(), log.broken) == (["pwrite", "fdatasync"], False)
    log.append(b"two", sync)
    assert system.take() == ["pwrite", "fdatasync"][: 1 + sync]
    log.close()
    assert found(path, 2) == [b"two"]


@pytest.mark.parametrize("once", [False, True])
def test_a_group_that_was_not_synced(path: Path, system: System, once: bool) -> None:
    """A group whose sync failed is taken back; the lap is given up, for what a later sync then says means nothing."""
    log = opened(path)
    log.append(b"one", True)
    system.failing, system.failing_once = set() if once else {"fdatasync"}, {"fdatasync"}
    with pytest.raises(OSError, match="Input/output error"):
        log.append(b"refused", True)
    system.failing = set()
    assert (log.broken, log.sequence, found_beside(path)) == (True, 2, [b"one"])
    with pytest.raises(OSError, match="could not be mended"):
        log.append(b"refused, too", True)
    log.restart(2)
    log.append(b"two", True)
    log.close()
    assert found(path, 2) == [b"two"]


def test_groups_that_were_not_synced(path: Path, system: System) -> None:
    """Groups that nobody waited for and that a sync can't bring to the disk stay, and no other comes behind them."""
    log = opened(path)
    log.append(b"one", False)
    system.failing = {"fdatasync"}
    with pytest.raises(OSError, match="Input/output error"):
        log.sync()
    system.failing = set()
    log.sync()
    with pytest.raises(OSError, match="could not be mended"):
        log.append(b"refused", False)
    log.restart(2)
    log.append(b"two", False)
    log.close()
    assert found(path, 2) == [b"two"]


def test_a_lap_that_does_not_begin(path: Path, system: System) -> None:
    """As long as it isn't known which lap the file is in nothing is taken; a start finds that all is safe."""
    log = opened(path)
    log.append(b"one", True)
    system.failing = {"pwrite"}
    with pytest.raises(OSError, match="Input/output error"):
        log.restart(2)
    system.failing = set()
    with pytest.raises(OSError, match="could not be mended"):
        log.append(b"refused", True)
    assert found_beside(path) == [b"one"]
    log.close()
    assert found(path, 2) == []
