#!/usr/bin/env python3
"""Serves the bare repositories of a folder over HTTP, by git's own http-backend, on a free loopback port.

usage: git_http_server.py FOLDER [--user NAME:PASSWORD] [--tls CERT KEY]
FOLDER/requests gets a line for each request. While FOLDER/cut exists it holds a number of requests: each such answer with a
pack ends after 2000 bytes. While FOLDER/slow exists, answers with a pack end in silence. FOLDER/redirect holds a URL to lead to, but for /moved/.
While FOLDER/flood exists, an answer with a pack is followed by zeros without end.
"""
import argparse
import base64
import contextlib
import http.server
import os
import pathlib
import ssl
import subprocess
import threading

parser = argparse.ArgumentParser()
parser.add_argument("folder", type=pathlib.Path)
parser.add_argument("--user")
parser.add_argument("--tls", nargs=2)
options = parser.parse_args()
lock = threading.Lock()


def take_cut():
    with lock:
        path = options.folder / "cut"
        left = int(path.read_text()) if path.exists() else 0
        if left > 0:
            path.write_text(str(left - 1))
        return left > 0


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline().strip() or b"0", 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, status, headers, content):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def handle_git(self):
        body = self.body()
        with lock, open(options.folder / "requests", "a", encoding="ascii") as log:
            log.write(f"{self.command} {self.path}\n")
        if options.user:
            expected = "Basic " + base64.b64encode(options.user.encode()).decode()
            if self.headers.get("Authorization") != expected:
                self.answer(401, [("WWW-Authenticate", 'Basic realm="git"')], b"")
                return
        if (options.folder / "redirect").exists() and not self.path.startswith("/moved/"):
            self.answer(302, [("Location", (options.folder / "redirect").read_text().strip() + self.path)], b"")
            return
        path, _, query = self.path.partition("?")
        environment = {
            "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(options.folder), "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_COUNT": "2", "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*", "GIT_CONFIG_KEY_1": "uploadpack.allowReachableSHA1InWant",
            "GIT_CONFIG_VALUE_1": "true", "HOME": "/nonexistent",
            "REQUEST_METHOD": self.command, "PATH_INFO": path, "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""), "REMOTE_ADDR": "127.0.0.1",
        }
        done = subprocess.run(["git", "http-backend"], input=body, capture_output=True, env=environment, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        status, headers = 200, []
        for line in head.decode().split("\r\n"):
            name, _, value = line.partition(": ")
            if name == "Status":
                status = int(value.split()[0])
            elif name:
                headers.append((name, value))
        packs = b"PACK" in content
        if packs and (options.folder / "flood").exists():
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(1 << 50))
            self.end_headers()
            self.wfile.write(content[:2000])
            with contextlib.suppress(OSError):
                while True:  # until the client gives up
                    self.wfile.write(bytes(1 << 16))
            self.close_connection = True
            return
        if packs and (options.folder / "slow").exists():
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[:100])
            self.wfile.flush()
            self.rfile.read(1)  # until the client gives up
            return
        if packs and take_cut():
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[:2000])
            self.close_connection = True
            return
        self.answer(status, headers, content)

    do_GET = do_POST = handle_git


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
if options.tls:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*options.tls)
    server.socket = context.wrap_socket(server.socket, server_side=True)
print(f"listening 127.0.0.1:{server.server_address[1]} ", flush=True)
server.serve_forever()
