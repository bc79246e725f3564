"""What a file is, told by its first bytes and never by its name. Shared by whatever takes files from outside.

Signatures as in the formats' own specifications; HEIC, MP4 and QuickTime are told apart by the brand in their ``ftyp``
box (ISO/IEC 14496-12, and the registry of brands at https://mp4ra.org/).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from rmabridge.model import EvidenceKind

LEAST: Final = 12  # bytes by which every type is told


class FileType(NamedTuple):
    """A media type, the ending of its files, and what it is as evidence."""

    media_type: str
    ending: str
    kind: EvidenceKind


JPEG: Final = FileType("image/jpeg", "jpg", EvidenceKind.PHOTO)
PNG: Final = FileType("image/png", "png", EvidenceKind.PHOTO)
WEBP: Final = FileType("image/webp", "webp", EvidenceKind.PHOTO)
HEIC: Final = FileType("image/heic", "heic", EvidenceKind.PHOTO)
GIF: Final = FileType("image/gif", "gif", EvidenceKind.PHOTO)
MP4: Final = FileType("video/mp4", "mp4", EvidenceKind.VIDEO)
MOV: Final = FileType("video/quicktime", "mov", EvidenceKind.VIDEO)
PDF: Final = FileType("application/pdf", "pdf", EvidenceKind.DOCUMENT)
TYPES: Final = (JPEG, PNG, WEBP, HEIC, GIF, MP4, MOV, PDF)
STARTS: Final = {
    b"\xff\xd8\xff": JPEG,
    b"\x89PNG\r\n\x1a\n": PNG,
    b"GIF87a": GIF,
    b"GIF89a": GIF,
    b"%PDF-": PDF,
}
PICTURES: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"heif", b"mif1", b"msf1"})
FILMS: Final = frozenset(
    {b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"mp41", b"mp42", b"avc1", b"M4V ", b"MSNV", b"dash"}
)
OLD_MOV: Final = frozenset({b"moov", b"mdat", b"wide"})  # QuickTime files from before there was an ftyp box


def told(first: bytes) -> FileType | None:
    """The type of a file that begins so; None where it is none that is taken."""
    for start, found in STARTS.items():
        if first.startswith(start):
            return found
    if first[:4] == b"RIFF" and first[8:12] == b"WEBP":
        return WEBP
    box, brand = first[4:8], first[8:12]
    if box == b"ftyp":
        if brand in PICTURES:
            return HEIC
        return MOV if brand == b"qt  " else MP4 if brand in FILMS or brand[:3] == b"3gp" else None
    return MOV if box in OLD_MOV else None


def kind_of(media_type: str | None) -> EvidenceKind | None:
    """What a file of this declared media type is as evidence; None where it is not one that shows anything."""
    main, _, _ = (media_type or "").partition("/")
    known = {one.media_type: one.kind for one in TYPES}
    return {"image": EvidenceKind.PHOTO, "video": EvidenceKind.VIDEO}.get(main) or known.get(media_type or "")
