"""An HTTP server on 127.0.0.1 that does what it is told: each request takes the next act of its script."""

import contextlib
import http.server
import re
import threading

HONEST = "Content-Length"


class Server:
    """Serves `body` at every path; `script` holds the acts of the next requests, then it behaves."""

    def __init__(self, body: bytes):
        self.body, self.etag, self.script, self.requests = body, '"one"', [], []
        self.over = threading.Event()  # ends acts that hang

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/files/archive.zip"

    @property
    def ranges(self) -> list:
        """The Range header of each request, None where there was none."""
        return [headers.get("Range") for headers in self.requests]


class Answer:
    """One request and the means to answer it, rightly or not."""

    def __init__(self, server: Server, handler):
        self.server, self.handler = server, handler
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        condition = handler.headers.get("If-Range")
        self.start = int(asked[1]) if asked and condition in (None, server.etag) else 0

    def send(self, status=None, body=None, *, headers=(), cut=None, length=HONEST, start=None):
        """A status, headers, and the body from `start` on, up to `cut` bytes of it."""
        start = self.start if start is None else start
        total = len(self.server.body)
        fields = {"ETag": self.server.etag, "Content-Type": "application/octet-stream", "Connection": "close"}
        if body is None:
            body = self.server.body[start:]
            if start:
                fields["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
        status = status or (206 if start else 200)
        fields["Content-Length"] = len(body) if length == HONEST else length
        fields |= dict(headers)
        lines = [f"HTTP/1.1 {status} x", *(f"{k}: {v}" for k, v in fields.items() if v is not None)]
        self.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body[:cut])

    def write(self, data: bytes):
        self.handler.wfile.write(data)
        self.handler.wfile.flush()


def honest(answer):
    if answer.start and answer.start >= len(answer.server.body):
        total = len(answer.server.body)
        return answer.send(416, b"", headers={"Content-Range": f"bytes */{total}"})
    return answer.send()


def drops_after(count):
    return lambda answer: answer.send(cut=count)


def status(code, **headers):
    return lambda answer: answer.send(code, b"<html>no</html>", headers=headers)


def hangs_after(count):
    def act(answer):
        answer.send(cut=count)
        answer.server.over.wait(10)

    return act


def trickles(count, pause_s):
    def act(answer):
        answer.send(cut=0)
        for i in range(count):
            answer.write(answer.server.body[answer.start + i : answer.start + i + 1])
            if answer.server.over.wait(pause_s):
                return

    return act


@contextlib.contextmanager
def serving(body: bytes):
    server = Server(body)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            server.requests.append(dict(self.headers))
            act = server.script.pop(0) if server.script else honest
            with contextlib.suppress(ConnectionError):
                act(Answer(server, self))
            self.close_connection = True

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        listener.daemon_threads = True
        server.port = listener.server_address[1]
        thread = threading.Thread(target=listener.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            listener.shutdown()
            thread.join()
