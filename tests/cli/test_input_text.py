"""Documents that come from standard input and from files, and the marks and line ends that other programs write."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest
from in_process_command import Commands, Ended

from pyshard.cli import input_text

MARK = codecs.BOM_UTF8


@pytest.mark.parametrize("command", ["write", "add", "replace"])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"a": 1}\n', '{"a": 1}'),
        (b'{\r\n "a": 1\r\n}\r\n', '{"a": 1}'),
        (MARK + b'{"a": 1}', '{"a": 1}'),
        (b"hello world\n", '"hello world"'),
        (b"two\nlines\r\n", '"two\\nlines"'),
        (b"two\n\n", '"two\\n"'),
        (MARK + "é".encode(), '"é"'),
        (b"-\n", '"-"'),
        (b'""', '""'),
        (b" ", '" "'),
        (b'"' + b"x" * 300_000 + b'"', '"' + "x" * 300_000 + '"'),
    ],
)
def test_documents(pyshard: Commands, tmp_path: Path, command: str, content: bytes, expected: str) -> None:
    """DOC -, --file - and --file FILE take the text that an argument would be; one line end behind it doesn't count."""
    path = tmp_path / "doc.json"
    path.write_bytes(content)
    for arguments in (["-"], ["--file", "-"], ["--file", str(path)], [f"--file={path}"]):
        if command == "replace":
            pyshard("write", "k", "1")
        else:
            pyshard("remove", "k")
        ended = pyshard(command, "k", *arguments, text=content)
        assert (ended.code, ended.error) == (0, "")
        assert pyshard("read", "k").out == f"{expected}\n"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", 'found nothing, expected a document; the empty string is written ""'),
        (MARK + b"\n", 'found nothing, expected a document; the empty string is written ""'),
        (b"\xff\xfe{\0}\0", "found UTF-16, expected UTF-8: save or convert the file as that"),
        ("\ufeff{}".encode("utf-16-be"), "found UTF-16, expected UTF-8: save or convert the file as that"),
        (b'"a\xe9"', "line 1, column 3: found bytes that are not UTF-8 (invalid continuation byte)"),
        (b'{"a": 1', "line 1, column 8: text that starts with { must be JSON"),
        (b'{"a": 1, "b": 2, "a": 3}', 'an object has the name "a" twice'),
        (b"[1e400]", "1e400 is past the largest number, 1.79769e+308; write Infinity or -Infinity, or put"),
    ],
)
def test_no_documents(pyshard: Commands, tmp_path: Path, content: bytes, why: str) -> None:
    """What is none is one line, and exit code 2; nothing is stored."""
    path = tmp_path / "doc.json"
    path.write_bytes(content)
    for name, arguments in (("DOC", ["-"]), ("--file", ["--file", str(path)])):
        ended = pyshard("write", "k", *arguments, text=content)
        assert (ended.code, ended.out) == (2, "")
        assert ended.error.startswith(f"pyshard: Invalid value for '{name}': {why}")
        assert ended.error.count("\n") == 1
    assert pyshard("has", "k").code == 1


def test_too_much(pyshard: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard input that doesn't end isn't read into memory."""
    monkeypatch.setattr(input_text, "LONGEST_LINE", 1000)
    assert pyshard("write", "k", "-", text=b"x" * 1000).code == 0
    assert "found more than 1,000 bytes" in pyshard("write", "k", "-", text=b"x" * 1001).error


def test_files_that_cannot_be_read(pyshard: Commands, tmp_path: Path) -> None:
    """A directory and a file that isn't there are one line, of `load` too."""
    for path, why in ((tmp_path, "Is a directory"), (tmp_path / "none", "No such file or directory")):
        for arguments in (["write", "k", "--file", str(path)], ["load", str(path)]):
            ended = pyshard(*arguments)
            assert (ended.code, ended.out) == (2, "")
            assert f"'{path}': {why}; see 'pyshard" in ended.error
            assert ended.error.count("\n") == 1


def test_one_document(pyshard: Commands, tmp_path: Path) -> None:
    """DOC and --file together are refused; a text that is - goes in double quotes."""
    (tmp_path / "doc").write_text("1")
    ended = pyshard("write", "k", "2", "--file", str(tmp_path / "doc"))
    assert (ended.code, ended.error.split(";")[0]) == (2, "pyshard: DOC and --file: found both, expected one of them")
    pyshard("write", "k", '"-"')
    assert pyshard("read", "k").out == '"-"\n'
    assert pyshard("get", "none", "--default", '"-"').out == '"-"\n'
    assert pyshard("get", "none", "--default", "-", text="[1]").out == "[1]\n"


@pytest.mark.parametrize("number", ["1e400", "-1e400", "[1, 2e309]", "1e" + "9" * 100])
def test_numbers_past_all_floats(pyshard: Commands, number: str) -> None:
    """They are refused, and not stored as infinity, which is written Infinity."""
    ended = pyshard("write", "--", "k", number)
    assert (ended.code, ended.out) == (2, "")
    assert "is past the largest number" in ended.error
    for infinity in ("Infinity", "-Infinity", "NaN"):
        assert pyshard("write", "--", "k", infinity).code == 0
        assert pyshard("read", "k").out == f"{infinity}\n"
    assert pyshard("incr", "n", "--by", "1e400").code == 2
    assert pyshard("load", "-", text=f"k|{number}").code == 2


# -- load -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (MARK + b"a|1\nb|2\n", []),
        (MARK + b"a|1\r\nb|2\r\n", []),
        (MARK + b'{"key": "a", "doc": 1}\r\n{"key": "b", "doc": 2}', ["--jsonl"]),
        (MARK + b"\r\na|1\nb|2", []),
    ],
)
def test_load_of_what_windows_writes(pyshard: Commands, tmp_path: Path, content: bytes, options: list[str]) -> None:
    """A byte order mark isn't part of the first key, and carriage returns aren't part of documents."""
    (tmp_path / "file").write_bytes(content)
    for arguments in ([str(tmp_path / "file")], ["-"]):
        assert pyshard("load", *options, *arguments, text=content) == Ended(0, "2 documents written\n", "")
        assert sorted(pyshard("cat").out.split()) == ["a|1", "b|2"]
        pyshard("clear", "--yes")


def test_load_of_a_mark_alone(pyshard: Commands) -> None:
    """A file with a byte order mark and nothing else has no documents; a mark elsewhere is text."""
    assert pyshard("load", "-", text=MARK) == Ended(0, "0 documents written\n", "")
    assert pyshard("load", "-", text=b"a|" + MARK + b"1\n" + MARK + b"b|2").code == 0
    assert sorted(pyshard("cat", "--jsonl").out.splitlines()) == [
        '{"key": "a", "doc": "\ufeff1"}',
        '{"key": "\ufeffb", "doc": 2}',
    ]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("a|1\n".encode("utf-16"), "line 1: found UTF-16, expected UTF-8: save or convert the file as that"),
        (b"a|1\rb|2\r", "line 1, column 4: found a carriage return within the line, expected lines that end with"),
        (b'a|{"b": 1, "b": 2}', 'line 1: an object has the name "b" twice'),
        (b"\n\na|1e400", "line 3: 1e400 is past the largest number"),
    ],
)
def test_load_refuses(pyshard: Commands, content: bytes, why: str) -> None:
    """What would be stored as something else is refused, with its line."""
    ended = pyshard("load", "-", text=content)
    assert (ended.code, ended.out) == (2, "")
    assert ended.error.startswith(f"pyshard: {why}")
    assert pyshard("count").out == "0\n"


def test_load_of_a_line_with_a_name_twice(pyshard: Commands) -> None:
    """In JSONL, too; and what `cat` writes of a document with a carriage return is read back."""
    assert 'the name "key" twice' in pyshard("load", "--jsonl", "-", text='{"key": "a", "key": "b", "doc": 1}').error
    pyshard("write", "k", '"a\\rb"')
    written = pyshard("cat").out
    assert pyshard("load", "-", text=written).code == 0
    assert pyshard("read", "k").out == '"a\\rb"\n'
