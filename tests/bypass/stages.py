"""Rules for one stage, in a real guest: what one stage allows the next refuses, and what is open and no longer allowed is cut.

The warden is told of the stages over its own RPC, as the control plane tells it. A policy without blocks has nothing to run in
the other stages, so its sandbox is launched into `execution`.
"""
import places
from harness import Failed, Sandbox
from places import DNS, ECHO, REDIS, SSH, WEB

POLICY = """default: deny
dependencies:
  allow: [ "a.cdn.test:80", "b.cdn.test:80" ]
services:
  allow: [ "redis.test:6379", "a.cdn.test:8080", "c.cdn.test:80" ]
execution:
  allow: [ { host: ssh.test, ports: [22, 2222] }, { host: echo.test, ports: [7], protocol: udp } ]
"""
GET = "GET / HTTP/1.1\r\nHost: %s\r\n\r\n"

# What there is: (name, its address, the probe of it), and the stage that allows it.
SERVICES = {
    "http": ("dependencies", "a.cdn.test", WEB[0], "tcp", dict(port=80, send=GET % "a.cdn.test", expect="\na.cdn.test\n")),
    "http on 8080": ("services", "a.cdn.test", WEB[0], "tcp", dict(port=8080, send=GET % "a.cdn.test", expect="\na.cdn.test\n")),
    "redis": ("services", "redis.test", REDIS[0], "tcp", dict(port=places.REDIS_PORT, send="PING\r\n", expect="+PONG")),
    "ssh": ("execution", "ssh.test", SSH[0], "tcp", dict(port=22, expect="SSH-2.0")),
    "udp": ("execution", "echo.test", ECHO[0], "udp", dict(port=7)),
}
# The connection that is open when its stage ends, and that nothing else is tried with: name, port, what is sent.
HELD = {
    "execution": ("ssh.test", 2222, ""),
    "dependencies": ("b.cdn.test", 80, GET % "b.cdn.test"),
    "services": ("c.cdn.test", 80, GET % "c.cdn.test"),
}
HOLD = """
import socket, sys
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])))
connection.sendall(sys.argv[3].encode())
print("open" if connection.recv(1) else "closed", flush=True)
try:
    while connection.recv(65536):
        pass
    print("closed")
except ConnectionResetError:
    print("reset")
"""


def hold(sandbox, stage):
    """A command in the guest that has the stage's connection, and says how it ends."""
    name, port, send = HELD[stage]
    words = ["exec", "--quiet", "--in", sandbox.id, "-n", "--", "python3", "-c", HOLD, name, str(port), send]
    command = sandbox.daemon.start_cli(*words)
    said = command.stdout.readline().strip()
    if said != "open":
        raise Failed(f"a connection to {name} was not made: {said} {command.stderr.read()[-500:]}")
    return command


def probes():
    """By name, and then by the address that an earlier stage may have given."""
    for service, (stage, name, address, probe, args) in SERVICES.items():
        by_name = dict(name=name, server=DNS[0], then=dict(probe=probe, args=args))
        yield service, stage, "resolve_then", by_name
        yield f"{service}, by address", stage, probe, dict(args, host=address)


def check(daemon, image, backend):
    """Yields lines for the report: (good, name, detail)."""
    sandbox = Sandbox(daemon, image, "stages", POLICY, backend)
    before, held = None, None
    for stage in ("execution", "dependencies", "services", "execution"):
        if held is not None:
            sandbox.set_stage(stage)
            out, _ = held.communicate(timeout=20)
            yield out.strip() == "reset", f"stages: a connection of {before} is cut when {stage} begins", out.strip()
        listed = list(probes())
        answers = sandbox.probe([(probe, args) for _, _, probe, args in listed])
        for (name, allowed_in, _, _), answer in zip(listed, answers):
            good = answer["reached"] == (allowed_in == stage) and answer["outcome"] not in ("broken", "timeout")
            yield good, f"stages: {name} in {stage}", f"{answer['outcome']} {answer['ms']} ms"
        before, held = stage, hold(sandbox, stage)
    # Set once more, which changes nothing.
    sandbox.set_stage(stage)
    sandbox.probe([("udp", dict(host=ECHO[0], port=7))])
    yield held.poll() is None, "stages: what a stage allows is not cut in it", ""
    held.terminate()
    held.communicate(timeout=20)
    denied = [d for d in sandbox.decisions() if d["action"] == "deny" and d["message"].endswith(" in this stage")]
    cut = {(d["destination"], d["port"]) for d in denied}
    wanted = {(name, port) for name, port, _ in HELD.values()}
    yield cut == wanted, "stages: what was cut is on record", str(sorted(cut))
    try:
        sandbox.set_stage("before")
        yield False, "stages: one that there is not", "was set"
    except Failed as error:
        yield "invalid_argument" in str(error), "stages: one that there is not", str(error)[:200]
