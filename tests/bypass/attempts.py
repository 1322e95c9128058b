"""The table: what is tried, where it is known to work, and how it must end under the policy.

An Attempt's probe runs three times: as its control, which must reach; under the policy, where it must not; and what the
policy run did is looked for at the far end. Where the control runs:

  "bare"   in the same kind of guest behind a plain NATed TAP: no doors, nothing checked
  "open"   in a sandbox with --dangerously-allow-all
  "host"   on the host
  Plain()  as "bare", but in the form that is not bent: no server that we have takes the bent one
  "mark"   a packet that has no answer: behind the NATed TAP its mark arrives at the internet
  "nic"    a packet that no system forwards: its mark is seen at the TAP, which proves that it left the guest
"""
import dataclasses

import places
from places import DENIED, DNS, ECHO, HOST_V4, HOST_V6, LAN, LAN10, METADATA, ODD, OTHER_DNS, SINK, SSH, WEB, WEB3

# Policies are network blocks of cleanroom.yaml.
POLICIES = {
    "closed": "default: deny\n",
    "open": None,  # --dangerously-allow-all: a run of the table under it must fail
    "rules": """default: deny
allow:
  - { host: a.cdn.test, ports: [80, 443, 8080, 8082, 8083, 8443] }
  - b.cdn.test:443
  - bücher.test:443
  - { host: "*.wild.test", ports: [80, 443] }
  - { host: "*.tunnel.test", ports: [443] }
  - www.chain.test:443
  - v4.test:443
  - v6.test:443
  - short.test:443
  - { host: moved.test, ports: [80, 443] }
  - { host: rebind.test, ports: [80, 443] }
  - { host: two.flip.test, ports: [80] }
  - { host: odd.test, ports: [80, 9001, 9002, 9003, 9004, 9005, 9006, 9007, 9999] }
  - { host: hole.test, ports: [443] }
  - ssh.test:22
  - redis.test:6379
  - { host: echo.test, ports: [7, 9], protocol: udp }
  - { host: echo.test, ports: [5000] }
  - { host: private.test, ports: [80] }
  - { host: private10.test, ports: [80] }
  - { host: metadata.test, ports: [80] }
  - { host: loop.test, ports: [80, 9999] }
  - { host: host.test, ports: [80, 7777] }
  - { host: sandbox.test, ports: [9999] }
  - { host: mapped.test, ports: [80] }
  - { host: nat64.test, ports: [80] }
  - { host: zero.test, ports: [80] }
  - { host: mixed.test, ports: [80] }
  - { host: inside.chain.test, ports: [80] }
  - { host: outside.chain.test, ports: [80] }
  - { host: denied-address.test, ports: [80] }
  - { cidr: 10.77.0.10/32, ports: [80] }
deny:
  - { host: evil.wild.test }
  - { cidr: 11.22.33.99/32 }
  - { cidr: "2a0b:c1ea::99/128" }
""",
    "odd": """default: deny
allow:
  - { host: "*.oddname.test", ports: [80, 443] }
  - { host: b.cdn.test, ports: [80] }
  - ssh.test:22
""",
}

CA = "CA"  # stands for the certificate authority's text


@dataclasses.dataclass
class Plain:
    args: dict


@dataclasses.dataclass
class Attempt:
    name: str
    probe: str
    args: dict
    control: object = "bare"
    ends: tuple = ("refused",)  # outcomes that count as refused
    code: tuple = ()  # reason codes of which the record must have one; empty: none is due
    destination: tuple = ()  # that the record must be of; empty: any
    seconds: float = 1.0  # the refusal's time limit, on a guest that is emulated


@dataclasses.dataclass
class Allowed:
    """Must reach under the policy."""

    name: str
    probe: str
    args: dict


def get(host, path="/", close=True, version="1.1", more=""):
    end = "Connection: close\r\n" if close else ""
    return f"GET {path} HTTP/{version}\r\nHost: {host}\r\n{more}{end}\r\n"


NAME = ("host_not_allowed",)
UNSEEN = ("host_not_allowed", "address_not_resolved")
PORT = ("port_not_allowed",)
PRIVATE = ("private_address",)
# A private address that was wanted, no name with it: one code is as true as the other.
INSIDE = PRIVATE + UNSEEN
MISMATCH = ("host_not_allowed", "name_mismatch")
BAD = ("malformed",)
NOT_PASSED = ("malformed", "unsupported")
DNS_NO = ("REFUSED",)
HTTP_NO = ("403", "400", "reset", "closed")
TLS_NO = ("alert-49", "alert-112", "alert-50", "alert-40", "alert-80")
# Whatever a connection to an address may show, its refusal is in that protocol.
CONNECTION_NO = ("refused", "reset", "closed", "403") + TLS_NO


def dns_attempts():
    def one(what, /, ends=DNS_NO, code=NAME, destination=(), **args):
        args.setdefault("server", DNS[0])
        return Attempt("dns: " + what, "dns", args, "bare", ends, code, destination)

    evil = "evil.cdn.test"
    yield one("denied name", name=evil, destination=(evil,))
    yield one("denied name over TCP", name=evil, tcp=True, destination=(evil,))
    yield one("denied name, AAAA", name=evil, kind="AAAA")
    yield one("denied name, IPv6 transport", name=evil, server=DNS[1])
    yield one("denied name, IPv6 transport, TCP", name=evil, server=DNS[1], tcp=True)
    yield one("denied name in other letters", name="eViL.CdN.TeSt", destination=(evil,))
    yield one("denied name without EDNS", name=evil, edns=False)
    yield one("other resolver", name="c.cdn.test", server=OTHER_DNS[0], destination=("c.cdn.test",))
    yield one("other resolver over TCP", name="c.cdn.test", server=OTHER_DNS[0], tcp=True)
    yield one("other resolver, IPv6", name="c.cdn.test", server=OTHER_DNS[1])
    yield one("other resolver, IPv6, TCP", name="c.cdn.test", server=OTHER_DNS[1], tcp=True)
    yield one("resolver of the attacker", name="good.oddname.test", server=places.ODD_DNS[0], destination=("good.oddname.test",))
    yield one("deny rule inside a wildcard", name="evil.wild.test", code=("denied_by_rule",), destination=("evil.wild.test",))
    yield one("two labels under a wildcard", name="deep.er.wild.test", destination=("deep.er.wild.test",))
    yield one("apex of a wildcard", name="wild.test", destination=("wild.test",))
    # Answered without asking anybody, so it is no decision.
    yield one("reverse name", name="66.33.22.11.in-addr.arpa", kind="PTR", ends=("NXDOMAIN",), code=())
    label = "4d41524b" + "5a" * 27
    yield one("tunnel under a denied name", name=f"{label}.{label}.{label}.wild.test")
    for what, pattern, count, kind in (("TXT", "t.tunnel.test", 40, "TXT"), ("many names", "n{:04x}.tunnel.test", 150, "A")):
        many = dict(server=DNS[0], pattern=pattern, count=count, kind=kind)
        yield Attempt(f"dns: tunnel by {what} under a wildcard", "dns_many", many, "bare", DNS_NO, ("tunnel_suspected",), seconds=5.0)
    yield one("tunnel by NULL under a wildcard", name="query.tunnel.test", kind="NULL", ends=("REFUSED", "NODATA", "NOTIMP"), code=("unsupported", "tunnel_suspected"))
    yield one("tunnel by long labels under a wildcard", name=f"{'5a' * 30}.tunnel.test", code=("tunnel_suspected",))
    for name, server, wants, kind in (
        ("private.test", DNS[0], LAN[0], "A"),
        ("private.test", DNS[0], LAN[1], "AAAA"),
        ("metadata.test", DNS[0], METADATA[0], "A"),
        ("metadata.test", DNS[1], METADATA[1], "AAAA"),
        ("loop.test", DNS[0], "127.0.0.1", "A"),
        ("loop.test", DNS[0], "::1", "AAAA"),
        ("host.test", DNS[0], HOST_V4, "A"),
        ("sandbox.test", DNS[0], "10.0.2.2", "A"),
        ("mapped.test", DNS[0], "::ffff:192.168.77.10", "AAAA"),
        ("nat64.test", DNS[0], "64:ff9b::c0a8:4d0a", "AAAA"),
        ("zero.test", DNS[0], "0.0.0.0", "A"),
        ("inside.chain.test", DNS[0], LAN[0], "A"),
    ):
        what = f"allowed name that leads to {wants}" + (" by CNAME" if "chain" in name else "")
        yield one(what, name=name, server=server, wants=wants, kind=kind, ends=("REFUSED", "NODATA", "NXDOMAIN"), code=PRIVATE + ("unsupported",), destination=(name,))
    yield Attempt("dns: private address among public ones", "dns", dict(server=DNS[0], name="mixed.test", wants=LAN[0]), "bare", ("NOERROR",))
    yield one("allowed name that leads to a denied address", name="denied-address.test", wants=DENIED[0], ends=("REFUSED", "NODATA", "NXDOMAIN"), code=("denied_by_rule", "private_address"))
    yield one("allowed name whose CNAME leads to a denied address", name="outside.chain.test", wants=DENIED[0], ends=("REFUSED", "NODATA", "NXDOMAIN"), code=("denied_by_rule", "private_address"))
    for name, host, sni in (("DoT", OTHER_DNS[0], "dns.other.test"), ("DoT, IPv6", OTHER_DNS[1], "dns.other.test")):
        yield Attempt(f"dns: {name}", "dot", dict(host=host, name="evil.cdn.test", sni=sni, ca=CA), "bare", CONNECTION_NO, UNSEEN, (host, sni))
    for name, host, sni in (
        ("DoH by address", OTHER_DNS[0], None),
        ("DoH by name", OTHER_DNS[0], "dns.other.test"),
        ("DoH in the name of an allowed host", OTHER_DNS[0], "a.cdn.test"),
        ("DoH, IPv6", OTHER_DNS[1], "dns.other.test"),
    ):
        yield Attempt(f"dns: {name}", "doh", dict(host=host, name="evil.cdn.test", sni=sni), "bare", CONNECTION_NO, UNSEEN, (host, sni))


def address_attempts():
    def one(name, host, port, code=UNSEEN, control="bare", **more):
        return Attempt("address: " + name, "tcp", dict(host=host, port=port, **more), control, CONNECTION_NO, code, (host.replace("::ffff:", ""),))

    web = dict(send="GET / HTTP/1.0\r\n\r\n", expect="HTTP/1.1 200")
    yield one("TCP to an address no one resolved", SINK[0], 4444)
    yield one("TCP to an address no one resolved, IPv6", SINK[1], 4444)
    yield one("TCP on an IPv6 socket to an IPv4 address", "::ffff:" + SINK[0], 25)
    yield one("cloud metadata", METADATA[0], 80, code=INSIDE, **web)
    yield one("cloud metadata, IPv6", METADATA[1], 80, code=INSIDE, **web)
    yield one("LAN", LAN[0], 80, code=INSIDE, **web)
    yield one("LAN, IPv6", LAN[1], 80, code=INSIDE, **web)
    yield one("LAN on an IPv6 socket", "::ffff:" + LAN[0], 443, code=INSIDE)
    yield one("LAN host of a cidr rule, other port", LAN10[0], 8080, code=PORT + PRIVATE, **web)
    yield one("the host's LAN address", HOST_V4, 9998, code=INSIDE, expect="canary")
    yield one("the host's LAN address, IPv6", HOST_V6, 9998, code=INSIDE, expect="canary")
    healthz = dict(send="GET /healthz HTTP/1.0\r\n\r\n", expect="ok")
    yield one("the daemon's API", HOST_V4, 7777, code=INSIDE, **healthz)
    yield one("the host's end of the cable", places.HOST_GATEWAY_V4, 22, code=INSIDE, control="none")
    for gateway in ("10.0.2.1", "fd00:c1ea:0:2::1"):
        beside = dict(host=gateway, port=9999, expect="beside")
        where = (gateway, "gateway.cleanroom.internal")
        yield Attempt(f"address: a server beside the guest at {gateway}", "tcp", beside, "bare", CONNECTION_NO, ("no_such_route",), where)
    ssh = dict(host=SSH[0], port=22, expect="SSH-2.0")
    yield Attempt("address: of an allowed name that was never asked for", "tcp", ssh, "bare", CONNECTION_NO, ("address_not_resolved", "host_not_allowed"), (SSH[0],))
    https = dict(host=WEB3[0], port=443, name="a.cdn.test", ca=CA)
    yield Attempt("address: allowed name shown at a foreign address", "https", https, "bare", CONNECTION_NO, UNSEEN, (WEB3[0],))
    http = dict(host=WEB3[1], port=80, send=get("a.cdn.test"), expect="\na.cdn.test\n")
    yield Attempt("address: allowed Host at a foreign address, IPv6", "tcp", http, "bare", CONNECTION_NO, UNSEEN, (WEB3[1],))


def resolved(asked, probe, /, server=DNS[0], kind="A", again=0, pause=0, **args):
    return dict(name=asked, server=server, kind=kind, again=again, pause=pause, then=dict(probe=probe, args=args))


def port_attempts():
    def one(name, args):
        return Attempt("port: " + name, "resolve_then", args, "bare", CONNECTION_NO, PORT)

    yield one("TLS port out of the rule", resolved("b.cdn.test", "https", port=8443, vhost="b.cdn.test"))
    yield one("HTTP port out of the rule", resolved("b.cdn.test", "tcp", port=8080, send=get("b.cdn.test"), expect="\nb.cdn.test\n"))
    yield one("SSH on another port of an allowed host", resolved("ssh.test", "tcp", port=2222, expect="SSH-2.0"))
    yield one("UDP to a TCP rule", resolved("echo.test", "udp", port=5000))
    yield one("UDP to a TCP rule, IPv6", resolved("echo.test", "udp", kind="AAAA", port=5000))
    yield one("QUIC's port", resolved("echo.test", "udp", port=443))
    yield one("TCP to a UDP rule", resolved("echo.test", "tcp", port=9))
    for v in (0, 1):
        what = dict(host=ECHO[v], port=5000, send="exfil")
        what["expect"] = "exfil"
        yield Attempt(f"port: UDP to an address, v{'46'[v]}", "udp", what, "bare", ("refused",), UNSEEN + PORT, (ECHO[v], "echo.test"))
    for v in (0, 1):
        what = dict(host=LAN[v], port=5000)
        yield Attempt(f"port: UDP to the LAN, v{'46'[v]}", "udp", what, "bare", ("refused",), INSIDE, (LAN[v],))
    yield Attempt("port: UDP to the host", "udp", dict(host=HOST_V4, port=9998), "bare", ("refused",), INSIDE, (HOST_V4,))


def tls_attempts():
    def one(what, /, code=MISMATCH, kind="A", port=443, control="bare", **args):
        hello = resolved("a.cdn.test", "hello", kind=kind, port=port, **args)
        return Attempt("tls: " + what, "resolve_then", hello, control, TLS_NO, code)

    plain = Plain(resolved("a.cdn.test", "hello", port=443, name="evil.cdn.test"))

    evil = "evil.cdn.test"
    yield one("name of another host on the same address", name=evil)
    yield one("the same, IPv6", name=evil, kind="AAAA")
    yield one("the same on port 8443", name=evil, port=8443)
    yield one("name in one-byte segments", name=evil, split=1)
    yield one("name in three-byte segments with pauses", name=evil, split=3, pause=0.002)
    yield one("name across TLS records of 16 bytes", name=evil, record_size=16)
    yield one("name behind 14 KiB of padding", name=evil, pad=14000)
    yield one("name in capitals", name="EVIL.cdn.TEST")
    yield one("no name", code=("name_missing",))
    yield one("encrypted hello with a denied outer name", name=evil, ech=True)
    yield one("host allowed on another port only", code=PORT + MISMATCH, name="b.cdn.test", port=8443)
    yield one("name of a denied wildcard member", code=("denied_by_rule",), name="evil.wild.test")
    yield one("name two labels under a wildcard", name="deep.er.wild.test")
    yield one("two names, the allowed one first", code=BAD + MISMATCH, control=plain, name=evil, edit="two-names")
    yield one("allowed name, NUL, denied name", code=BAD + MISMATCH, control=plain, edit="nul")
    sslv2 = "802e0103010015000000100000" + "2f0000350000050000040000ff" + "0102030405060708090a0b0c0d0e0f10"
    yield Attempt("tls: SSLv2 hello", "resolve_then", resolved("odd.test", "tcp", port=80, send=bytes.fromhex(sslv2).decode("latin-1") + "\r\n\r\n", expect="200 OK"), "bare", HTTP_NO + TLS_NO, NOT_PASSED + ("name_missing",))
    whole = resolved("a.cdn.test", "https", port=443, vhost=evil)
    yield Attempt("tls: whole request to another host on the same address", "resolve_then", {**whole, "then": {"probe": "https", "args": {"port": 443, "name": evil, "ca": CA}}}, "bare", TLS_NO, MISMATCH, (evil,))


def http_attempts():
    def one(name, send, expect="\nevil.cdn.test\n", code=MISMATCH, host="a.cdn.test", port=80, ends=HTTP_NO, **args):
        return Attempt("http: " + name, "resolve_then", resolved(host, "tcp", port=port, send=send, expect=expect, **args), "bare", ends, code)

    def lenient(name, send, expect, code=NOT_PASSED, ends=HTTP_NO):
        return one(name, send, expect, code, "odd.test", 80, ends)

    evil = get("evil.cdn.test")
    yield one("Host of another host on the same address", evil)
    yield one("the same, IPv6", evil, kind="AAAA")
    yield one("the same on port 8080", evil, port=8080)
    yield one("Host in one-byte segments", evil, split=1)
    yield one("Host in capitals, with a port and a dot", get("EVIL.CDN.TEST.:80"))
    keep = get("a.cdn.test", close=False)
    steps = [dict(send=keep, expect="\na.cdn.test\n"), dict(send=evil, expect="\nevil.cdn.test\n")]
    yield Attempt("http: second Host on a kept-alive connection", "resolve_then", resolved("a.cdn.test", "dialog", port=80, steps=steps), "bare", HTTP_NO, MISMATCH)
    yield one("second Host in the same segment", keep + evil)
    body = "POST / HTTP/1.1\r\nHost: a.cdn.test\r\nContent-Length: 3\r\n\r\nabc"
    yield one("second Host after a body", body + evil)
    chunked = "POST / HTTP/1.1\r\nHost: a.cdn.test\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nTrailer: 1\r\n\r\n"
    yield one("second Host after chunks", chunked + evil)
    yield one("absolute-form of a denied host", "GET http://evil.cdn.test/ HTTP/1.1\r\nHost: a.cdn.test\r\nConnection: close\r\n\r\n", code=MISMATCH + BAD)
    yield one("absolute-form of an allowed host, Host of a denied one", "GET http://a.cdn.test/ HTTP/1.1\r\nHost: evil.cdn.test\r\nConnection: close\r\n\r\n", expect="HTTP/1.1 200", code=MISMATCH + BAD)
    yield lenient("two Hosts", "GET / HTTP/1.1\r\nHost: odd.test\r\nHost: evil.cdn.test\r\n\r\n", "evil.cdn.test")
    yield one("leading blank lines", "\r\n\r\n" + evil, code=MISMATCH + BAD)
    yield one("bare LF line ends", evil.replace("\r\n", "\n"), code=MISMATCH + BAD)
    yield lenient("folded Host", "GET / HTTP/1.1\r\nHost: odd.test\r\n .evil.cdn.test\r\n\r\n", "evil.cdn.test", code=MISMATCH + BAD)
    yield lenient("space before the colon", "GET / HTTP/1.1\r\nHost: odd.test\r\nHost : evil.cdn.test\r\n\r\n", "evil.cdn.test")
    yield lenient("CL.TE smuggling", f"POST / HTTP/1.1\r\nHost: odd.test\r\nContent-Length: {5 + len(evil)}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{evil}", "evil.cdn.test")
    yield lenient("TE.CL smuggling", f"POST / HTTP/1.1\r\nHost: odd.test\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{len(evil):x}\r\n{evil}\r\n0\r\n\r\n", "evil.cdn.test")
    for what in ("xchunked", "chunked, identity", "\x0bchunked", "chunked\r\nTransfer-Encoding: cow"):
        yield lenient(f"transfer coding {what!r}", f"POST / HTTP/1.1\r\nHost: odd.test\r\nTransfer-Encoding: {what}\r\n\r\n0\r\n\r\n{evil}", "evil.cdn.test")
    yield lenient("two lengths", f"POST / HTTP/1.1\r\nHost: odd.test\r\nContent-Length: 0\r\nContent-Length: {len(evil)}\r\n\r\n{evil}", "evil.cdn.test")
    yield lenient("signed length", f"POST / HTTP/1.1\r\nHost: odd.test\r\nContent-Length: +{len(evil)}\r\n\r\n{evil}", "evil.cdn.test")
    yield lenient("chunk size with a line feed", f"POST / HTTP/1.1\r\nHost: odd.test\r\nTransfer-Encoding: chunked\r\n\r\n0\n\r\n{evil}", "evil.cdn.test")
    yield lenient("CONNECT", "CONNECT evil.cdn.test:443 HTTP/1.1\r\nHost: odd.test\r\n\r\n", "evil.cdn.test")
    yield lenient("PROXY protocol", "PROXY TCP4 10.0.2.2 11.22.33.66 4444 80\r\n" + get("odd.test"), "PROXY TCP4")
    proxy2 = "\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x0a\0\2\2\x0b\x16\x21\x42\0\1\0\x50"
    yield lenient("PROXY protocol, version 2", proxy2 + get("odd.test"), "QUIT")
    yield one("HTTP/1.0 without a Host", "GET / HTTP/1.0\r\n\r\n", expect="HTTP/1.1 200", code=("name_missing", "malformed"))
    yield one("HTTP/0.9", "GET /\r\n", expect="default", code=("name_missing", "malformed", "unsupported"))
    yield lenient("user before the Host", "GET / HTTP/1.1\r\nHost: odd.test@evil.cdn.test\r\n\r\n", "evil.cdn.test", code=MISMATCH + BAD)
    yield lenient("two hosts in one Host", "GET / HTTP/1.1\r\nHost: odd.test,evil.cdn.test\r\n\r\n", "evil.cdn.test", code=MISMATCH + BAD)
    yield lenient("NUL in Host", "GET / HTTP/1.1\r\nHost: odd.test\0.evil.cdn.test\r\n\r\n", "evil.cdn.test", code=MISMATCH + BAD)
    yield lenient("late upgrade", get("odd.test", close=False) + "GET / HTTP/1.1\r\nHost: odd.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "Upgrade: websocket", code=("unsupported", "malformed"))
    yield one("plain HTTP on the TLS port", get("evil.cdn.test"), expect="HTTP/1.1 400", port=443, ends=("403", "reset", "closed"))
    yield one("HTTP version 3.0", "GET / HTTP/3.0\r\nHost: evil.cdn.test\r\n\r\n", expect="HTTP/1.1 505", code=NOT_PASSED + MISMATCH, ends=("403", "400", "reset", "closed"))

    def h2(name, requests, code=MISMATCH, expect="evil.cdn.test", **args):
        ends = ("403", "goaway", "stream-reset", "reset", "closed")
        return Attempt("h2c: " + name, "resolve_then", resolved("a.cdn.test", "h2c", port=8082, requests=requests, expect=expect, **args), "bare", ends, code)

    offer = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
    first = get("a.cdn.test", close=False, more=offer)
    # nghttpx switches, and then takes the frames that follow; here it is never asked to.
    yield one("HTTP/2 behind an offer of h2c", first + "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", expect="101 Switching", port=8083, code=NOT_PASSED + BAD, ends=HTTP_NO + ("200",))
    yield one("another host that offers h2c", get("evil.cdn.test", more=offer), port=8083, expect="101 Switching")
    yield h2("authority of another host", [dict(authority="evil.cdn.test")])
    yield h2("second stream with another authority", [dict(authority="a.cdn.test"), dict(authority="evil.cdn.test")])
    yield h2("Host of another host, no authority", [dict(host="evil.cdn.test")])
    yield h2("authority across CONTINUATION frames", [dict(authority="evil.cdn.test")], split=7)
    yield h2("the same, IPv6", [dict(authority="evil.cdn.test")], kind="AAAA")


# Longer than any answer of no time to live is kept (AnswerCache::kMinTtl).
EXPIRED = 1.2


def rebinding_attempts():
    # Public, then private: the guest asks twice and goes where the second answer leads.
    lan = dict(port=80, send=get("rebind.test"), expect="\nlan\n")
    twice = resolved("rebind.test", "tcp", again=1, pause=EXPIRED, **lan)
    yield Attempt("rebinding: the second answer is private", "resolve_then", twice, "bare", DNS_NO, PRIVATE, ("rebind.test",), 4.0)

    def flip(name):
        return resolved(name, "tcp", pause=EXPIRED, port=80, send=get(name), expect=f"\n{name}\n")

    # The guest asks once; between its answer and its connection the name turns to a private address.
    between, control = flip("two.flip.test"), Plain(flip("one.flip.test"))
    yield Attempt("rebinding: between check and dial", "resolve_then", between, control, ("403",), PRIVATE, ("two.flip.test",), 4.0)
    direct = dict(host=LAN[0], port=80, send=get("rebind.test"), expect="\nlan\n")
    yield Attempt("rebinding: allowed Host at the private address", "tcp", direct, "bare", CONNECTION_NO, INSIDE, (LAN[0], "rebind.test"))


def raw_attempts():
    def one(kind, control="mark"):
        return Attempt("raw: " + kind, "raw", dict(kind=kind, to=SINK[0], to6=SINK[1]), control, ("sent",))

    answered = ["icmp-echo", "icmp6-echo"]
    forwarded = ["icmp-timestamp", "sctp", "raw-protocol-253", "ipip", "gre", "6in4", "esp", "dccp", "udplite", "pim", "raw6-protocol-253"]
    forwarded += ["spoof-neighbour", "spoof-public", "spoof6-neighbour", "spoof6-public", "other-mac-source"]
    forwarded += ["fragment6-atomic", "option-record-route", "option-router-alert", "destination-options", "hop-by-hop"]
    forwarded += ["tcp-null", "tcp-xmas", "spoof-syn"]
    nic = ["sandbox-address", "neighbour-address", "spoof-host", "icmp-redirect", "icmp-tunnel-gateway", "igmp", "spoof-gateway", "spoof-loopback", "spoof-zero"]
    nic += ["spoof6-gateway", "spoof6-link-local", "spoof6-loopback", "spoof6-unspecified", "mapped-destination", "mapped-source"]
    nic += ["broadcast-mac", "multicast-mac", "foreign-mac", "vlan", "vlan-0", "qinq", "raw-ethernet", "mpls", "pppoe", "lldp", "llc"]
    nic += ["arp-steal-gateway", "arp-other-self", "arp-whole-internet", "nd-steal-gateway", "router-advertisement"]
    nic += ["fragment-first", "fragment-later", "fragment-tiny-tcp", "fragment6", "option-source-route", "routing-header"]
    nic += ["multicast", "multicast-unicast-mac", "multicast6", "broadcast", "subnet-broadcast", "dhcp"]
    nic += ["loopback-destination", "loopback6-destination", "bad-checksum", "bad-length", "ttl-1"]
    nic += ["tcp-ack", "tcp-rst", "tcp-fin", "tcp-syn-ack", "tcp-syn-fin"]
    for kind in answered:
        yield one(kind, "bare")
    for kind in forwarded:
        yield one(kind)
    for kind in nic:
        yield one(kind, "nic")


def attempts():
    for family in (dns_attempts, address_attempts, port_attempts, tls_attempts, http_attempts, rebinding_attempts, raw_attempts):
        yield from family()


def allowed():
    """What the policy allows, in every spelling and over every protocol."""
    for v, kind in ((0, "A"), (1, "AAAA")):
        yield Allowed(f"https, v{'46'[v]}", "resolve_then", resolved("a.cdn.test", "https", kind=kind, name="a.cdn.test", ca=CA))
        yield Allowed(f"http, v{'46'[v]}", "resolve_then", resolved("a.cdn.test", "tcp", kind=kind, port=80, send=get("a.cdn.test"), expect="\na.cdn.test\n"))
        yield Allowed(f"h2c, v{'46'[v]}", "resolve_then", resolved("a.cdn.test", "h2c", kind=kind, port=8082, requests=[dict(authority="a.cdn.test")] * 2, expect="a.cdn.test"))
        # curl offers to go on in HTTP/2: nginx would not, nghttpx would, the offer reaches neither.
        for port in (80, 8083):
            args = dict(kind=kind, port=port, name="a.cdn.test", version="1.1")
            yield Allowed(f"HTTP/1 that offers h2c, port {port}, v{'46'[v]}", "resolve_then", resolved("a.cdn.test", "curl", **args))
        yield Allowed(f"ssh, v{'46'[v]}", "resolve_then", resolved("ssh.test", "tcp", kind=kind, port=22, expect="SSH-2.0"))
        yield Allowed(f"redis, v{'46'[v]}", "resolve_then", resolved("redis.test", "tcp", kind=kind, port=6379, send="PING\r\n", expect="+PONG"))
        yield Allowed(f"udp, v{'46'[v]}", "resolve_then", resolved("echo.test", "udp", kind=kind, port=7))
        yield Allowed(f"resolver over IPv{'46'[v]}", "dns", dict(server=DNS[v], name="a.cdn.test", wants=WEB[0]))
        yield Allowed(f"any resolver, v{'46'[v]}", "dns", dict(server=OTHER_DNS[v], name="a.cdn.test", wants=WEB[0], tcp=True))
    yield Allowed("name in capitals with a dot", "dns", dict(server=DNS[0], name="A.CDN.test.", wants=WEB[0]))
    yield Allowed("TLS name in capitals", "resolve_then", resolved("a.cdn.test", "hello", port=443, name="A.CDN.TEST"))
    yield Allowed("Host in capitals with a dot and a port", "resolve_then", resolved("a.cdn.test", "tcp", port=80, send=get("A.cdn.TEST.:80"), expect="HTTP/1.1 200"))
    yield Allowed("IDNA name", "resolve_then", resolved("xn--bcher-kva.test", "https", name="xn--bcher-kva.test", ca=CA))
    yield Allowed("wildcard member", "resolve_then", resolved("one.wild.test", "https", name="one.wild.test", ca=CA))
    yield Allowed("several hosts on one address", "resolve_then", resolved("one.wild.test", "https", name="a.cdn.test", ca=CA))
    yield Allowed("CNAME", "resolve_then", resolved("www.chain.test", "https", name="www.chain.test", ca=CA))
    yield Allowed("IPv6-only name at an IPv4 guest's choice", "resolve_then", resolved("v6.test", "https", kind="AAAA", name="v6.test", ca=CA))
    yield Allowed("time to live of a second", "resolve_then", resolved("short.test", "https", name="short.test", ca=CA))
    yield Allowed("other ports of the rule", "resolve_then", resolved("a.cdn.test", "https", port=8443, name="a.cdn.test", ca=CA))
    yield Allowed("hello in one-byte segments", "resolve_then", resolved("a.cdn.test", "https", name="a.cdn.test", ca=CA, split=1))
    yield Allowed("hello across records", "resolve_then", resolved("a.cdn.test", "hello", port=443, name="a.cdn.test", record_size=16))
    yield Allowed("hello with padding", "resolve_then", resolved("a.cdn.test", "hello", port=443, name="a.cdn.test", pad=14000))
    yield Allowed("encrypted hello with an allowed outer name", "resolve_then", resolved("a.cdn.test", "hello", port=443, name="a.cdn.test", ech=True))
    keep = [dict(send=get("a.cdn.test", close=False), expect="\na.cdn.test\n")] * 3
    yield Allowed("kept-alive connection", "resolve_then", resolved("a.cdn.test", "dialog", port=80, steps=keep))
    yield Allowed("request in one-byte segments", "resolve_then", resolved("a.cdn.test", "tcp", port=80, send=get("a.cdn.test"), expect="\na.cdn.test\n", split=1))
    yield Allowed("private address of a cidr rule", "tcp", dict(host=LAN10[0], port=80, send=get("anything"), expect="lan10"))
    yield Allowed("name of a private address with a cidr rule", "resolve_then", resolved("private10.test", "tcp", port=80, send=get("private10.test"), expect="lan10"))
    yield Allowed("public one of mixed addresses", "dns", dict(server=DNS[0], name="mixed.test", wants=WEB[0]))
    yield Allowed("address that moved: dialled by name anew", "resolve_then", resolved("moved.test", "https", pause=EXPIRED, name="moved.test", ca=CA))
    yield Allowed("MX", "dns", dict(server=DNS[0], name="a.cdn.test", kind="MX"))
    yield Allowed("HTTPS record", "dns", dict(server=DNS[0], name="a.cdn.test", kind="HTTPS"))


def everything():
    """What --dangerously-allow-all opens."""
    yield Allowed("denied name", "resolve_then", resolved("evil.cdn.test", "https", name="evil.cdn.test", ca=CA))
    yield Allowed("TLS without a name", "resolve_then", resolved("evil.cdn.test", "hello", port=443))
    yield Allowed("another name at an address", "tcp", dict(host=WEB3[1], port=8080, send=get("evil.cdn.test"), expect="\nevil.cdn.test\n"))
    yield Allowed("address that no one resolved", "tcp", dict(host=SINK[0], port=4444))
    yield Allowed("UDP", "udp", dict(host=ECHO[0], port=5000))
    yield Allowed("UDP, IPv6", "udp", dict(host=ECHO[1], port=443))
    yield Allowed("LAN", "tcp", dict(host=LAN[0], port=80, send=get("lan"), expect="\nlan\n"))
    yield Allowed("DoT", "dot", dict(host=OTHER_DNS[0], name="evil.cdn.test", sni="dns.other.test", ca=CA))
    yield Allowed("TXT", "dns", dict(server=DNS[0], name="a.cdn.test", kind="TXT"))
