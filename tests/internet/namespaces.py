"""The host's namespace, the internet's, and the cable between them. Each stage runs in a process of its own."""
import ctypes
import os
import pathlib
import pwd
import shutil
import subprocess
import sys
import tempfile

import places
from servers import PYTHON, Servers

SELF = str(pathlib.Path(__file__).resolve().parent / "internet")
TESTS = pathlib.Path(SELF).parent.parent
TUN = "/dev/net/tun"
ORDINARY_USER = 61234  # owns nothing on any system
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, PR_SET_PDEATHSIG = 47, 4, 1


def prctl(*arguments):
    arguments += (0,) * (5 - len(arguments))
    if ctypes.CDLL(None, use_errno=True).prctl(*arguments) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def without_privilege(argv):
    """For os.execv: gives up what `unshare --keep-caps` kept, so that an ordinary user is one."""
    if os.geteuid() != 0:
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    os.execvp(argv[0], argv)


def ip(*lines):
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)


def sysctl(key, value):
    path = pathlib.Path("/proc/sys") / key
    if path.exists():
        path.write_text(value)


# --- outside: makes the folder and enters the namespaces ---------------------------------------------------------


def obstacle(user):
    """Why the internet cannot be made for this user; None when it can."""
    if user == "root" and os.geteuid() != 0:
        return "only root can run as root"
    if user == "user" and os.geteuid() != 0 and not os.access(TUN, os.R_OK | os.W_OK):
        return f"{TUN} is not readable and writable for this user"
    if not os.path.exists(TUN):
        return f"there is no {TUN}"
    probe = subprocess.run([*unshare(user), "true"], capture_output=True, text=True)
    return f"no namespaces: {probe.stderr.strip()}" if probe.returncode else None


def unshare(user):
    words = ["unshare", "--net", "--mount", "--ipc", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if user == "root":
        return words
    become = []
    if os.geteuid() == 0:
        become = ["setpriv", f"--reuid={ORDINARY_USER}", f"--regid={ORDINARY_USER}", "--clear-groups", "--"]
    return [*become, *words, "--user", "--map-current-user", "--keep-caps"]


def run(user, command, shared=()):
    """Runs `command` on the host; its exit code.

    The tests and the folders of `shared` stay reachable for root's ordinary user, although the checkout may lie where that
    user may not look: they are shown elsewhere, and so called in the command and in the environment's CLEANROOM_*.
    """
    folder = tempfile.mkdtemp(prefix="cleanroom-internet.")
    try:
        words = [str(word) for word in (PYTHON, SELF, "--stage=host", folder, "--", *command)]
        environment = dict(os.environ, INTERNET_DIR=folder, TMPDIR=f"{folder}/tmp", INTERNET_USER=user)
        os.mkdir(f"{folder}/tmp")
        os.chmod(folder, 0o755)
        os.chmod(f"{folder}/tmp", 0o1777)
        before = unshare(user)
        if user == "user" and os.geteuid() == 0:
            shutil.chown(folder, ORDINARY_USER, ORDINARY_USER)
            mounts = []
            for number, path in enumerate([TESTS, *shared]):
                target = f"{folder}/shared/{number}"
                mounts.append(f"{path}={target}")
                words = [moved(word, path, target) for word in words]
                ours = {key: moved(value, path, target) for key, value in environment.items() if key.startswith("CLEANROOM_")}
                environment |= ours
            before = ["unshare", "--mount", PYTHON, SELF, "--stage=tun", folder, *mounts, "--", *before]
        return subprocess.call([*before, *words], env=environment)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def moved(word, path, target):
    return target + word[len(str(path)) :] if word == str(path) or word.startswith(f"{path}/") else word


def stage_tun(folder, mounts, command):
    """Root, in a mount namespace of its own: shows the ordinary user a usable TUN device, and folders it may not enter."""
    nodes = f"{folder}/dev"
    os.mkdir(nodes)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755,dev", "tmpfs", nodes], check=True)
    device = os.stat(TUN).st_rdev
    os.mknod(f"{nodes}/tun", 0o20666, device)
    os.chmod(f"{nodes}/tun", 0o666)
    subprocess.run(["mount", "--bind", f"{nodes}/tun", TUN], check=True)
    for entry in mounts:
        path, target = entry.split("=", 1)
        os.makedirs(target, exist_ok=True)
        subprocess.run(["mount", "--bind", path, target], check=True)
    os.execvp(command[0], command)


# --- the host ----------------------------------------------------------------------------------------------------


def stage_host(folder, command):
    """First process of the namespaces: connects the internet, runs the command, and reaps what nobody else does."""
    sysctl("net/ipv4/ip_unprivileged_port_start", "0")
    ip("link set lo up")
    name_user(folder)
    internet = subprocess.Popen(
        ["unshare", "--net", PYTHON, SELF, "--stage=internet", folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: prctl(PR_SET_PDEATHSIG, 9),
    )
    if internet.stdout.readline() != b"here\n":
        raise SystemExit("internet: the internet's namespace could not be made")
    ip(
        f"link add up0 type veth peer name net0 netns {internet.pid}",
        f"addr add {places.HOST_V4}/24 dev up0",
        f"addr add {places.HOST_V6}/64 dev up0 nodad",
        "link set up0 up",
    )
    # Routes come up with the link, and the other end is only now told to set its own up.
    internet.stdin.write(b"go\n")
    internet.stdin.close()
    ip(f"route add default via {places.HOST_GATEWAY_V4}", f"route add default via {places.HOST_GATEWAY_V6}")
    name_server(folder, places.DNS)
    said = internet.stdout.readline()
    if said != b"ready\n":
        raise SystemExit("internet: its servers did not start")
    child = os.fork()
    if child == 0:
        os.execvp(command[0], command)
    while True:
        pid, status = os.wait()
        if pid == child:
            sys.stdout.flush()
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
        if pid == internet.pid:
            print("internet: its servers ended before the command did", file=sys.stderr)
            os._exit(1)


def name_server(folder, addresses):
    """Only this mount namespace sees the new resolv.conf. INTERNET_DIR/resolv.conf may be rewritten in place later."""
    ours = pathlib.Path(folder) / "resolv.conf"
    ours.write_text("".join(f"nameserver {address}\n" for address in addresses))
    real = os.path.realpath("/etc/resolv.conf")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"], check=True)
    if os.geteuid() == 0:
        os.mkdir("/run/sshd", 0o755)
    if not os.path.exists(real):
        os.makedirs(os.path.dirname(real), exist_ok=True)
        open(real, "w").close()
    subprocess.run(["mount", "--bind", ours, real], check=True)


def name_user(folder):
    """OpenSSH refuses to work for a user without a name."""
    try:
        pwd.getpwuid(os.geteuid())
        return
    except KeyError:
        pass
    users = pathlib.Path(folder) / "passwd"
    line = f"somebody:x:{os.geteuid()}:{os.getegid()}::{folder}:/bin/sh\n"
    users.write_text(pathlib.Path("/etc/passwd").read_text() + line)
    subprocess.run(["mount", "--bind", users, "/etc/passwd"], check=True)


# --- the internet ------------------------------------------------------------------------------------------------


def stage_internet(folder):
    prctl(PR_SET_PDEATHSIG, 9)
    print("here", flush=True)
    sys.stdin.readline()
    # Every address is local here; the host's packets to any other end at the gateway.
    lines = ["link set lo up", "link set net0 up"]
    lines += [f"addr add {places.HOST_GATEWAY_V4}/24 dev net0", f"addr add {places.HOST_GATEWAY_V6}/64 dev net0 nodad"]
    for v4, v6 in places.ALL:
        lines += [f"addr add {v4}/32 dev lo", f"addr add {v6}/128 dev lo nodad"]
    ip(*lines)
    rules = f"""table inet internet {{
  chain input {{
    type filter hook input priority filter;
    ip daddr {places.HOLE[0]} drop
    ip6 daddr {places.HOLE[1]} drop
  }}
}}"""
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
    sysctl("net/ipv4/ip_unprivileged_port_start", "0")
    sysctl("net/ipv4/tcp_max_syn_backlog", "4096")
    sysctl("net/core/somaxconn", "4096")
    Servers(folder, only_root=os.geteuid() == 0).start()
    print("ready", flush=True)
    while True:
        os.wait()
