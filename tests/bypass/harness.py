"""A daemon on the host of the test internet, its sandboxes, and a look at their network from outside."""
import ctypes
import fcntl
import json
import os
import pathlib
import re
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "internet"))
import namespaces  # noqa: E402
import places  # noqa: E402
from servers import PYTHON  # noqa: E402

FOLDER = pathlib.Path(os.environ.get("INTERNET_DIR", "/nonexistent"))
LOGS = FOLDER / "log"
API_PORT = 7777
TUNGETDEVNETNS = 0x54E3  # linux/if_tun.h
SYS_PIDFD_OPEN, SYS_PIDFD_GETFD = 434, 438
PROGRAM = "".join((HERE / name).read_text() for name in ("probes.py", "floods.py", "packets.py"))


class Failed(Exception):
    pass


class Daemon:
    """cleanroomd as an ordinary process of the host: without privilege, unless it is root's."""

    def __init__(self):
        self.bin = pathlib.Path(os.environ["CLEANROOM_BIN"])
        self.root = FOLDER / "tmp" / "daemon"
        for name in ("config/cleanroom", "run"):
            os.makedirs(self.root / name)
        # The API also listens on the LAN, where a guest must not reach it; for that it wants tokens.
        (self.root / "token").write_text("a-token-of-the-suite\n")
        os.chmod(self.root / "token", 0o600)
        config = "backends:\n  qemu: { memory_mib: 256, vcpus: 1 }\n"
        config += f"auth: {{ required: true, tokens: [ {{ name: suite, token_file: {self.root}/token }} ] }}\n"
        (self.root / "config/cleanroom/config.yaml").write_text(config)
        self.socket = f"unix://{self.root}/run/cleanroom.sock"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root),
            "XDG_CONFIG_HOME": f"{self.root}/config",
            "XDG_STATE_HOME": f"{self.root}/state",
            "XDG_RUNTIME_DIR": f"{self.root}/run",
            "XDG_CACHE_HOME": os.environ["CLEANROOM_TEST_CACHE"],
            "CLEANROOM_HOST": self.socket,
            "CLEANROOM_AUTH_TOKEN": "a-token-of-the-suite",
            "TMPDIR": str(FOLDER / "tmp"),
        }
        self.log = open(self.root / "daemon.log", "ab")
        listen = ["--listen", self.socket, "--listen", f"http://{places.HOST_V4}:{API_PORT}"]
        self.process = subprocess.Popen(
            [self.bin / "cleanroom", "serve", *listen, "--log-level", "debug"],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=self.log,
            preexec_fn=drop_privilege,
        )
        if not self.process.stdout.readline():
            raise Failed(f"the daemon did not start: {self.said()}")

    def said(self):
        return (self.root / "daemon.log").read_text()[-3000:]

    def cli(self, *arguments, input=None, timeout=90, check=True, cwd=None):
        result = subprocess.run(
            [self.bin / "cleanroom", *[str(a) for a in arguments]],
            env=self.environment,
            input=input,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=cwd or self.root,
            preexec_fn=drop_privilege,
        )
        if check and result.returncode:
            raise Failed(f"cleanroom {arguments[0]} {arguments[1]}: {result.returncode}: {result.stderr[-2000:]}")
        return result

    def start_cli(self, *arguments):
        return subprocess.Popen(
            [self.bin / "cleanroom", *[str(a) for a in arguments]],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.root,
            text=True,
            preexec_fn=drop_privilege,
        )

    def import_image(self, tar):
        return self.cli("image", "import", "cleanroom.test/debian:base", tar).stdout.strip()

    def stop(self):
        self.process.terminate()
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return -1

    def leftovers(self):
        """Live processes that belong to a sandbox."""
        found = []
        for pid in processes():
            line = command_line(pid)
            if str(self.root) in line and ("cleanroom-warden" in line or "qemu-system" in line):
                found.append(line)
        return found


def drop_privilege():
    if os.geteuid() != 0:
        namespaces.prctl(namespaces.PR_CAP_AMBIENT, namespaces.PR_CAP_AMBIENT_CLEAR_ALL)


def processes():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def command_line(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


class Sandbox:
    """One sandbox. `network` is a policy's network block as YAML, or None for --dangerously-allow-all."""

    def __init__(self, daemon, image, name, network, backend):
        self.daemon, self.name, self.namespace = daemon, name, None
        folder = daemon.root / f"project-{name}"
        folder.mkdir()
        if network is None:
            words = ["sandbox", "create", "--image", image, "--dangerously-allow-all"]
        else:
            policy = f"version: 1\nsandbox:\n  image:\n    ref: {image}\n  network:\n"
            (folder / "cleanroom.yaml").write_text(policy + "".join(f"    {line}\n" for line in network.splitlines()))
            words = ["create"]
        self.id = daemon.cli(*words, "--backend", backend, cwd=folder).stdout.split()[-1]

    def exec(self, *argv, **options):
        return self.daemon.cli("exec", "--in", self.id, *([] if options.get("input") else ["-n"]), "--", *argv, **options)

    def probe(self, requests, timeout=90):
        """Runs [(probe, args)] in the guest, in this order; their answers."""
        numbered = [{"id": n, "probe": probe, "args": args} for n, (probe, args) in enumerate(requests)]
        answers = []
        for part in batches(numbered):
            result = self.exec("python3", "-c", PROGRAM, json.dumps(part), timeout=timeout, check=False)
            lines = result.stdout.splitlines()
            if result.returncode or len(lines) != len(part):
                raise Failed(f"probes in {self.name}: exit {result.returncode}, {len(lines)} of {len(part)}: {result.stderr[-2000:]}")
            answers += [json.loads(line) for line in lines]
        return answers

    def decisions(self):
        """What the doors recorded: a list of dictionaries."""
        out = self.daemon.cli("sandbox", "network", self.id, "--json").stdout
        return [json.loads(line) for line in out.splitlines() if line.strip()]

    def set_stage(self, stage):
        """Tells the warden, as the control plane does: a unary call of the Connect protocol."""
        folder = next(self.daemon.root.glob(f"state/**/sandboxes/{self.id}"))
        call = "http://warden/cleanroom.internal.v1.WardenService/SetStage"
        words = ["curl", "-sS", "--http2-prior-knowledge", "--unix-socket", "warden.sock", "-H", "content-type: application/proto"]
        message = b"\x0a" + bytes([len(stage)]) + stage.encode()  # SetStageRequest.stage
        # From its folder: a longer path does not fit a socket's address.
        result = subprocess.run(
            [*words, "--data-binary", "@-", "-w", "%{http_code}", call], input=message, cwd=folder, capture_output=True
        )
        said = result.stdout.decode("utf-8", "replace")
        if said != "200":
            raise Failed(f"SetStage {stage}: {said} {result.stderr.decode('utf-8', 'replace')}")

    def pids(self):
        """(warden, machine)"""
        found = {}
        for pid in processes():
            line = command_line(pid)
            if self.id in line:
                for word in ("cleanroom-warden", "qemu-system"):
                    if word in line.split(" ")[0]:
                        found[word] = pid
        return found.get("cleanroom-warden"), found.get("qemu-system")

    def warden_rss_mib(self):
        status = pathlib.Path(f"/proc/{self.pids()[0]}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024

    def network_namespace(self):
        """Of the guest's interface, whoever holds it: a path that stays good as long as this process."""
        if self.namespace is None:
            for pid in filter(None, self.pids()):
                self.namespace = self.namespace or tap_namespace(pid)
            if self.namespace is None:
                raise Failed(f"no process of sandbox {self.name} holds a TAP")
        return f"/proc/{os.getpid()}/fd/{self.namespace}"

    def in_namespace(self, *argv, **options):
        return subprocess.run(
            ["nsenter", f"--net={self.network_namespace()}", "--", *argv], check=True, text=True, **options
        )

    def watch_tap(self):
        """Starts to write down every packet that leaves the guest."""
        path = LOGS / f"tap-{self.name}.log"
        tap = self.in_namespace("ip", "-o", "link", "show", "type", "tun", stdout=subprocess.PIPE).stdout
        name = tap.split(":")[1].strip()
        words = ["nsenter", f"--net={self.network_namespace()}", "--", PYTHON, HERE.parent / "internet/wire.py", name, path]
        watcher = subprocess.Popen(words, stdout=subprocess.PIPE)
        watcher.stdout.readline()
        return Log(path)

    def tear_off_doors(self):
        """Makes this the sandbox that a plain NATed TAP would be: no doors, no floor, every packet is forwarded."""
        self.in_namespace("nft", "flush", "ruleset")
        link = f"ip link add bare0 type veth peer name out0 netns {self.network_namespace()}"
        subprocess.run(link.split(), check=True)
        inside = ["addr add 172.30.0.2/24 dev out0", "addr add fd30::2/64 dev out0 nodad", "link set out0 up"]
        inside += ["addr add fe80::2/64 dev out0 nodad"]  # what a router asks for its neighbours with
        inside += ["route replace default via 172.30.0.1", "route replace default via fd30::1"]
        self.in_namespace("ip", "-batch", "-", input="\n".join(inside))
        forwarding = "for key in ipv4/ip_forward ipv6/conf/all/forwarding; do echo 1 >/proc/sys/net/$key; done"
        self.in_namespace("sh", "-c", forwarding)
        namespaces.ip(
            "addr add 172.30.0.1/24 dev bare0",
            "addr add fd30::1/64 dev bare0 nodad",
            "link set bare0 up",
            "route add 10.0.2.0/24 via 172.30.0.2",
            "route add fd00:c1ea:0:2::/64 via fd30::2",
        )
        subprocess.run(["sh", "-c", forwarding], check=True)
        nat = 'chain post { type nat hook postrouting priority srcnat; oifname "up0" masquerade; };'
        subprocess.run(["nft", f"table inet bare {{ {nat} }}"], check=True)

    def disconnect(self):
        """After tear_off_doors: nothing that is still under way arrives any more."""
        namespaces.ip("link del bare0", "route add blackhole 10.0.2.0/24", "route add blackhole fd00:c1ea:0:2::/64")

    def listen_beside_guest(self):
        """A server in the guest's network namespace, which a guest without a floor would reach at its gateway's address."""
        words = ["nsenter", f"--net={self.network_namespace()}", "--"]
        words += ["socat", "TCP6-LISTEN:9999,fork,reuseaddr,ipv6only=0", "EXEC:echo beside"]
        subprocess.Popen(words)


def batches(requests, limit=60_000):
    """Requests in lists whose JSON fits one argument (MAX_ARG_STRLEN is 128 KiB)."""
    part, size = [], 0
    for request in requests:
        length = len(json.dumps(request)) + 2
        if part and size + length > limit:
            yield part
            part, size = [], 0
        part.append(request)
        size += length
    if part:
        yield part


def tap_namespace(pid):
    libc = ctypes.CDLL(None, use_errno=True)
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            if os.readlink(f"/proc/{pid}/fd/{number}") != "/dev/net/tun":
                continue
        except OSError:
            continue
        handle = libc.syscall(SYS_PIDFD_OPEN, pid, 0)
        tap = libc.syscall(SYS_PIDFD_GETFD, handle, int(number), 0)
        os.close(handle)
        if tap < 0:
            raise OSError(ctypes.get_errno(), f"take the TAP of process {pid}")
        namespace = fcntl.ioctl(tap, TUNGETDEVNETNS)
        os.close(tap)
        return namespace
    return None


class Log:
    """The lines of a file from here on."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.mark()

    def mark(self):
        self.offset = self.path.stat().st_size if self.path.exists() else 0

    def text(self):
        if not self.path.exists():
            return ""
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            return file.read().decode("utf-8", "replace")

    def lines(self):
        text = self.text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def wait_for(self, word, limit=2.0):
        """Packets are written down a moment after they arrived."""
        deadline = time.monotonic() + limit
        while word not in self.text():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True
