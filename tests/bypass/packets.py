"""Probes that send packets of their own making. Part of the text that a guest runs, after probes.py.

Each packet carries a mark by which it is found again where it arrives.
"""
ETH_IPV4, ETH_IPV6, ETH_ARP = b"\x08\x00", b"\x86\xdd", b"\x08\x06"
GUEST4, GATEWAY4 = "10.0.2.2", "10.0.2.1"
GUEST6, GATEWAY6 = "fd00:c1ea:0:2::2", "fd00:c1ea:0:2::1"
GUEST_MAC, GATEWAY_MAC = bytes.fromhex("020000000002"), bytes.fromhex("020000000001")
BROADCAST = b"\xff" * 6
OTHER_MAC = bytes.fromhex("0200000000aa")


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip4(source, destination, protocol, payload, options=b"", fragment=0, ident=0x4242, ttl=64):
    length = 20 + len(options)
    head = struct.pack("!BBHHHBBH", 0x40 | length // 4, 0, length + len(payload), ident, fragment, ttl, protocol, 0)
    head += socket.inet_aton(source) + socket.inet_aton(destination) + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def ip6(source, destination, following, payload, hops=64):
    head = struct.pack("!IHBB", 6 << 28, len(payload), following, hops)
    return head + socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, destination) + payload


def pseudo(source, destination, protocol, length):
    if ":" in source:
        both = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, destination)
        return both + struct.pack("!II", length, protocol)
    return socket.inet_aton(source) + socket.inet_aton(destination) + struct.pack("!BBH", 0, protocol, length)


def udp_packet(source, destination, port, data, source_port=4321):
    head = struct.pack("!HHHH", source_port, port, 8 + len(data), 0)
    total = checksum(pseudo(source, destination, 17, len(head + data)) + head + data) or 0xFFFF
    return head[:6] + struct.pack("!H", total) + data


def tcp_packet(source, destination, port, flags, data=b"", source_port=4322):
    head = struct.pack("!HHIIBBHHH", source_port, port, 1000, 0, 5 << 4, flags, 64240, 0, 0)
    total = checksum(pseudo(source, destination, 6, len(head + data)) + head + data)
    return head[:16] + struct.pack("!H", total) + head[18:] + data


def icmp(kind, code, body, source=None, destination=None):
    head = struct.pack("!BBHHH", kind, code, 0, 7, 1)
    covered = pseudo(source, destination, 58, 8 + len(body)) if source else b""
    return head[:2] + struct.pack("!H", checksum(covered + head + body)) + head[4:] + body


def arp(operation, mac, address, target_mac, target):
    return struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + mac + socket.inet_aton(address) + target_mac + socket.inet_aton(target)


def packet(kind, to, to6, mark):
    """(ethertype, packet) or a whole frame, by the name of what is wrong with it."""
    m = mark.encode()
    any_udp = udp_packet(GUEST4, to, 4444, m)
    any_udp6 = udp_packet(GUEST6, to6, 4444, m)
    if kind == "icmp-echo":
        return ETH_IPV4, ip4(GUEST4, to, 1, icmp(8, 0, m))
    if kind == "icmp6-echo":
        return ETH_IPV6, ip6(GUEST6, to6, 58, icmp(128, 0, m, GUEST6, to6))
    if kind == "icmp-redirect":
        return ETH_IPV4, ip4(GUEST4, to, 1, icmp(5, 1, m))
    if kind == "icmp-timestamp":
        return ETH_IPV4, ip4(GUEST4, to, 1, icmp(13, 0, m))
    if kind == "icmp-tunnel-gateway":
        return ETH_IPV4, ip4(GUEST4, GATEWAY4, 1, icmp(8, 0, m))
    if kind == "sctp":
        init = struct.pack("!BBHIIHHI", 1, 0, 20 + len(m), 99, 65535, 1, 1, 1) + m
        return ETH_IPV4, ip4(GUEST4, to, 132, struct.pack("!HHII", 4323, 4444, 0, 0) + init)
    protocols = {"raw-protocol-253": 253, "ipip": 4, "gre": 47, "6in4": 41, "esp": 50, "igmp": 2, "dccp": 33, "udplite": 136, "pim": 103}
    if kind in protocols:
        inner = {4: ip4(GUEST4, to, 17, any_udp), 41: any_udp6, 47: b"\0\0\x08\x00" + ip4(GUEST4, to, 17, any_udp)}
        return ETH_IPV4, ip4(GUEST4, to, protocols[kind], inner.get(protocols[kind], b"\0" * 8) + m)
    if kind == "raw6-protocol-253":
        return ETH_IPV6, ip6(GUEST6, to6, 253, m)
    spoofed = {"spoof-neighbour": "10.0.2.9", "spoof-gateway": GATEWAY4, "spoof-public": "11.22.33.80", "spoof-loopback": "127.0.0.1", "spoof-zero": "0.0.0.0", "spoof-host": "192.168.50.2"}
    if kind in spoofed:
        return ETH_IPV4, ip4(spoofed[kind], to, 17, udp_packet(spoofed[kind], to, 4444, m))
    if kind == "spoof-syn":
        return ETH_IPV4, ip4("10.0.2.9", to, 6, tcp_packet("10.0.2.9", to, 80, 2, m))
    spoofed6 = {"spoof6-neighbour": "fd00:c1ea:0:2::9", "spoof6-gateway": GATEWAY6, "spoof6-public": "2a0b:c1ea::80", "spoof6-link-local": "fe80::9", "spoof6-loopback": "::1", "spoof6-unspecified": "::"}
    if kind in spoofed6:
        return ETH_IPV6, ip6(spoofed6[kind], to6, 17, udp_packet(spoofed6[kind], to6, 4444, m))
    if kind == "mapped-destination":
        mapped = f"::ffff:{to}"
        return ETH_IPV6, ip6(GUEST6, mapped, 17, udp_packet(GUEST6, mapped, 4444, m))
    if kind == "mapped-source":
        return ETH_IPV6, ip6(f"::ffff:{GUEST4}", to6, 17, udp_packet(f"::ffff:{GUEST4}", to6, 4444, m))
    if kind == "other-mac-source":
        return GATEWAY_MAC + OTHER_MAC + ETH_IPV4 + ip4("10.0.2.9", to, 17, udp_packet("10.0.2.9", to, 4444, m))
    if kind == "broadcast-mac":
        return BROADCAST + GUEST_MAC + ETH_IPV4 + ip4(GUEST4, to, 17, any_udp)
    if kind == "multicast-mac":
        return bytes.fromhex("01005e0000fb") + GUEST_MAC + ETH_IPV4 + ip4(GUEST4, to, 17, any_udp)
    if kind == "foreign-mac":
        return OTHER_MAC + GUEST_MAC + ETH_IPV4 + ip4(GUEST4, to, 17, any_udp)
    if kind == "vlan":
        return GATEWAY_MAC + GUEST_MAC + b"\x81\x00\x00\x07" + ETH_IPV4 + ip4(GUEST4, to, 17, any_udp)
    if kind == "vlan-0":
        return GATEWAY_MAC + GUEST_MAC + b"\x81\x00\x00\x00" + ETH_IPV4 + ip4(GUEST4, to, 17, any_udp)
    if kind == "qinq":
        return GATEWAY_MAC + GUEST_MAC + b"\x88\xa8\x00\x07\x81\x00\x00\x08" + ETH_IPV4 + ip4(GUEST4, to, 17, any_udp)
    ethertypes = {"raw-ethernet": b"\x88\xb5", "mpls": b"\x88\x47", "pppoe": b"\x88\x64", "lldp": b"\x88\xcc"}
    if kind in ethertypes:
        return GATEWAY_MAC + GUEST_MAC + ethertypes[kind] + m.ljust(60, b"\0")
    if kind == "llc":
        return bytes.fromhex("0180c2000000") + GUEST_MAC + struct.pack("!H", 48) + b"\x42\x42\x03" + m.ljust(45, b"\0")
    if kind == "arp-steal-gateway":
        return BROADCAST + GUEST_MAC + ETH_ARP + arp(2, GUEST_MAC, GATEWAY4, GUEST_MAC, GATEWAY4) + m
    if kind == "arp-other-self":
        return BROADCAST + OTHER_MAC + ETH_ARP + arp(1, OTHER_MAC, GUEST4, b"\0" * 6, GATEWAY4) + m
    if kind == "arp-whole-internet":
        return BROADCAST + GUEST_MAC + ETH_ARP + arp(1, GUEST_MAC, GUEST4, b"\0" * 6, to) + m
    if kind == "nd-steal-gateway":
        target = socket.inet_pton(socket.AF_INET6, GATEWAY6)
        body = struct.pack("!BBHI", 136, 0, 0, 0x20000000) + target + b"\x02\x01" + GUEST_MAC
        body = body[:2] + struct.pack("!H", checksum(pseudo(GUEST6, GATEWAY6, 58, len(body)) + body)) + body[4:]
        return GATEWAY_MAC + GUEST_MAC + ETH_IPV6 + ip6(GUEST6, GATEWAY6, 58, body, hops=255) + m
    if kind == "router-advertisement":
        body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + m
        body = body[:2] + struct.pack("!H", checksum(pseudo(GUEST6, "ff02::1", 58, len(body)) + body)) + body[4:]
        return bytes.fromhex("333300000001") + GUEST_MAC + ETH_IPV6 + ip6(GUEST6, "ff02::1", 58, body, hops=255)
    if kind == "fragment-first":
        return ETH_IPV4, ip4(GUEST4, to, 17, any_udp[:24].ljust(24, b"\0"), fragment=0x2000)
    if kind == "fragment-later":
        return ETH_IPV4, ip4(GUEST4, to, 17, m.ljust(24, b"\0"), fragment=0x0003)
    if kind == "fragment-tiny-tcp":  # the port in the first, the flags in the second
        return ETH_IPV4, ip4(GUEST4, to, 6, tcp_packet(GUEST4, to, 80, 2)[8:] + m, fragment=0x0001)
    if kind == "fragment6":
        return ETH_IPV6, ip6(GUEST6, to6, 44, struct.pack("!BBHI", 17, 0, 1, 7) + any_udp6)
    if kind == "fragment6-atomic":
        return ETH_IPV6, ip6(GUEST6, to6, 44, struct.pack("!BBHI", 17, 0, 0, 7) + any_udp6)
    if kind == "option-source-route":  # LSRR by way of the gateway
        return ETH_IPV4, ip4(GUEST4, GATEWAY4, 17, any_udp, options=b"\x83\x07\x04" + socket.inet_aton(to) + b"\0")
    if kind == "option-record-route":
        return ETH_IPV4, ip4(GUEST4, to, 17, any_udp, options=b"\x07\x07\x04" + b"\0" * 5)
    if kind == "option-router-alert":
        return ETH_IPV4, ip4(GUEST4, to, 17, any_udp, options=b"\x94\x04\0\0")
    if kind == "hop-by-hop":
        return ETH_IPV6, ip6(GUEST6, to6, 0, b"\x11\0\x01\x04\0\0\0\0" + any_udp6)
    if kind == "routing-header":
        through = struct.pack("!BBBBI", 17, 2, 0, 1, 0) + socket.inet_pton(socket.AF_INET6, to6)
        return ETH_IPV6, ip6(GUEST6, GATEWAY6, 43, through + any_udp6)
    if kind == "destination-options":
        return ETH_IPV6, ip6(GUEST6, to6, 60, b"\x11\0\x01\x04\0\0\0\0" + any_udp6)
    if kind == "multicast":
        return bytes.fromhex("01005e0000fb") + GUEST_MAC + ETH_IPV4 + ip4(GUEST4, "224.0.0.251", 17, udp_packet(GUEST4, "224.0.0.251", 5353, m))
    if kind == "multicast-unicast-mac":
        return ETH_IPV4, ip4(GUEST4, "239.1.2.3", 17, udp_packet(GUEST4, "239.1.2.3", 4444, m))
    if kind == "multicast6":
        return bytes.fromhex("3333000000fb") + GUEST_MAC + ETH_IPV6 + ip6(GUEST6, "ff02::fb", 17, udp_packet(GUEST6, "ff02::fb", 5353, m))
    if kind == "broadcast":
        return BROADCAST + GUEST_MAC + ETH_IPV4 + ip4(GUEST4, "255.255.255.255", 17, udp_packet(GUEST4, "255.255.255.255", 67, m))
    if kind == "subnet-broadcast":
        return BROADCAST + GUEST_MAC + ETH_IPV4 + ip4(GUEST4, "10.0.2.255", 17, udp_packet(GUEST4, "10.0.2.255", 4444, m))
    if kind == "dhcp":
        body = b"\x01\x01\x06\0" + m.ljust(232, b"\0") + b"\x63\x82\x53\x63\x35\x01\x01\xff"
        return BROADCAST + GUEST_MAC + ETH_IPV4 + ip4("0.0.0.0", "255.255.255.255", 17, udp_packet("0.0.0.0", "255.255.255.255", 67, body, 68))
    inside = {"sandbox-address": GUEST4, "neighbour-address": "10.0.2.3"}  # every sandbox has the first
    if kind in inside:
        return ETH_IPV4, ip4(GUEST4, inside[kind], 17, udp_packet(GUEST4, inside[kind], 9999, m))
    if kind == "loopback-destination":
        return ETH_IPV4, ip4(GUEST4, "127.0.0.1", 17, udp_packet(GUEST4, "127.0.0.1", 4444, m))
    if kind == "loopback6-destination":
        return ETH_IPV6, ip6(GUEST6, "::1", 17, udp_packet(GUEST6, "::1", 4444, m))
    tcp_flags = {"tcp-ack": 0x10, "tcp-rst": 0x04, "tcp-fin": 0x01, "tcp-null": 0, "tcp-xmas": 0x29, "tcp-syn-ack": 0x12, "tcp-syn-fin": 0x03}
    if kind in tcp_flags:
        return ETH_IPV4, ip4(GUEST4, to, 6, tcp_packet(GUEST4, to, 4444, tcp_flags[kind], m))
    if kind == "bad-checksum":
        good = ip4(GUEST4, to, 17, any_udp)
        return ETH_IPV4, good[:10] + b"\0\0" + good[12:]
    if kind == "bad-length":
        good = ip4(GUEST4, to, 17, any_udp)
        return ETH_IPV4, good[:2] + b"\xff\xff" + good[4:]
    if kind == "ttl-1":
        return ETH_IPV4, ip4(GUEST4, to, 17, any_udp, ttl=1)
    raise ValueError(kind)


def interface():
    return next(name for _, name in socket.if_nameindex() if name != "lo")


LISTENER = []  # one socket that hears all answers


@probe
def raw(kind, to, to6, mark):
    """Sends one packet past the guest's own kernel."""
    made = packet(kind, to, to6, mark)
    frame = made if isinstance(made, bytes) else GATEWAY_MAC + GUEST_MAC + made[0] + made[1]
    if not LISTENER:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.bind((interface(), 0))
        LISTENER.append(sock)
    LISTENER[0].send(frame.ljust(60, b"\0"))
    raise Came("sent")


@probe
def raw_answers(wait=0.5):
    """The marks in what came back since the first packet, ICMP errors and resets aside."""
    marks, deadline = set(), time.monotonic() + wait
    while LISTENER and (left := deadline - time.monotonic()) > 0:
        LISTENER[0].settimeout(left)
        try:
            reply, address = LISTENER[0].recvfrom(65536)
        except OSError:
            break
        if address[2] != 4 and not is_error(reply):
            marks |= set(re.findall(rb"MARK[0-9a-f]{8}", reply))
    return ",".join(sorted(mark.decode() for mark in marks))


def is_error(frame):
    if frame[12:14] == ETH_IPV4:
        return frame[23] == 1 and frame[14 + 4 * (frame[14] & 15)] in (3, 5, 11, 12)
    return frame[12:14] == ETH_IPV6 and frame[20] == 58 and frame[54] < 128


if __name__ == "__main__":
    main()
