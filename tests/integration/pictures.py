"""A picture file, made by hand."""
import struct
import zlib


def png(side=40):
    """A red square on white."""
    rows = b"".join(b"\0" + b"".join(b"\xff\0\0" if 10 < x < 30 and 10 < y < 30 else b"\xff\xff\xff" for x in range(side))
                    for y in range(side))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
