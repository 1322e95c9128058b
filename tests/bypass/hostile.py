"""Bad input: what a hostile guest, a broken resolver or a broken upstream sends. Each ends in a clear refusal or error,
the doors go on serving, and their memory stays bounded."""
import dataclasses
import subprocess
import time

import places
from attempts import CONNECTION_NO, get, resolved
from places import DNS, ODD, WEB

# Resident memory of a warden after all of it.
MOST_MIB = 64
ANY_REFUSAL = CONNECTION_NO + ("502", "504", "400")


@dataclasses.dataclass
class Case:
    name: str
    probe: str
    args: dict
    ends: tuple = ("reached",)
    seconds: float = 10.0
    code: tuple = ()
    waits: bool = False  # mostly for a time limit: runs beside the others that do


def query(flags="0100", counts="0001000000000000", body="0161046364 6e04746573740000010001"):
    return ("4242" + flags + counts + body).replace(" ", "")


def malformed_dns():
    """RFC 1035 messages, hexadecimal, each wrong in one way."""
    formerr, notimp = ("FORMERR",), ("NOTIMP",)
    name = "03777777046364 6e310474657374 00".replace(" ", "")
    cases = {
        "empty": ("", ("silence",)),
        "half a header": ("4242010000", ("silence",)),
        "header alone": ("424201000001000000000000", formerr),
        "a response": (query(flags="8180"), ("silence",)),
        "no question": (query(counts="0000000000000000", body=""), formerr + notimp),
        "two questions": (query(counts="0002000000000000", body=(name + "00010001") * 2), formerr + notimp),
        "65535 questions": (query(counts="ffff000000000000", body=name + "00010001"), formerr + notimp),
        "name that points at itself": (query(body="c00c00010001"), formerr),
        "name that points forward": (query(body="c0ff00010001"), formerr),
        "label of 64": (query(body="40" + "61" * 64 + "0000010001"), formerr),
        "name of 300": (query(body=("3f" + "61" * 63) * 5 + "0000010001"), formerr),
        "name without an end": (query(body="0361616103"), formerr),
        "label with a NUL": (query(body="0461006200" + "0000010001"), formerr + ("REFUSED",)),
        "update": (query(flags="2900", body=name + "00010001"), notimp),
        "class chaos": (query(body=name + "00100003"), notimp + formerr + ("REFUSED",)),
        "answers in a query": (query(counts="000100ff00000000", body=name + "00010001"), formerr),
        "option of a lying length": (query(counts="0001000000000001", body=name + "00010001" + "0000291000000000000800030fff0000"), formerr),
        "64 KiB of zeros": ("00" * 1400, ("silence",) + formerr),
    }
    for what, (raw, ends) in cases.items():
        yield Case(f"malformed DNS: {what}", "dns_raw", dict(server=DNS[0], raw=raw, limit=0.4), ends)
        framed = f"{len(raw) // 2:04x}" + raw
        ends += ("closed", "reset", "silence")  # it waits for the rest of a message, or gives up
        yield Case(f"malformed DNS over TCP: {what}", "dns_raw", dict(server=DNS[0], raw=framed, tcp=True, limit=0.4), ends)
    yield Case("malformed DNS over TCP: length without a message", "dns_raw", dict(server=DNS[0], raw="ffff" + "00" * 20, tcp=True, limit=0.4), ("silence", "closed", "reset"))


def malformed_streams():
    hellos = {
        "record of length 0": "1603010000",
        "record of 65535": "160301ffff" + "01" * 200,
        "handshake of 16 MiB": "16030100c801ffffff0303" + "41" * 190,
        "session id past the end": "160301002f0100002b0303" + "41" * 32 + "ff00",
        "extension past the end": "160301003b01000037 0303".replace(" ", "") + "41" * 32 + "00" + "00021301" + "0100" + "000c" + "0000ffff" + "00" * 8,
        "no hello": "160301000402000000",
        "alert first": "15030100020250",
    }
    for what, raw in hellos.items():
        args = resolved("a.cdn.test", "tcp", port=443, send=bytes.fromhex(raw).decode("latin-1"), expect="\x16\x03", limit=2)
        # What is cut short may be waited for.
        yield Case(f"malformed hello: {what}", "resolve_then", args, ANY_REFUSAL + ("timeout", "alert-10", "alert-22", "alert-47", "alert-70"), 15, waits=True)
    heads = {
        "head of 100 KiB": "GET / HTTP/1.1\r\nHost: a.cdn.test\r\nX: " + "a" * 100_000 + "\r\n\r\n",
        "1000 headers": "GET / HTTP/1.1\r\nHost: a.cdn.test\r\n" + "X: y\r\n" * 1000 + "\r\n",
        "request line of 20 KiB": "GET /" + "a" * 20_000 + " HTTP/1.1\r\nHost: a.cdn.test\r\n\r\n",
        "NUL in a header": "GET / HTTP/1.1\r\nHost: a.cdn.test\r\nX: \0\r\n\r\n",
        "header without a colon": "GET / HTTP/1.1\r\nHost: a.cdn.test\r\nnonsense\r\n\r\n",
        "header without a name": "GET / HTTP/1.1\r\nHost: a.cdn.test\r\n: x\r\n\r\n",
        "length of 2^70": "POST / HTTP/1.1\r\nHost: a.cdn.test\r\nContent-Length: 1180591620717411303424\r\n\r\n",
        "negative length": "POST / HTTP/1.1\r\nHost: a.cdn.test\r\nContent-Length: -1\r\n\r\n",
        "chunk of 2^70": "POST / HTTP/1.1\r\nHost: a.cdn.test\r\nTransfer-Encoding: chunked\r\n\r\n400000000000000000\r\n",
        "HTTP/2 preface broken": "PRI * HTTP/2.0\r\n\r\nSM\r\n\rX" + "\0" * 40,
        "HTTP/2 frame of 16 MiB": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\x01\x04\0\0\0\x01" + "\0" * 400,
        "HTTP/2 HPACK that is none": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0\0\0\x05\x01\x05\0\0\0\x01\xff\xff\xff\xff\xff",
    }
    for what, text in heads.items():
        port = 8082 if "HTTP/2" in what else 80
        args = resolved("a.cdn.test", "tcp", port=port, send=text, expect="HTTP/1.1 200", limit=2)
        yield Case(f"malformed HTTP: {what}", "resolve_then", args, ANY_REFUSAL + ("other", "goaway", "413", "414", "431"))


def burdens():
    good = dict(probe="tcp", args=dict(host=WEB[0], port=80, send=get("a.cdn.test"), expect="\na.cdn.test\n"))
    for what, port, send in (
        ("100 unfinished hellos", 443, "\x16\x03\x01\x02\x00\x01"),
        ("100 unfinished requests", 80, "GET / HTTP/1.1\r\nHost: a.c"),
        ("100 silent connections", 443, ""),
    ):
        yield Case(f"burden: a request beside {what}", "beside", dict(host=WEB[0], port=port, count=100, send=send, then=good))
    yield Case("burden: a thousand connections at once", "many_connections", dict(host=WEB[0], port=443, count=1000), seconds=25)
    yield Case("burden: a thousand to a denied address", "many_connections", dict(host=places.SINK[0], port=443, count=1000), seconds=25)
    yield Case("burden: a request after them", "resolve_then", resolved("a.cdn.test", "tcp", port=80, send=get("a.cdn.test"), expect="\na.cdn.test\n"))
    slow = dict(host=WEB[0], port=443, send="\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", limit=14)
    yield Case("burden: a hello byte by byte", "drip", slow, CONNECTION_NO + ("other",), 14, waits=True)


def resolvers():
    """In a sandbox whose host has the odd server as its resolver. The first label says what that does."""
    failed = ("SERVFAIL", "REFUSED", "NXDOMAIN", "NODATA")
    for how, ends in {
        "good": ("reached",),
        "slow": ("reached",),
        "cut": ("reached",),
        "extra": ("reached",),
        "servfail": failed,
        "refused": failed,
        "wrongid": failed,
        "wrongname": failed,
        "garbage": failed,
        "loop": failed,
        "cnameloop": failed,
        "short": failed,
        "private": failed,
        "cutforever": failed,
        "silent": failed,
    }.items():
        code = () if ends == ("reached",) else ("private_address",) if how == "private" else ("resolver_failed",)
        args = dict(server=DNS[0], name=f"{how}.oddname.test")
        yield Case(f"resolver: {how}", "patient", dict(probe="dns", args=args, limit=12), ends, 8, code, waits=how in ("silent", "cutforever", "wrongid", "wrongname"))
    many = dict(server=DNS[0], name="many.oddname.test", tcp=True)
    yield Case("resolver: many records", "dns", many, ("reached",) + failed)
    yield Case("resolver: nothing was poisoned", "dns", dict(server=DNS[0], name="b.cdn.test", wants=places.SINK[0]), failed)
    # The other sandbox has asked for it and reached it (attempts.allowed); this one has not asked.
    ssh = dict(host=places.SSH[0], port=22, expect="SSH-2.0")
    yield Case("another sandbox's answer opens nothing here", "tcp", ssh, CONNECTION_NO, code=("address_not_resolved",))
    yield Case("resolver: the others still answer", "dns", dict(server=DNS[0], name="good.oddname.test", wants=WEB[0]))


def upstreams():
    """Of odd.test, whose ports misbehave."""
    yield Case("upstream: resets", "resolve_then", resolved("odd.test", "tcp", port=places.ODD_RESET, send="\x00x", expect="never"), ("reset", "closed"))
    yield Case("upstream: nothing listens", "resolve_then", resolved("odd.test", "tcp", port=9999, send="\x00x", expect="never"), ("reset", "closed", "refused"), code=("upstream_failed",))
    yield Case("upstream: nothing listens, HTTP", "resolve_then", resolved("odd.test", "tcp", port=9999, send=get("odd.test"), expect="never"), ("502",), code=("upstream_failed",))
    yield Case("upstream: stalls", "resolve_then", resolved("odd.test", "tcp", port=places.ODD_STALL, send="\x00x", expect="never", limit=1), ("timeout",))
    yield Case("upstream: floods a reader", "resolve_then", resolved("odd.test", "read_much", port=places.ODD_FLOOD, size=20_000_000, send="\x00x"))
    yield Case("upstream: floods a guest that does not read", "resolve_then", resolved("odd.test", "read_much", port=places.ODD_FLOOD, size=1000, send="\x00x", pause=2))
    yield Case("upstream: answers after the guest's end of file", "resolve_then", resolved("odd.test", "half_close", port=places.ODD_HALF_CLOSE, send="\x00" * 5000, expect="5000 bytes"))
    yield Case("upstream: is no HTTP server", "resolve_then", resolved("odd.test", "tcp", port=places.ODD_GARBAGE, send=get("odd.test"), expect="garbage"), ("reached", "502", "closed", "reset", "other"))
    yield Case("upstream: endless headers", "resolve_then", resolved("odd.test", "read_much", port=places.ODD_HEADER_FLOOD, size=5_000_000, send=get("odd.test")), ("reached", "reset", "closed"))
    yield Case("upstream: breaks off in a body", "resolve_then", resolved("odd.test", "read_much", port=places.ODD_CUT, size=100_000, send=get("odd.test")), ("reset", "closed"))
    hole = dict(probe="resolve_then", args=resolved("hole.test", "hello", port=443, name="hole.test"), limit=25)
    yield Case("upstream: swallows packets", "patient", hole, ("alert-80", "reset", "closed"), 20, ("upstream_failed",), waits=True)


def killed_warden(sandbox, daemon):
    """Kills the warden while the guest downloads: the command ends with an error, and nothing is left. (good, detail)"""
    script = "import socket;s=socket.create_connection(('%s',%d));s.send(b'\\0x')\nprint('begun',flush=True)\nwhile s.recv(65536): pass"
    sandbox.probe([("dns", dict(server=DNS[0], name="odd.test"))])
    command = daemon.start_cli("exec", "--in", sandbox.id, "-n", "--", "python3", "-c", script % (ODD[0], places.ODD_FLOOD))
    if command.stdout.readline() != "begun\n":
        return False, f"the download did not begin: {command.stderr.read()[-500:]}"
    warden, machine = sandbox.pids()
    subprocess.run(["kill", "-9", str(warden)], check=True)
    try:
        code = command.wait(20)
    except subprocess.TimeoutExpired:
        command.kill()
        return False, "the command did not end"
    said = command.stderr.read().strip().splitlines()
    deadline = time.monotonic() + 10
    while any(sandbox.pids()) and time.monotonic() < deadline:
        time.sleep(0.05)
    if any(sandbox.pids()):
        return False, f"processes are left: {sandbox.pids()}"
    return code == 1 and bool(said), f"exit {code}: {said[0] if said else 'nothing said'}"
