"""How many elements a document in JSON has, counted before it is decoded. Pure, but for the environment.

Decoded, an element takes up to 120 bytes of memory, and as few as two of the text. So one line of a file took a loader
28 times its bytes.

Rules:

- the elements are those of the document (`pyshard.model.element_limit`): what stands in strings isn't counted, nor are
  the tags of `pyshard.cli.document_text`;
- text that has fewer characters than a document may have elements isn't counted, which would only cost time;
- nothing is made of the text; what is surely too much is found at its beginning.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from pyshard.model.element_limit import most_elements, too_many
from pyshard.settings import settings

#: A string, the begin of a tag, an empty list or object; and, as the only group, what comes before an element. The key
#: and the value of a pair are two.
_TOKENS = re.compile(
    r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?+|\{\s*+"\$(?:bytes|int)"(?:\s*+:)?+|[\[{]\s*+[\]}]|([,\[{:])',
    re.DOTALL,
)

#: Tokens for each element, and some more, that no document has: its key, a tag and its text, or an empty list.
_TOKENS_EACH = 8


def text_elements_fault(text: str, beside: int = 0, environment: Mapping[str, str] = os.environ) -> str | None:
    """What is wrong with the number of elements of JSON, and what to do; None: nothing is.

    :param text: what may be JSON.
    :param beside: how many elements there may be besides, which aren't the document's.
    :raises ConfigError: the environment says something that is no number.
    """
    if len(text) <= settings.MAX_ELEMENTS:
        return None
    most = most_elements(environment)
    if sum(map(text.count, ",[{:")) <= most + beside:
        return None
    return too_many(most) if has_more(text, most + beside) else None


def has_more(text: str, most: int) -> bool:
    """Whether JSON has more elements than so many. What is no JSON may have, too."""
    elements = 0
    for tokens, found in enumerate(_TOKENS.finditer(text)):
        elements += found.lastindex is not None
        if elements > most or tokens > _TOKENS_EACH * (most + 1):
            return True
    return False
