"""Probes that burden a door: many connections, slow ones, long streams. Part of the text that a guest runs."""
import selectors


@probe
def many_connections(host, port, count, limit=20):
    """Opens `count` connections at once. Reached: each was decided, opened or refused; the detail counts."""
    selector, came, socks = selectors.DefaultSelector(), {"opened": 0, "refused": 0}, []
    for _ in range(count):
        sock = socket.socket(family_of(host), socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.connect_ex((host, port))
        selector.register(sock, selectors.EVENT_WRITE)
        socks.append(sock)
    deadline = time.monotonic() + limit
    while selector.get_map() and time.monotonic() < deadline:
        for key, _ in selector.select(0.5):
            error = key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            came["refused" if error else "opened"] += 1
            selector.unregister(key.fileobj)
    came["pending"] = len(selector.get_map())
    for sock in socks:
        sock.close()
    if came["pending"]:
        raise Came("timeout", json.dumps(came))
    return json.dumps(came)


@probe
def beside(host, port, count, send, then):
    """Opens `count` connections, sends each the beginning of something, and runs `then` while they wait."""
    socks = []
    for _ in range(count):
        sock = connect(host, port)
        socks.append(sock)
        try:
            sock.sendall(as_bytes(send))
        except OSError:
            pass
    try:
        return PROBES[then["probe"]](**then["args"])
    finally:
        for sock in socks:
            sock.close()


@probe
def drip(host, port, send, every=0.3, limit=20):
    """One byte now and then. Reached: it was still taken after `limit` seconds; else the outcome says how it ended."""
    with connect(host, port) as sock:
        begin = time.monotonic()
        for byte in as_bytes(send) * 1000:
            if time.monotonic() - begin > limit:
                return f"still open after {limit} s"
            write_all(sock, bytes([byte]))
            sock.settimeout(every)
            try:
                data = sock.recv(65536)
                expect_in("\0never\0", data)
            except TimeoutError:
                pass
            except OSError as error:
                raise failure(error) from None


@probe
def half_close(host, port, send, expect):
    """Sends, ends its own direction, and reads to the end."""
    with connect(host, port) as sock:
        write_all(sock, as_bytes(send))
        sock.shutdown(socket.SHUT_WR)
        data = b""
        while chunk := read_some(sock):
            data += chunk
        expect_in(expect, data)
        return data[-60:].decode("latin-1")


@probe
def read_much(host, port, size, send="", pause=0):
    """Reads `size` bytes, after `pause` seconds of reading none."""
    with connect(host, port) as sock:
        write_all(sock, as_bytes(send))
        time.sleep(pause)
        got = 0
        while got < size:
            chunk = read_some(sock)
            if not chunk:
                raise Came("closed", str(got))
            got += len(chunk)
        return str(got)


@probe
def dns_raw(server, raw, tcp=False, limit=1.0):
    """Sends bytes that are no proper query. The outcome is the response code, silence or an end."""
    data = bytes.fromhex(raw)
    with socket.socket(family_of(server), socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as sock:
        sock.settimeout(limit)
        try:
            sock.connect((server, 53))
            sock.send(data)
            reply = sock.recv(65536)
        except TimeoutError:
            raise Came("silence") from None
        except OSError as error:
            raise failure(error) from None
    reply = reply[2:] if tcp else reply
    if not reply:
        raise Came("closed")
    code = reply[3] & 15
    raise Came(RCODES[code] if code < len(RCODES) else str(code))
