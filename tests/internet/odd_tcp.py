#!/usr/bin/env python3
"""TCP servers that no one would run, and sinks that write down what they get.

usage: odd_tcp.py SINK_LOG

places.SINK takes any bytes on its TCP and UDP ports and writes a JSON line for each connection or datagram. places.ODD
misbehaves, each port in its own way. Prints "ready" when all listen.
"""
import asyncio
import json
import socket
import struct
import sys

import places

MOST_KEPT = 4096  # bytes of a connection that are written down


class Log:
    def __init__(self, path):
        self.file = open(path, "a", buffering=1)

    def write(self, protocol, port, peer, data):
        line = {"protocol": protocol, "port": port, "peer": peer[0], "length": len(data)}
        line["data"] = data[:MOST_KEPT].decode("latin-1")
        self.file.write(json.dumps(line) + "\n")


class SinkDatagrams(asyncio.DatagramProtocol):
    def __init__(self, log, port):
        self.log, self.port = log, port

    def datagram_received(self, data, address):
        self.log.write("udp", self.port, address, data)


async def sink(log, port, reader, writer):
    """Writes a line for the connection at once, and another for what came until it ended."""
    peer, data = writer.get_extra_info("peername"), b""
    log.write("tcp", port, peer, b"")
    try:
        while chunk := await reader.read(65536):
            data += chunk[: MOST_KEPT - len(data)]
    except OSError:
        pass
    if data:
        log.write("tcp", port, peer, data)
    writer.close()


def reset(writer):
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def echo_requests(log, port, reader, writer):
    """An HTTP server that takes everything for a request, and answers with all that it has read so far."""
    data = b""
    while len(data) < 1 << 20 and (chunk := await reader.read(65536)):
        data += chunk
        log.write("tcp", port, writer.get_extra_info("peername"), chunk)
        if b"\r\n\r\n" in data:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data) + data)


async def behave(log, port, reader, writer):
    try:
        if port == places.ODD_RESET:
            await reader.read(1)
            reset(writer)
        elif port == places.ODD_STALL:
            writer.transport.pause_reading()
            await asyncio.sleep(3600)
        elif port == places.ODD_FLOOD:
            while True:
                writer.write(b"flood " * 10000)
                await writer.drain()
        elif port == places.ODD_HALF_CLOSE:
            data = await reader.read(-1)
            writer.write(b"%d bytes, then your end of file\n" % len(data))
        elif port == places.ODD_GARBAGE:
            await reader.read(1)
            writer.write(b"\x00\x01garbage\r\n\r\n" * 20)
        elif port == places.ODD_HEADER_FLOOD:
            await reader.read(1)
            writer.write(b"HTTP/1.1 200 OK\r\n")
            while True:
                writer.write(b"X-Header: " + b"h" * 8000 + b"\r\n")
                await writer.drain()
        elif port == places.ODD_CUT:
            await reader.read(1)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000)
            await writer.drain()
            reset(writer)
        elif port == places.ODD_LENIENT:
            await echo_requests(log, port, reader, writer)
    except OSError:
        pass
    finally:
        writer.close()


async def main():
    log, loop = Log(sys.argv[1]), asyncio.get_running_loop()

    def sink_at(port):
        return lambda reader, writer: sink(log, port, reader, writer)

    def odd_at(port):
        return lambda reader, writer: behave(log, port, reader, writer)

    for port in places.SINK_TCP_PORTS:
        await asyncio.start_server(sink_at(port), list(places.SINK), port)
    for port in places.SINK_UDP_PORTS:
        for address in places.SINK:
            await loop.create_datagram_endpoint(lambda p=port: SinkDatagrams(log, p), local_addr=(address, port))
    for port in places.ODD_PORTS:
        await asyncio.start_server(odd_at(port), list(places.ODD), port)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
