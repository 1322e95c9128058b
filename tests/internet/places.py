"""Every name and address of the internet. The addresses look public, for private ones are refused by their class."""

HOST_V4, HOST_GATEWAY_V4 = "192.168.50.2", "192.168.50.1"
HOST_V6, HOST_GATEWAY_V6 = "fd50::2", "fd50::1"

# Where things are: IPv4 and IPv6.
DNS = ("11.22.33.53", "2a0b:c1ea::53")  # the host's resolver
ODD_DNS = ("11.22.33.54", "2a0b:c1ea::54")
OTHER_DNS = ("11.22.34.53", "2a0b:c1ea:1::53")  # some public resolver: UDP, TCP, DoT, DoH
WEB = ("11.22.33.80", "2a0b:c1ea::80")  # many virtual hosts on one address
WEB2 = ("11.22.33.81", "2a0b:c1ea::81")  # some of the same, elsewhere
WEB3 = ("11.22.33.82", "2a0b:c1ea::82")  # the same; no name leads here
DENIED = ("11.22.33.99", "2a0b:c1ea::99")  # the same, for a policy to deny by address
SSH = ("11.22.33.22", "2a0b:c1ea::22")
REDIS = ("11.22.33.63", "2a0b:c1ea::63")
ECHO = ("11.22.33.7", "2a0b:c1ea::7")
SINK = ("11.22.33.66", "2a0b:c1ea::66")
ODD = ("11.22.33.90", "2a0b:c1ea::90")
HOLE = ("11.22.33.91", "2a0b:c1ea::91")  # swallows every packet
METADATA = ("169.254.169.254", "fd00:ec2::254")
LAN = ("192.168.77.10", "fd77::10")
LAN10 = ("10.77.0.10", "fd77::11")

ALL = [DNS, ODD_DNS, OTHER_DNS, WEB, WEB2, WEB3, DENIED, SSH, REDIS, ECHO, SINK, ODD, HOLE, METADATA, LAN, LAN10]

# Virtual hosts, each of which answers with its own name.
CDN = ["a.cdn.test", "b.cdn.test", "c.cdn.test", "cdn.test", "evil.cdn.test", "xn--bcher-kva.test"]
WILD = ["one.wild.test", "two.wild.test", "evil.wild.test", "deep.er.wild.test", "wild.test"]
MORE = ["v4.test", "v6.test", "short.test", "www.chain.test", "mixed.test", "moved.test", "rebind.test", "one.flip.test", "two.flip.test"]
MORE += ["denied-address.test", "odd.test"]
VHOSTS = CDN + WILD + MORE

# name -> addresses, as dnsmasq's host-record has them; an optional third field is the time to live.
RECORDS = {
    **{name: WEB for name in CDN},
    "v4.test": (WEB[0],),
    "v6.test": (WEB[1],),
    "short.test": (*WEB, 1),
    "edge.chain.test": WEB,
    "ssh.test": SSH,
    "redis.test": REDIS,
    "echo.test": ECHO,
    "sink.test": SINK,
    "odd.test": ODD,
    "hole.test": HOLE,
    "dns.other.test": OTHER_DNS,
    "private.test": LAN,
    "private10.test": (LAN10[0],),
    "metadata.test": METADATA,
    "loop.test": ("127.0.0.1", "::1"),
    "gateway-lookalike.test": (HOST_GATEWAY_V4,),
    "host.test": (HOST_V4, HOST_V6),
    "sandbox.test": ("10.0.2.2", "fd00:c1ea:0:2::2"),
    "denied-address.test": DENIED,
}
# Names with several answers or answers that host-record does not take.
ADDRESSES = {
    "mixed.test": [WEB[0], LAN[0]],
    "mapped.test": ["::ffff:192.168.77.10"],
    "nat64.test": ["64:ff9b::c0a8:4d0a"],
    "zero.test": ["0.0.0.0", "::"],
    "wild.test": list(WEB),  # and every name below it
}
CNAMES = [("www.chain.test", "mid.chain.test"), ("mid.chain.test", "edge.chain.test")]
CNAMES += [("inside.chain.test", "private.test"), ("outside.chain.test", "denied-address.test")]

# Asked of odd_dns.py through the resolver.
ODD_ZONES = ["rebind.test", "flip.test", "moved.test", "tunnel.test", "oddname.test"]

HTTP_PORTS = [80, 8080]
TLS_PORTS = [443, 8443]
H2C_PORT = 8082
H2C_UPGRADE_PORT = 8083  # HTTP/1, and HTTP/2 for a client that asks to upgrade
SINK_TCP_PORTS = [22, 25, 80, 443, 853, 4444, 8443]
SINK_UDP_PORTS = [53, 123, 443, 4444, 51820]
UDP_ECHOES = [(address, port) for address in ECHO for port in (7, 443, 5000)] + [(address, 5000) for address in LAN]
REDIS_PORT = 6379
DISCARD_PORT = 9  # at ECHO: reads and forgets

# odd_tcp.py at ODD; what happens at each port.
ODD_RESET, ODD_STALL, ODD_FLOOD, ODD_HALF_CLOSE, ODD_GARBAGE, ODD_HEADER_FLOOD, ODD_CUT = range(9001, 9008)
ODD_LENIENT = 80  # takes anything for an HTTP request, and echoes it
ODD_PORTS = [*range(ODD_RESET, ODD_CUT + 1), ODD_LENIENT]
