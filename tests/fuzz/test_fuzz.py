"""The fuzz targets on their corpus and on simple changes of it, the same each time and without atheris."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from protocol.codec import decode
from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
EXAMPLES = Path(__file__).parents[2] / "docs" / "contracts" / "examples" / "client"


def seeds(name: str) -> list[bytes]:
    found = [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]
    assert found
    return found


def changed(text: bytes, chance: random.Random) -> bytes:
    """A byte other, a piece out, or a piece twice."""
    if not text:
        return b"\0"
    at, until = sorted(chance.randrange(len(text) + 1) for _ in range(2))
    match chance.randrange(3):
        case 0:
            at = min(at, len(text) - 1)
            return text[:at] + bytes([chance.randrange(256)]) + text[at + 1 :]
        case 1:
            return text[:at] + text[until:]
        case _:
            return text[:until] + text[at:]


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_no_input_of_the_corpus_breaks_a_promise(name: str) -> None:
    chance = random.Random(name)
    for seed in seeds(name):
        TARGETS[name](seed)
        for _ in range(20):
            TARGETS[name](changed(seed, chance))


def test_no_example_of_a_message_breaks_a_promise_when_it_is_damaged() -> None:
    chance = random.Random(7)
    for path in sorted(EXAMPLES.iterdir()):
        for example in json.loads(path.read_text()):
            text = json.dumps(example).encode()
            decode(text)
            for _ in range(20):
                text = changed(text, chance)
                TARGETS["codec"](text)
