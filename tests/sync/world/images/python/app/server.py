"""The standard library's server: the answer, or a file below this folder."""

from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

from answer import ANSWER


class Handler(SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path != "/":
            return super().do_GET()
        body = ANSWER.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("", 8080), Handler).serve_forever()
