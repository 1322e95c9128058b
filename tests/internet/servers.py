"""The real servers: their configuration, their start, and when they are ready."""
import os
import pathlib
import socket
import subprocess
import sys
import time

import places

HERE = pathlib.Path(__file__).resolve().parent
START_LIMIT = 15
# The distribution's, which every user can execute, wherever the one that runs this is.
PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable


class Servers:
    """Starts everything in this process's namespaces; all of it ends with this process."""

    def __init__(self, folder, only_root):
        self.folder, self.log = pathlib.Path(folder), pathlib.Path(folder) / "log"
        self.log.mkdir(exist_ok=True)
        self.only_root = only_root  # user 0, so a server that would become another user must be told not to
        self.processes = {}

    def start(self):
        make_certificates(self.folder)
        web = self.folder / "www"
        web.mkdir(exist_ok=True)
        with open(web / "big", "wb") as file:
            file.truncate(1 << 30)
        self.run_and_wait("wire", PYTHON, HERE / "wire.py", "net0", self.log / "wire.log")
        self.run_and_wait("odd_dns", PYTHON, HERE / "odd_dns.py")
        self.run_and_wait("odd_tcp", PYTHON, HERE / "odd_tcp.py", self.log / "sink.log")
        self.run("dnsmasq", "dnsmasq", "--keep-in-foreground", f"--conf-file={self.write('dnsmasq.conf', self.dnsmasq())}")
        self.run("unbound", "unbound", "-d", "-p", "-c", self.write("unbound.conf", self.unbound()))
        self.run("nginx", "nginx", "-p", self.folder, "-c", self.write("nginx.conf", self.nginx()))
        fronts = [f"-f{host},{places.H2C_UPGRADE_PORT};no-tls" for host in places.WEB]
        backend = f"-b{places.WEB[0]},{places.HTTP_PORTS[0]}"
        self.run("nghttpx", "nghttpx", "--conf=/dev/null", "--workers=1", "--accesslog-file=/dev/null", *fronts, backend)
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / "ssh_key"], check=True
        )
        self.run("sshd", "/usr/sbin/sshd", "-D", "-e", "-f", self.write("sshd.conf", self.sshd()))
        self.run("redis", "redis-server", self.write("redis.conf", self.redis()))
        for address, port in places.UDP_ECHOES:
            self.run(f"echo{port}", "socat", "-T2", f"UDP-LISTEN:{port},fork,reuseaddr,{bind(address)}", "PIPE")
        for address in places.ECHO:
            discard = f"TCP-LISTEN:{places.DISCARD_PORT},fork,reuseaddr,backlog=512,{bind(address)}"
            self.run("discard", "socat", "-u", discard, "OPEN:/dev/null")
        self.wait()

    def run(self, name, *argv):
        with open(self.log / f"{name}.out", "ab") as out:
            process = subprocess.Popen(
                [str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.folder
            )
        self.processes.setdefault(name, []).append(process)

    def run_and_wait(self, name, *argv):
        """A server of ours: it prints a line when it listens."""
        with open(self.log / f"{name}.out", "ab") as out:
            process = subprocess.Popen([str(a) for a in argv], stdout=subprocess.PIPE, stderr=out)
        if process.stdout.readline() != b"ready\n":
            raise SystemExit(f"internet: {name} did not start: {(self.log / f'{name}.out').read_text()}")
        self.processes[name] = [process]

    def wait(self):
        """Until each accepts connections; UDP servers are asked, or are of those that said so."""
        deadline = time.monotonic() + START_LIMIT
        tcp = [(places.DNS, 53), (places.OTHER_DNS, 53), (places.OTHER_DNS, 853), (places.OTHER_DNS, 443)]
        tcp += [(places.WEB, 80), (places.WEB, 443), (places.SSH, 22), (places.REDIS, places.REDIS_PORT)]
        tcp += [(places.ECHO, places.DISCARD_PORT), (places.WEB, places.H2C_UPGRADE_PORT)]
        for pair, port in tcp:
            for address in pair:
                self.wait_for(f"{address} port {port}", deadline, lambda a=address, p=port: connects(a, p))
        for address, port in places.UDP_ECHOES:
            self.wait_for(f"{address} UDP port {port}", deadline, lambda a=address, p=port: echoes(a, p))

    def wait_for(self, what, deadline, ready):
        while not ready():
            for name, processes in self.processes.items():
                for process in processes:
                    if process.poll() is not None:
                        said = (self.log / f"{name}.out").read_text()
                        raise SystemExit(f"internet: {name} ended with {process.returncode}: {said}")
            if time.monotonic() > deadline:
                raise SystemExit(f"internet: nothing listens at {what} after {START_LIMIT} s")
            time.sleep(0.01)

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def dnsmasq(self):
        lines = ["no-resolv", "no-hosts", "bind-interfaces", "local=/test/", "local-ttl=60", "cache-size=1000"]
        lines += ["pid-file=", "dhcp-lease-max=0", f"log-facility={self.log}/dns.log", "log-queries=extra"]
        lines += [f"user={'root' if self.only_root else ''}", "edns-packet-max=4096"]
        lines += [f"listen-address={address}" for address in places.DNS]
        for name, addresses in places.RECORDS.items():
            lines.append(f"host-record={name},{','.join(str(a) for a in addresses)}")
        hosts = ""
        for name, addresses in places.ADDRESSES.items():
            if name.startswith("wild."):
                lines += [f"address=/{name}/{address}" for address in addresses]
            else:
                hosts += "".join(f"{address} {name}\n" for address in addresses)
        lines.append(f"addn-hosts={self.write('hosts', hosts)}")
        lines += [f"cname={alias},{target}" for alias, target in places.CNAMES]
        lines += [f"server=/{zone}/{places.ODD_DNS[0]}" for zone in places.ODD_ZONES]
        lines += ["txt-record=a.cdn.test,hello", "mx-host=a.cdn.test,b.cdn.test,10"]
        lines += [f"srv-host=_http._tcp.a.cdn.test,b.cdn.test,80"]
        # HTTPS record (RFC 9460): priority 1, target ".", alpn h2.
        lines += ["dns-rr=a.cdn.test,65,000100000100030268 32".replace(" ", "")]
        return "\n".join(lines) + "\n"

    def unbound(self):
        interfaces = "".join(
            f"  interface: {address}@{port}\n" for address in places.OTHER_DNS for port in (53, 853, 443)
        )
        return f"""server:
  username: ""
  chroot: ""
  directory: "{self.folder}"
  pidfile: ""
  use-syslog: no
  num-threads: 1
{interfaces}  access-control: 0.0.0.0/0 allow
  access-control: ::/0 allow
  tls-port: 853
  https-port: 443
  tls-service-key: "{self.folder}/server.key"
  tls-service-pem: "{self.folder}/server.pem"
  module-config: "iterator"
  local-zone: "test." nodefault
  do-not-query-localhost: no
forward-zone:
  name: "."
  forward-addr: {places.DNS[0]}
remote-control:
  control-enable: no
"""

    def nginx(self):
        def listen(pair, ports, extra=""):
            hosts = [pair[0], f"[{pair[1]}]"]
            return " ".join(f"listen {host}:{port}{extra};" for host in hosts for port in ports)

        def web(pair, default):
            mark = " default_server" if default else ""
            return " ".join(
                [
                    listen(pair, places.HTTP_PORTS, mark),
                    listen(pair, [places.H2C_PORT], " http2" + mark),
                    listen(pair, places.TLS_PORTS, " ssl http2" + mark),
                ]
            )

        def everywhere(default):
            return " ".join(web(pair, default) for pair in (places.WEB, places.WEB2, places.WEB3, places.DENIED))

        blocks = [
            f"server {{ {everywhere(True)} server_name default.test; "
            'location / { return 200 "default\\n"; } }'
        ]
        for name in places.VHOSTS:
            blocks.append(
                f"server {{ {everywhere(False)} server_name {name}; "
                f'location / {{ return 200 "{name}\\n"; }} location = /big {{ root {self.folder}/www; }} }}'
            )
        for name, pair in (("metadata", places.METADATA), ("lan", places.LAN), ("lan10", places.LAN10)):
            listens = listen(pair, [80, 443, 8080], " default_server")
            blocks.append(f'server {{ {listens} server_name {name}; location / {{ return 200 "{name}\\n"; }} }}')
        user = "user root;" if self.only_root else ""
        text = "\n  ".join(blocks)
        fields = " ".join(
            f'"{key}":"${value}"'
            for key, value in (("vhost", "server_name"), ("host", "http_host"), ("sni", "ssl_server_name"))
        ).replace(" ", ",")
        return f"""daemon off; master_process off; pid {self.folder}/nginx.pid; {user}
error_log {self.log}/nginx.err;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
  log_format line escape=json '{{{fields},"address":"$server_addr","port":"$server_port","request":"$request"}}';
  access_log {self.log}/web.log line;
  sendfile on;
  client_body_temp_path {self.folder}/body; proxy_temp_path {self.folder}/proxy; fastcgi_temp_path {self.folder}/fast;
  uwsgi_temp_path {self.folder}/uwsgi; scgi_temp_path {self.folder}/scgi;
  server_names_hash_bucket_size 128; default_type text/plain; client_max_body_size 0;
  keepalive_requests 1000000;
  ssl_certificate {self.folder}/server.pem; ssl_certificate_key {self.folder}/server.key;
  {text}
}}
"""

    def sshd(self):
        listens = "".join(f"ListenAddress {address}\n" for address in places.SSH)
        return f"{listens}Port 22\nPort 2222\nHostKey {self.folder}/ssh_key\nPidFile none\nUsePAM no\nMaxStartups 500\n"

    def redis(self):
        addresses = " ".join(places.REDIS)
        return f"bind {addresses}\nport {places.REDIS_PORT}\nprotected-mode no\nsave \"\"\ndir {self.folder}\n"


def bind(address):
    return f"pf=ip6,bind=[{address}]" if ":" in address else f"pf=ip4,bind={address}"


def connects(address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.settimeout(2)
        return probe.connect_ex((address, port)) == 0


def echoes(address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.settimeout(0.2)
        probe.connect((address, port))
        try:
            probe.send(b"?")
            return probe.recv(10) == b"?"
        except OSError:
            return False


def make_certificates(folder):
    """A certificate authority, and one certificate for every name and address there is."""
    names = [*places.VHOSTS, "default.test", *places.RECORDS]
    alternatives = [f"DNS:{name}" for name in sorted(set(names))]
    alternatives += [f"IP:{address}" for pair in places.ALL for address in pair]

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, cwd=folder, stderr=subprocess.DEVNULL)

    def key(path):
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)

    key("ca.key")
    key("server.key")
    openssl("req", "-x509", "-new", "-key", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=Test Internet CA")
    openssl("req", "-new", "-key", "server.key", "-out", "server.csr", "-subj", "/CN=server")
    (folder / "server.ext").write_text("subjectAltName=" + ",".join(alternatives) + "\n")
    signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "server.ext"]
    openssl("x509", "-req", "-in", "server.csr", "-out", "server.pem", "-days", "2", *signing)
    # What a guest needs to trust it, readable for whoever the guest's files are copied by.
    os.chmod(folder / "ca.pem", 0o644)
