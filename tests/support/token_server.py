"""A token server for docker-registry's token authentication (Distribution specification).

usage: token_server.py KEY.pem CERT.pem
Prints "listening on 127.0.0.1:PORT". user:s3cret, and the refresh token r3fresh, get what they ask for; everybody
may pull from repositories under public/. GET /log answers what was asked: method, how, scope.
"""
import base64
import http.server
import json
import secrets
import ssl
import subprocess
import sys
import time
import urllib.parse

KEY, CERT = sys.argv[1:3]
CHAIN = [base64.b64encode(ssl.PEM_cert_to_DER_cert(open(CERT).read())).decode()]
LOG = []


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def token(scopes, subject):
    access = []
    for scope in scopes:
        kind, rest = scope.split(":", 1)
        name, actions = rest.rsplit(":", 1)
        access.append({"type": kind, "name": name, "actions": actions.split(",")})
    now = int(time.time())
    claims = {
        "iss": "test-issuer", "sub": subject, "aud": "test-registry", "exp": now + 300, "nbf": now - 60, "iat": now,
        "jti": secrets.token_hex(8), "access": access,
    }
    signed = b".".join(
        encode(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "RS256", "x5c": CHAIN}, claims)
    )
    signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", KEY], input=signed, capture_output=True, check=True)
    return (signed + b"." + encode(signature.stdout)).decode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def grant(self, query, how, good):
        scopes = query.get("scope", [])
        LOG.append(f"{self.command} {how} {' '.join(scopes)}")
        if query.get("service") != ["test-registry"]:
            return self.answer(400)
        public = all(s.startswith("repository:public/") and s.endswith(":pull") for s in scopes)
        if not good and not (how == "anonymous" and public):
            return self.answer(400 if self.command == "POST" else 401, b'{"error":"invalid_grant"}')
        name = "access_token" if self.command == "POST" else "token"
        self.answer(200, json.dumps({name: token(scopes, how), "expires_in": 300}).encode())

    def do_GET(self):
        if self.path == "/log":
            return self.answer(200, "\n".join(LOG).encode())
        auth = self.headers.get("Authorization", "")
        good = auth == "Basic " + base64.b64encode(b"user:s3cret").decode()
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        self.grant(query, "basic" if auth else "anonymous", good)

    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        good = form.get("grant_type") == ["refresh_token"] and form.get("refresh_token") == ["r3fresh"]
        self.grant(form, "refresh" if "client_id" in form else "nobody", good)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(f"listening on 127.0.0.1:{server.server_address[1]}", flush=True)
server.serve_forever()
