"""What bench/network runs in a guest: one measure, its JSON on stdout. Standard library only."""
import json
import socket
import statistics
import struct
import sys
import time


def connect(host, port):
    sock = socket.create_connection((host, port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def resolve(server, name):
    query = struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0)
    query += b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0" + struct.pack("!HH", 1, 1)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(5)
    sock.connect((server, 53))
    begin = time.perf_counter()
    sock.send(query)
    sock.recv(4096)
    return time.perf_counter() - begin


def dns(server, name, count):
    """Milliseconds of an answer that is cached by whoever answers."""
    for _ in range(5):
        resolve(server, name)
    return 1000 * statistics.median(resolve(server, name) for _ in range(count))


def download(host, port, name, mib):
    """MiB a second."""
    size = mib << 20
    sock = connect(host, port)
    sock.sendall(f"GET /big HTTP/1.1\r\nHost: {name}\r\nRange: bytes=0-{size - 1}\r\nConnection: close\r\n\r\n".encode())
    buffer, got, begin = bytearray(1 << 20), 0, time.perf_counter()
    while count := sock.recv_into(buffer):
        got += count
    if got < size:
        raise SystemExit(f"only {got} bytes came")
    return mib / (time.perf_counter() - begin)


def upload(host, port, mib):
    """MiB a second, until the server has read all and closed."""
    sock, block, begin = connect(host, port), bytes(1 << 20), time.perf_counter()
    for _ in range(mib):
        sock.sendall(block)
    sock.shutdown(socket.SHUT_WR)
    while sock.recv(4096):
        pass
    return mib / (time.perf_counter() - begin)


def once(host, port, request):
    sock = connect(host, port)
    if request:
        sock.sendall(request)
    if not sock.recv(4096):
        raise SystemExit("the connection ended without an answer")
    sock.close()


def latency(host, port, name, count):
    """Milliseconds from before the connection to the first bytes of the answer; name "": the server speaks first."""
    request = f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode() if name else b""
    taken = []
    for _ in range(count):
        begin = time.perf_counter()
        once(host, port, request)
        taken.append(time.perf_counter() - begin)
    return 1000 * statistics.median(taken)


def rate(host, port, name, count, at_once):
    """New connections a second, each with a request and its answer, so many at once."""
    import selectors

    request = f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode()
    selector, begun, done, begin = selectors.DefaultSelector(), 0, 0, time.perf_counter()
    while done < count:
        while begun < count and begun - done < at_once:
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex((host, port))
            selector.register(sock, selectors.EVENT_WRITE)
            begun += 1
        for key, events in selector.select():
            if events & selectors.EVENT_WRITE:
                key.fileobj.send(request)
                selector.modify(key.fileobj, selectors.EVENT_READ)
            elif not key.fileobj.recv(4096):
                selector.unregister(key.fileobj)
                key.fileobj.close()
                done += 1
    return count / (time.perf_counter() - begin)


def hold(host, port, name, count):
    """Opens connections that were used once, says so, and keeps them until its input ends."""
    socks = []
    for _ in range(count):
        sock = connect(host, port)
        sock.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
        if not sock.recv(4096).startswith(b"HTTP/1.1 200"):
            raise SystemExit("refused")
        socks.append(sock)
    print("holding", flush=True)
    sys.stdin.read()
    return count


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](**json.loads(sys.argv[2]))))
