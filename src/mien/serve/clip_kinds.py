"""Which files are taken as clips, by their first bytes.

FFmpeg also reads play lists and scripts, which name other files and addresses. So nothing gets to it that does not begin
as one of these containers does, and each gets the ending under which FFmpeg and mien know it.
"""

from __future__ import annotations

from mien.pipeline.pictures import PICTURE_BRANDS


def clip_suffix(head: bytes) -> str | None:
    """The ending for a file that begins so (its first 512 bytes); `None` if it is no clip."""
    if head[4:8] == b"ftyp":
        return None if head[8:11] in PICTURE_BRANDS else ".mp4"
    if head[4:8] in (b"moov", b"mdat", b"wide", b"skip", b"free"):
        return ".mov"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return ".avi"
    if len(head) > 376 and head[0] == head[188] == head[376] == 0x47:
        return ".ts"
    if len(head) > 388 and head[4] == head[196] == head[388] == 0x47:
        return ".mts"
    beginnings = {
        b"\x1aE\xdf\xa3": ".mkv",
        b"GIF87a": ".gif",
        b"GIF89a": ".gif",
        b"OggS": ".ogv",
        b"FLV\x01": ".flv",
        b"\x00\x00\x01\xba": ".mpg",
        b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": ".wmv",
    }
    return next((suffix for magic, suffix in beginnings.items() if head.startswith(magic)), None)
