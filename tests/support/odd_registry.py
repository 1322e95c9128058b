"""A registry that answers as real ones do on bad days: tokens, redirects to another host, 503, broken connections.

usage: odd_registry.py MODE [CERT.pem KEY.pem]
With a certificate it speaks TLS, and nothing to who does not.
Serves one image, `r:v` with no layers but a config blob of 300,000 bytes, and prints "listening on 127.0.0.1:PORT".
GET /log answers what was asked, one line each, with "auth" where an Authorization header came along.
"""
import hashlib
import http.server
import json
import ssl
import sys

MODE = sys.argv[1]
LOG = []
SHOWN = []
CONFIG = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"diff_ids": []}, "pad": "x" * 300000}).encode()
DIGEST = "sha256:" + hashlib.sha256(CONFIG).hexdigest()
MANIFEST = json.dumps({
    "schemaVersion": 2,
    "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": DIGEST, "size": len(CONFIG)},
    "layers": [],
}).encode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        port = self.server.server_address[1]
        if self.path == "/log":
            return self.answer(200, "\n".join(LOG).encode())
        auth = self.headers.get("Authorization", "")
        asked = self.path.split("?")[0]
        times = sum(1 for line in LOG if line.split()[0] == asked)
        LOG.append(f"{asked} {self.headers.get('Range', '-')} {'auth' if auth else 'anonymous'}")
        if asked == "/token":
            SHOWN.append(auth)
            if MODE == "refuse":
                return self.answer(401)
            good = "service=s" in self.path and "scope=repository%3Ar%3Apull" in self.path
            return self.answer(200, b'{"access_token":"tok"}') if good else self.answer(400)
        if asked.startswith("/v2/") and auth != "Bearer tok":
            scheme = "https" if len(sys.argv) > 2 and MODE != "plain-realm" else "http"
            challenge = f'Bearer realm="{scheme}://127.0.0.1:{port}/token",service="s",scope="repository:r:pull"'
            return self.answer(401, b"", [("WWW-Authenticate", challenge)])
        if asked.startswith("/v2/r/manifests/"):
            if MODE == "echo":  # the token, and what the token server was shown
                said = f"you sent {auth} and {' '.join(SHOWN)}"
                return self.answer(403, json.dumps({"errors": [{"message": said}]}).encode())
            if MODE == "down" or (MODE == "busy" and times < 3):
                return self.answer(503, b"{}")
            return self.answer(200, MANIFEST)
        if asked == "/v2/r/blobs/" + DIGEST:
            if MODE == "downgrade":
                return self.answer(307, b"", [("Location", "http://registry.invalid/blob")])
            if MODE == "loop":
                return self.answer(307, b"", [("Location", asked)])
            return self.answer(307, b"", [("Location", f"http://localhost:{port}/elsewhere")])
        if asked == "/elsewhere":
            start = int(self.headers.get("Range", "bytes=0-")[6:-1])
            body = CONFIG[start:]
            if MODE == "broken" and times < 2:
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[:100000])
                self.close_connection = True
                return None
            if MODE == "long":
                body += b"more"
            return self.answer(206 if start else 200, body)
        return self.answer(404)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
if len(sys.argv) > 2:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    server.socket = context.wrap_socket(server.socket, server_side=True)
print(f"listening on 127.0.0.1:{server.server_address[1]}", flush=True)
server.serve_forever()
