"""Probes that run in a guest (or on the host, as a control): each tries to reach something and says what came of it.

Reads nothing. The requests are a JSON list in argv[1]: {"id", "probe", "args"}; each gets a JSON line on stdout:
{"id", "reached", "outcome", "detail", "ms"}. `reached` is whether the probe got what it wanted; `outcome` is one word for
what happened instead:

  refused     a TCP reset where a connection was tried, or an ICMP error for a datagram
  reset       a TCP reset later; closed: an end of file
  alert-N     a TLS alert; 403 and other statuses: an HTTP response, whose code is the detail
  REFUSED     and other response codes of DNS, whose extended error is the detail
  timeout     nothing came: a black hole, which no refusal may be
  sent        a packet of our own left; whether an answer came is for raw_answers to say

Standard library only: this text is what a guest runs.
"""
import errno
import json
import re
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time

PROBES = {}
LIMIT = 4.0  # seconds for a step of a probe; all refusals are due long before
RCODES = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"]
TYPES = {"A": 1, "NS": 2, "CNAME": 5, "NULL": 10, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "ANY": 255, "HTTPS": 65}


def probe(function):
    PROBES[function.__name__] = function
    return function


class Came(Exception):
    """Ends a probe that did not reach what it wanted."""

    def __init__(self, outcome, detail=""):
        super().__init__(outcome)
        self.outcome, self.detail = outcome, detail


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def failure(error, refused="refused"):
    if isinstance(error, (socket.timeout, TimeoutError)):
        return Came("timeout")
    if isinstance(error, (ConnectionResetError, BrokenPipeError)):
        return Came("reset")
    if error.errno in (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.EACCES, errno.ENETUNREACH, errno.EPERM):
        return Came(refused, errno.errorcode[error.errno])
    return Came("error", str(error))


def connect(host, port, limit=0):
    sock = socket.socket(family_of(host), socket.SOCK_STREAM)
    sock.settimeout(limit or LIMIT)
    try:
        sock.connect((host, port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        raise failure(error) from None
    return sock


def read_some(sock):
    try:
        return sock.recv(65536)
    except OSError as error:
        raise failure(error) from None


def write_all(sock, data, split=0, pause=0):
    """In segments of `split` bytes, when that is not 0."""
    try:
        for at in range(0, len(data), split or max(len(data), 1)):
            sock.sendall(data[at : at + split] if split else data)
            time.sleep(pause)
    except OSError as error:
        raise failure(error) from None


def as_bytes(text):
    return text.encode("latin-1")


# --- DNS -----------------------------------------------------------------------------------------------------------


def dns_query(name, kind, edns=True, case=None):
    labels = name.rstrip(".").split(".") if name.rstrip(".") else []
    question = b"".join(bytes([len(as_bytes(label))]) + as_bytes(label) for label in labels) + b"\0"
    question += struct.pack("!HH", TYPES.get(kind, kind), 1)
    extra = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0) if edns else b""
    ident = int(time.monotonic_ns() // 1000) & 0xFFFF
    return struct.pack("!HHHHHH", ident, 0x0100, 1, 0, 0, 1 if edns else 0) + question + extra


def skip_name(message, at):
    while message[at]:
        if message[at] >= 0xC0:
            return at + 2
        at += 1 + message[at]
    return at + 1


def dns_read(message):
    """(rcode, addresses and other data, extended error)"""
    _, flags, questions, answers, authority, extra = struct.unpack_from("!HHHHHH", message)
    at, found, text = 12, [], ""
    for _ in range(questions):
        at = skip_name(message, at) + 4
    for index in range(answers + authority + extra):
        at = skip_name(message, at)
        kind, _, _, length = struct.unpack_from("!HHIH", message, at)
        data = message[at + 10 : at + 10 + length]
        at += 10 + length
        if kind == 41:
            while len(data) >= 4:
                option, size = struct.unpack_from("!HH", data)
                if option == 15:
                    text = f"{struct.unpack_from('!H', data, 4)[0]}: {data[6:4 + size].decode('utf-8', 'replace')}"
                data = data[4 + size :]
        elif index < answers and kind in (1, 28):
            found.append(socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, data))
        elif index < answers:
            found.append(f"TYPE{kind}:{data[:16].hex()}")
    code = flags & 15
    return RCODES[code] if code < len(RCODES) else str(code), found, text


@probe
def dns(server, name="", kind="A", tcp=False, raw=None, port=53, wants=None, edns=True):
    """Reached: an answer with a record, and with `wants` among its addresses when that is given."""
    query = bytes.fromhex(raw) if raw else dns_query(name, kind, edns)
    if tcp:
        with connect(server, port) as sock:
            write_all(sock, struct.pack("!H", len(query)) + query)
            reply = b""
            while len(reply) < 2 or len(reply) < 2 + struct.unpack_from("!H", reply)[0]:
                chunk = read_some(sock)
                if not chunk:
                    raise Came("closed")
                reply += chunk
            reply = reply[2:]
    else:
        with socket.socket(family_of(server), socket.SOCK_DGRAM) as sock:
            sock.settimeout(LIMIT)
            try:
                sock.connect((server, port))
                sock.send(query)
                reply = sock.recv(65536)
            except OSError as error:
                raise failure(error) from None
    if reply[:2] != query[:2]:
        raise Came("wrong-id")
    rcode, found, text = dns_read(reply)
    if rcode != "NOERROR" or not found or (wants and wants not in found):
        raise Came(rcode if rcode != "NOERROR" or found else "NODATA", text or ",".join(found))
    return ",".join(found)


@probe
def dns_many(server, pattern, count, kind="A"):
    """Asks for `count` names, `pattern` with a number put in. Reached: every one was answered."""
    for number in range(count):
        dns(server, pattern.format(number), kind)


@probe
def resolve_then(name, server, then, kind="A", again=0, pause=0):
    """Resolves the name, `again` more times at will, then runs the probe {"probe", "args"} with its first address as host.

    `pause` seconds pass after each answer: a time to live."""
    for _ in range(1 + again):
        found = dns(server, name, kind)
        time.sleep(pause)
    address = next(answer for answer in found.split(",") if not answer.startswith("TYPE"))
    return PROBES[then["probe"]](**{**then["args"], "host": address})


@probe
def patient(probe, args, limit):
    """Runs the probe with another limit on its steps."""
    global LIMIT
    before, LIMIT = LIMIT, limit
    try:
        return PROBES[probe](**args)
    finally:
        LIMIT = before


@probe
def several(steps):
    """Runs probes one after another; reached when all are."""
    return " / ".join(str(PROBES[step["probe"]](**step["args"])) for step in steps)


# --- TCP and what runs over it -------------------------------------------------------------------------------------


def expect_in(text, data):
    """Ends the probe unless `text` is in `data`; an HTTP response and a TLS alert are called by name."""
    if as_bytes(text) in data:
        return
    status = re.match(rb"HTTP/1\.[01] (\d+)", data)
    if status:
        code = re.search(rb"(?i)x-cleanroom-reason-code: *([a-z_]+)", data)
        raise Came(status.group(1).decode(), code.group(1).decode() if code else data[-80:].decode("latin-1"))
    if data[:1] == b"\x15" and len(data) >= 7:
        raise Came(f"alert-{data[6]}")
    raise Came("other" if data else "closed", data[:80].decode("latin-1"))


@probe
def tcp(host, port, send="", expect="", split=0, pause=0, limit=0):
    """Reached: connected, and `expect` came (at once, or after `send`)."""
    with connect(host, port, limit) as sock:
        if send:
            write_all(sock, as_bytes(send), split, pause)
        if not expect:  # who is refused at a door may have been accepted first
            sock.settimeout(0.2)
            try:
                if not sock.recv(1):
                    raise Came("closed")
            except TimeoutError:
                pass
            except OSError as error:
                raise failure(error) from None
            return "connected"
        data = b""
        while as_bytes(expect) not in data and len(data) < 1 << 20:
            chunk = read_some(sock)
            if not chunk:
                break
            data += chunk
        expect_in(expect, data)
        return data[:60].decode("latin-1")


@probe
def dialog(host, port, steps):
    """One connection, steps of {send, expect}: sends, and reads until what is expected or the end came."""
    with connect(host, port) as sock:
        for step in steps:
            write_all(sock, as_bytes(step["send"]), step.get("split", 0))
            data = b""
            while as_bytes(step["expect"]) not in data:
                chunk = read_some(sock)
                if not chunk:
                    break
                data += chunk
                if b"HTTP/1." in data and b" 403 " in data and b"\r\n\r\n" in data:
                    break
            expect_in(step["expect"], data)
    return "said"


def client_hello(name, alpn=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    out = ssl.MemoryBIO()
    session = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    try:
        session.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


def add_extension(hello, kind, body):
    """The hello with one more extension; its four lengths grow."""
    grown = struct.pack("!HH", kind, len(body)) + body
    at = 5 + 4 + 2 + 32
    at += 1 + hello[at]
    at += 2 + struct.unpack_from("!H", hello, at)[0]
    at += 1 + hello[at]
    extensions = struct.unpack_from("!H", hello, at)[0] + len(grown)
    message = hello[9:at] + struct.pack("!H", extensions) + hello[at + 2 :] + grown
    return records(b"\x01" + len(message).to_bytes(3, "big") + message, 16384)


def records(handshake, size):
    """Handshake bytes in TLS records of at most `size`."""
    out = b""
    for at in range(0, len(handshake), size):
        piece = handshake[at : at + size]
        out += b"\x16\x03\x01" + struct.pack("!H", len(piece)) + piece
    return out


@probe
def hello(host, port, name=None, split=0, pause=0, ech=False, pad=0, record_size=0, raw=None, edit=None):
    """A ClientHello alone, bent in some way. Reached: a ServerHello came back."""
    data = bytes.fromhex(raw) if raw else client_hello(name)
    if ech:  # draft-ietf-tls-esni: outer, one HPKE suite, config 7, an enc and a payload
        body = b"\0" + struct.pack("!HHB", 1, 1, 7) + struct.pack("!H", 32) + b"e" * 32 + struct.pack("!H", 144) + b"p" * 144
        data = add_extension(data, 0xFE0D, body)
    if pad:
        data = add_extension(data, 0xFAFA, b"\0" * pad)  # GREASE (RFC 8701)
    if record_size:
        data = records(data[5:], record_size)
    if edit == "two-names":  # a list of two server names, the allowed one first (RFC 6066 forbids it)
        data = two_names(name)
    if edit == "nul":
        data = client_hello("a.cdn.testXevil.cdn.test").replace(b"testX", b"test\0")
    with connect(host, port) as sock:
        write_all(sock, data, split, pause)
        reply = b""
        while len(reply) < 6:
            chunk = read_some(sock)
            if not chunk:
                break
            reply += chunk
        if reply[:1] == b"\x16" and reply[5:6] == b"\x02":
            return "ServerHello"
        expect_in("\0never\0", reply)


def two_names(name):
    plain = client_hello(None)
    entry = lambda text: b"\0" + struct.pack("!H", len(text)) + text.encode()
    listed = entry("a.cdn.test") + entry(name)
    return add_extension(plain, 0, struct.pack("!H", len(listed)) + listed)


def handshake(host, port, name, ca, alpn, split=0):
    sock = connect(host, port)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca:
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(ca)
            file.flush()
            context.load_verify_locations(file.name)
    context.check_hostname = bool(ca and name)
    if not ca:
        context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_hostname=name)
    first = b""
    while True:
        try:
            session.do_handshake()
            write_all(sock, outgoing.read())
            return sock, session, incoming, outgoing
        except ssl.SSLWantReadError:
            write_all(sock, outgoing.read(), split)
            data = read_some(sock)
            if not data:
                raise Came("closed") from None
            first = first or data
            incoming.write(data)
        except ssl.SSLError as error:
            expect_in("\0never\0", first if first[:1] == b"\x15" else b"")
            raise Came("tls-error", str(error)) from None


@probe
def https(host, port=443, name=None, vhost=None, expect=None, ca=None, split=0):
    """A whole HTTPS request, certificate checked. Reached: the virtual host answered with its own name."""
    vhost = vhost or name
    sock, session, incoming, outgoing = handshake(host, port, name, ca, ["http/1.1"], split)
    session.write(as_bytes(f"GET / HTTP/1.1\r\nHost: {vhost}\r\nConnection: close\r\n\r\n"))
    write_all(sock, outgoing.read())
    data = b""
    while True:
        try:
            chunk = session.read(65536)
            if not chunk:
                break
            data += chunk
        except ssl.SSLWantReadError:
            more = read_some(sock)
            if not more:
                break
            incoming.write(more)
        except ssl.SSLError:
            break
    expect_in(f"\n{expect or vhost}\n", data)
    return data[-40:].decode("latin-1").strip()


@probe
def doh(host, name, sni, ca=None, port=443):
    """DNS over HTTPS (RFC 8484) over HTTP/2, the way resolvers in browsers speak. Reached: an answer with an address."""
    sock, session, incoming, outgoing = handshake(host, port, sni, ca, ["h2"])
    query = dns_query(name, "A", edns=False)
    fields = [(":method", "POST"), (":scheme", "https"), (":authority", sni or host), (":path", "/dns-query")]
    fields += [("content-type", "application/dns-message"), ("accept", "application/dns-message")]
    session.write(H2_PREFACE + h2_headers(1, fields, end_stream=False) + h2_frame(0, 1, 1, query))
    write_all(sock, outgoing.read())
    data = b""
    while True:
        try:
            data += session.read(65536)
            at = data.find(query[:2] + b"\x81\x80")
            if at >= 0:
                return ",".join(dns_read(data[at:])[1])
        except ssl.SSLWantReadError:
            more = read_some(sock)
            if not more:
                raise Came("closed", data.hex()[:80]) from None
            incoming.write(more)


@probe
def dot(host, name, sni=None, ca=None):
    """DNS over TLS (RFC 7858)."""
    sock, session, incoming, outgoing = handshake(host, 853, sni, ca, None)
    query = dns_query(name, "A")
    session.write(struct.pack("!H", len(query)) + query)
    write_all(sock, outgoing.read())
    while True:
        try:
            return ",".join(dns_read(session.read(65536)[2:])[1])
        except ssl.SSLWantReadError:
            more = read_some(sock)
            if not more:
                raise Came("closed") from None
            incoming.write(more)


# --- HTTP/2 in the clear -------------------------------------------------------------------------------------------

H2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"


def h2_frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + struct.pack("!I", stream) + payload


def h2_headers(stream, fields, end_stream=True, split=0):
    """A header block of literals without indexing (RFC 7541 6.2.2), perhaps cut into CONTINUATION frames."""
    block = b""
    for name, value in fields:
        block += b"\0" + bytes([len(name)]) + as_bytes(name) + bytes([len(value)]) + as_bytes(value)
    pieces = [block[at : at + split] for at in range(0, len(block), split)] if split else [block]
    out = b""
    for index, piece in enumerate(pieces):
        last = 4 if index == len(pieces) - 1 else 0
        first = 1 if index == 0 and end_stream else 0
        out += h2_frame(1 if index == 0 else 9, first | last, stream, piece)
    return out


@probe
def h2c(host, port, requests, expect, split=0):
    """Requests {authority, host} on streams of one connection. Reached: `expect` came in the last one's body."""
    with connect(host, port) as sock:
        write_all(sock, H2_PREFACE)
        stream, data = 1, b""
        for request in requests:
            fields = [(":method", "GET"), (":scheme", "http"), (":path", "/")]
            if "authority" in request:
                fields.insert(2, (":authority", request["authority"]))
            fields += [("host", request["host"])] if "host" in request else []
            write_all(sock, h2_headers(stream, fields, split=split))
            data += h2_stream(sock, stream, data)
            stream += 2
        expect_in(expect + "\n", data)
        return expect


@probe
def curl(host, port, name, version):
    """A request by curl, which offers to go on in HTTP/2. Reached: the virtual host answered, in this version of HTTP."""
    where = f"[{host}]" if ":" in host else host
    command = ["curl", "-sSi", "--http2", "-m", str(LIMIT), "-w", "%{http_version}", "--resolve", f"{name}:{port}:{where}"]
    done = subprocess.run([*command, f"http://{name}:{port}/"], capture_output=True)
    if done.returncode:
        raise Came("closed", done.stderr.decode("latin-1"))
    expect_in(f"\n{name}\n{version}", done.stdout)
    return version


def h2_stream(sock, stream, before):
    """Reads until the stream has ended; what its DATA frames had."""
    buffer, body, code = b"", b"", ""
    while True:
        chunk = read_some(sock)
        if not chunk:
            raise Came("closed")
        buffer += chunk
        while len(buffer) >= 9 and len(buffer) >= 9 + int.from_bytes(buffer[:3], "big"):
            size, kind, flags = int.from_bytes(buffer[:3], "big"), buffer[3], buffer[4]
            number = struct.unpack_from("!I", buffer, 5)[0]
            payload, buffer = buffer[9 : 9 + size], buffer[9 + size :]
            if kind == 7:
                raise Came("403" if code or b"_" in body else "goaway", code or body.decode("latin-1"))
            if number != stream:
                continue
            if kind == 3:
                raise Came("stream-reset", str(struct.unpack("!I", payload)[0]))
            if kind == 1 and b"403" in payload:
                found = re.search(rb"x-cleanroom-reason-code.([a-z_]+)", payload)
                code = found.group(1).decode() if found else "?"
            if kind == 0:
                body += payload
            if flags & 1 and kind in (0, 1):
                if code:  # the header and the body say the same
                    raise Came("403", code if body.startswith(as_bytes(code + ": ")) else f"{code}, body {body[:40]}")
                return body


# --- UDP -----------------------------------------------------------------------------------------------------------


@probe
def udp(host, port, send="ping", expect="ping"):
    with socket.socket(family_of(host), socket.SOCK_DGRAM) as sock:
        sock.settimeout(1.0)
        try:
            if host in ("255.255.255.255", "10.0.2.255"):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                sock.sendto(as_bytes(send), (host, port))
            else:
                sock.connect((host, port))
                sock.send(as_bytes(send))
            data = sock.recv(65536)
        except OSError as error:
            raise failure(error) from None
        expect_in(expect, data)
        return data.decode("latin-1")


def main():
    for request in json.loads(sys.argv[1]):
        begin = time.monotonic()
        answer = {"id": request["id"], "reached": False}
        try:
            answer |= {"detail": str(PROBES[request["probe"]](**request["args"])), "reached": True, "outcome": "reached"}
        except Came as came:
            answer |= {"outcome": came.outcome, "detail": came.detail}
        except Exception as error:  # a probe that is wrong must show, not end the others
            answer |= {"outcome": "broken", "detail": f"{type(error).__name__}: {error}"}
        answer["ms"] = round((time.monotonic() - begin) * 1000, 1)
        print(json.dumps(answer), flush=True)
