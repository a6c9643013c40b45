"""The types of line_leaves.pyx."""

def record_lines(
    keys: list[str],
    results: list[object],
    place: int,
    begin: int,
    jsonl: bool,
    most_uncounted: int,
    most_nesting: int,
) -> tuple[bytes, int]: ...
