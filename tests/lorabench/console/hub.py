"""A hub of one process: the endpoints by which a repository is made and files are committed, over HTTP."""

import base64
import hashlib
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class Hub:
    """Keeps what it is sent.

    Attributes:
        url: its address.
        files: content of the repository by name.
        made: bodies of requests to make a repository.
        authorisations: headers of all requests that change something.
        refuse: answer 403 with this message where it is not None.
    """

    def __init__(self):
        self.files, self.made, self.authorisations, self.refuse, self.objects = {}, [], set(), None, {}
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def answer(self, content, status=200, **headers):
                body = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", "Content-Length": len(body), **headers}.items():
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(body)

            def do_PUT(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert hashlib.sha256(body).hexdigest() == self.path.rpartition("/")[2]
                hub.objects[self.path.rpartition("/")[2]] = body
                self.answer(b"")

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hub.authorisations.add(self.headers.get("Authorization"))
                if hub.refuse is not None:
                    self.answer({"error": hub.refuse}, 403)
                elif self.path == "/api/repos/create":
                    hub.made.append(json.loads(body))
                    name = "/".join(filter(None, [json.loads(body)["organization"] or "me", json.loads(body)["name"]]))
                    self.answer({"url": f"{hub.url}/{name}"})
                elif self.path == "/api/validate-yaml":
                    self.answer({"errors": [], "warnings": []})
                elif "/preupload/" in self.path:
                    files = [file["path"] for file in json.loads(body)["files"]]
                    modes = {name: "lfs" if name.endswith(".safetensors") else "regular" for name in files}
                    self.answer({"files": [{"path": n, "uploadMode": m, "shouldIgnore": False} for n, m in modes.items()]})
                elif self.path.endswith("/info/lfs/objects/batch"):
                    objects = [
                        {**entry, "actions": {"upload": {"href": f"{hub.url}/objects/{entry['oid']}"}}}
                        for entry in json.loads(body)["objects"]
                    ]
                    self.answer({"transfer": "basic", "objects": objects}, **{"Content-Type": "application/vnd.git-lfs+json"})
                elif "/commit/" in self.path:
                    for line in map(json.loads, body.splitlines()):
                        value = line["value"]
                        if line["key"] == "file":
                            hub.files[value["path"]] = base64.b64decode(value["content"])
                        elif line["key"] == "lfsFile":
                            hub.files[value["path"]] = hub.objects[value["oid"]]
                    self.answer({"success": True, "commitOid": "0" * 40, "commitUrl": f"{hub.url}/me/x/commit/{'0' * 40}"})
                else:
                    self.answer({"error": f"no {self.path}"}, 404)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, daemon=True).start()
