"""What stands in for nginx and tomcat in the demo: an HTTP server, with TLS on 443, that says who it is and whom it saw.

python server.py POD NODE PORT... [--certificate PEM]; prints ``ready`` once every port listens.
"""

import argparse
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TLS_PORT = 443


def handler(pod: str, node: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self):
            body = json.dumps({"pod": pod, "node": node, "peer": self.client_address[0], "path": self.path}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    tls: ssl.SSLContext | None = None

    def finish_request(self, request, client_address):
        if self.tls is not None:  # here, in the request's own thread, so that a slow client delays nobody
            request.settimeout(5)
            request = self.tls.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)
        if self.tls is not None:
            request.close()

    def handle_error(self, request, client_address):
        pass  # a client that went away


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("pod")
    parser.add_argument("node")
    parser.add_argument("ports", type=int, nargs="+")
    parser.add_argument("--certificate", help="PEM file with key and certificate, for port 443")
    options = parser.parse_args()
    for port in options.ports:
        server = Server(("", port), handler(options.pod, options.node))
        if port == TLS_PORT:
            server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server.tls.load_cert_chain(options.certificate)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
