"""A proxy before a registry whose line breaks.

usage: cutting_proxy.py UPSTREAM cut|hold BYTES
Prints "listening on 127.0.0.1:PORT". Of each answer to a request for a blob only BYTES come; then the connection is
cut, or held until the client leaves. GET /log answers one line for each blob request: path, Range, bytes sent.
"""
import http.client
import http.server
import sys

UPSTREAM, MODE, BYTES = sys.argv[1], sys.argv[2], int(sys.argv[3])
LOG = []


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        if self.path == "/log":
            body = "\n".join(LOG).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        upstream = http.client.HTTPConnection(UPSTREAM)
        upstream.putrequest("GET", self.path, skip_accept_encoding=True)
        for name, value in self.headers.items():  # Accept more than once
            if name.lower() != "host":
                upstream.putheader(name, value)
        upstream.endheaders()
        answer = upstream.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() != "date":
                self.send_header(name, value)
        self.end_headers()
        if "/blobs/" not in self.path:
            self.wfile.write(body)
            return
        LOG.append(f"{self.path} {self.headers.get('Range', '-')} {min(BYTES, len(body))}")
        self.wfile.write(body[:BYTES])
        self.wfile.flush()
        if len(body) <= BYTES:
            return
        self.close_connection = True
        if MODE == "hold":
            self.rfile.read(1)  # ends when the client does


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(f"listening on 127.0.0.1:{server.server_address[1]}", flush=True)
server.serve_forever()
