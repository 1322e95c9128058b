#!/usr/bin/env python3
"""Writes one JSON line for every packet that arrives at an interface, but those of established TCP connections.

usage: wire.py INTERFACE FILE

A packet may carry a mark, `MARK` and eight hexadecimal digits, by which a test finds its own. Prints "ready" when it listens.
"""
import ctypes
import json
import re
import socket
import struct
import sys

SO_ATTACH_FILTER = 26
PACKET_OUTGOING = 4
MARK = re.compile(rb"MARK[0-9a-f]{8}")

# Classic BPF (linux/filter.h): code, jump if true, jump if false, operand. Accepts all but TCP segments without SYN, and of
# those the ones that are later fragments or whose data begins with a mark.
FILTER = [
    (0x28, 0, 0, 12),  # 0: ethertype
    (0x15, 0, 9, 0x0800),  # 1: not IPv4: 11
    (0x30, 0, 0, 23),  # 2: protocol
    (0x15, 0, 12, 6),  # 3: not TCP: accept (16)
    (0x28, 0, 0, 20),  # 4: fragment offset
    (0x45, 10, 0, 0x1FFF),  # 5: a later fragment: accept
    (0xB1, 0, 0, 14),  # 6: header length
    (0x50, 0, 0, 27),  # 7: TCP flags
    (0x45, 7, 0, 0x02),  # 8: SYN: accept
    (0x40, 0, 0, 34),  # 9: the first data after a TCP header without options
    (0x15, 5, 6, 0x4D41524B),  # 10: "MARK": accept, else drop
    (0x15, 0, 4, 0x86DD),  # 11: not IPv6: accept
    (0x30, 0, 0, 20),  # 12: next header
    (0x15, 0, 2, 6),  # 13: not TCP: accept
    (0x30, 0, 0, 67),  # 14: TCP flags
    (0x45, 0, 1, 0x02),  # 15: no SYN: drop
    (0x06, 0, 0, 0xFFFF),  # 16
    (0x06, 0, 0, 0),  # 17
]


def attach(sock):
    program = b"".join(struct.pack("HBBI", *line) for line in FILTER)
    buffer = ctypes.create_string_buffer(program)
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", len(FILTER), ctypes.addressof(buffer)))


def describe(frame):
    out = {"ethertype": hex(struct.unpack_from("!H", frame, 12)[0]), "length": len(frame)}
    try:
        if frame[12:14] == b"\x08\x00":
            header = 14 + 4 * (frame[14] & 15)
            out |= {"ip": 4, "protocol": frame[23], "src": socket.inet_ntop(socket.AF_INET, frame[26:30])}
            out["dst"] = socket.inet_ntop(socket.AF_INET, frame[30:34])
        elif frame[12:14] == b"\x86\xdd":
            header = 54
            out |= {"ip": 6, "protocol": frame[20], "src": socket.inet_ntop(socket.AF_INET6, frame[22:38])}
            out["dst"] = socket.inet_ntop(socket.AF_INET6, frame[38:54])
        if out.get("protocol") in (6, 17, 132):
            out["port"] = struct.unpack_from("!H", frame, header + 2)[0]
    except (struct.error, ValueError, IndexError):
        out["short"] = True
    marks = sorted({m.decode() for m in MARK.findall(frame)})
    if marks:
        out["marks"] = marks
    return out


def main():
    interface, path = sys.argv[1:]
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    attach(sock)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
    sock.bind((interface, 0))
    with open(path, "a", buffering=1) as out:
        print("ready", flush=True)
        while True:
            try:
                frame, address = sock.recvfrom(65536)
            except OSError:  # the interface is gone
                return
            if address[2] != PACKET_OUTGOING:
                out.write(json.dumps(describe(frame)) + "\n")


if __name__ == "__main__":
    main()
