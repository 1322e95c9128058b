#!/usr/bin/env python3
"""A DNS server for what no real server does on demand. UDP and TCP, port 53 of places.ODD_DNS.

Zones (dnsmasq forwards them here, and a sandbox may have this server as its resolver):
  rebind.test     public and private addresses in turn, TTL 0
  *.flip.test     public the first time, private ever after, TTL 0
  moved.test      WEB2 the first time, WEB ever after, TTL 0
  *.tunnel.test   answers anything to anything: TXT, NULL, CNAME
  *.oddname.test  the first label says what goes wrong; see BEHAVIOURS
"""
import asyncio
import ipaddress
import struct

import places

A, CNAME, TXT, AAAA = 1, 5, 16, 28


def parse(query):
    """(name, type, end of the question)"""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode("ascii", "replace"))
        at += 1 + query[at]
    return ".".join(labels), struct.unpack_from("!H", query, at + 1)[0], at + 5


def encode(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


def record(owner, kind, data, ttl=0):
    return owner + struct.pack("!HHIH", kind, 1, ttl, len(data)) + data


def address_record(address, ttl=0, owner=b"\xc0\x0c"):
    packed = ipaddress.ip_address(address).packed
    return record(owner, A if len(packed) == 4 else AAAA, packed, ttl)


def respond(query, end, records=(), rcode=0, flags=0x8580):
    head = query[:2] + struct.pack("!HHHHH", flags | rcode, 1, len(records), 0, 0)
    return head + query[12:end] + b"".join(records)


class Server:
    def __init__(self):
        self.asked = {}

    def turn(self, name, kind):
        key = (name, kind)
        self.asked[key] = self.asked.get(key, -1) + 1
        return self.asked[key]

    def answer(self, query, tcp):
        """(seconds to wait, answer or None for silence)"""
        if len(query) < 17 or query[2] & 0x80:
            return 0, None
        name, kind, end = parse(query)
        name = name.lower()
        family = {A: 0, AAAA: 1}.get(kind)
        if name in ("rebind.test", "moved.test") or name.endswith(".flip.test"):
            if family is None:
                return 0, respond(query, end)
            turn = self.turn(name, kind if name == "rebind.test" else 0)
            first, second = (places.WEB2, places.WEB) if name == "moved.test" else (places.WEB, places.LAN)
            chosen = first if turn == 0 or (name == "rebind.test" and turn % 2 == 0) else second
            return 0, respond(query, end, [address_record(chosen[family])])
        if name.endswith("tunnel.test"):
            if kind == TXT or kind == 10:
                return 0, respond(query, end, [record(b"\xc0\x0c", kind, bytes([200]) + b"t" * 200, 60)])
            if family is not None:
                return 0, respond(query, end, [address_record(places.WEB2[family], 60)])
            return 0, respond(query, end)
        if name.endswith("oddname.test"):
            return self.misbehave(name.split(".")[0], query, kind, end, tcp)
        return 0, respond(query, end, rcode=3)

    def misbehave(self, how, query, kind, end, tcp):
        family = {A: 0, AAAA: 1}.get(kind)
        good = [address_record(places.WEB[family])] if family is not None else []
        if how == "silent":
            return 0, None
        if how == "slow":
            return 1.0, respond(query, end, good)
        if how == "servfail":
            return 0, respond(query, end, rcode=2)
        if how == "refused":
            return 0, respond(query, end, rcode=5)
        if how == "wrongid":
            return 0, bytes([query[0] ^ 0xFF]) + respond(query, end, good)[1:]
        if how == "wrongname":
            other = query[:12] + encode("bank.test") + query[end - 4 : end]
            return 0, respond(other, len(other), good)
        if how == "garbage":
            return 0, query[:2] + b"\x85\x80" + b"\xff" * 60
        if how == "loop":
            return 0, respond(query, end, [record(b"\xc0" + bytes([end]), A, b"\1\2\3\4")])
        if how == "cnameloop":
            return 0, respond(query, end, [record(b"\xc0\x0c", CNAME, b"\xc0\x0c")])
        if how == "many":
            return 0, respond(query, end, [address_record("11.22.33.80")] * (400 if tcp else 60))
        if how == "extra":  # an answer to a question nobody asked, to poison whoever keeps it
            return 0, respond(query, end, [*good, address_record(places.SINK[0], 3600, encode("b.cdn.test"))])
        if how == "short":
            return 0, respond(query, end, good)[:-3]
        if how == "cut" and not tcp:
            return 0, respond(query, end, flags=0x8780)
        if how == "cutforever":
            return 0, None if tcp else respond(query, end, flags=0x8780)
        if how == "private" and family is not None:
            return 0, respond(query, end, [address_record(places.LAN[family])])
        return 0, respond(query, end, good)


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server):
        self.server = server

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, query, address):
        try:
            wait, reply = self.server.answer(query, False)
        except (IndexError, struct.error):
            return
        if reply:
            asyncio.get_running_loop().call_later(wait, self.transport.sendto, reply, address)


async def serve_tcp(server, reader, writer):
    try:
        while True:
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            wait, reply = server.answer(await reader.readexactly(length), True)
            await asyncio.sleep(wait)
            if reply is None:
                break
            writer.write(struct.pack("!H", len(reply)) + reply)
            await writer.drain()
    except (asyncio.IncompleteReadError, OSError, IndexError, struct.error):
        pass
    finally:
        writer.close()


async def main():
    server, loop = Server(), asyncio.get_running_loop()
    for address in places.ODD_DNS:
        await loop.create_datagram_endpoint(lambda: Datagrams(server), local_addr=(address, 53))
        await asyncio.start_server(lambda r, w: serve_tcp(server, r, w), address, 53)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
