"""What goes along with words, and what is only named."""

import pytest

from rmabridge.errors import Rejected
from rmabridge.model import Attachment
from rmabridge.wire.attached import bundle

HERE = {"a" * 64: b"12345", "b" * 64: b"67890"}


async def blob(sha256):
    if sha256 not in HERE:
        raise Rejected("the case has no such file")
    return HERE[sha256]


async def test_files_go_along_until_the_room_is_used_up():
    files = [Attachment(name=one[0], sha256=one) for one in HERE] + [Attachment(name="t", text="x")]
    found = await bundle(files, blob, 6)
    assert [(one.name, data) for one, data in found.files] == [("a", b"12345"), ("t", b"x")]
    assert found.words("See.") == "See.\nb: too large to attach; see 'rmabridge cases evidence --save'"


@pytest.mark.parametrize(
    ("file", "line"),
    [
        (Attachment(name="n", url="https://a.example/1"), "n: https://a.example/1"),
        (Attachment(name="n", url="https://a.example/1", sha256="f" * 64), "n: https://a.example/1"),
        (Attachment(name="n", sha256="f" * 64), f"n: the file is not kept here any more (SHA-256 {'f' * 64})"),
        (Attachment(name="n", url="https://a.example/1", sha256="a" * 64, size=99), "n: https://a.example/1"),
        (Attachment(name="n"), "n: the file was not kept"),
    ],
)
async def test_what_has_no_bytes_here_is_named_with_where_it_is_or_why(file, line):
    found = await bundle([file], blob, 6)
    assert (found.files, found.lines) == ((), (line,))
