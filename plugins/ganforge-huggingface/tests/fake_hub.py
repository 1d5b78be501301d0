"""A hub of one machine: as much of the Hugging Face Hub's interface as pushing and pulling take."""

import base64
import hashlib
import http.server
import json
import re
import threading
from contextlib import contextmanager

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        repos, path = self.server.repos, self.path.split("?")[0]
        if self.headers.get("Authorization") != "Bearer hf_secret":
            return self.answer(401, {"error": "Invalid credentials in Authorization header"})
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            if name in repos:
                return self.answer(409, {"url": f"{self.server.url}/{name}"})
            repos[name] = {"private": asked.get("private") or asked.get("visibility") == "private", "files": {}}
            return self.answer(200, {"url": f"{self.server.url}/{name}"})
        if path == "/api/validate-yaml":
            self.server.yaml.append(json.loads(body)["content"])
            return self.answer(200, {"errors": [], "warnings": []})
        if found := re.fullmatch(r"/api/models/(.+)/preupload/main", path):
            asked = json.loads(body)["files"]
            files = [{"path": each["path"], "uploadMode": "regular", "shouldIgnore": False} for each in asked]
            return self.answer(200, {"files": files})
        if found := re.fullmatch(r"/api/models/(.+)/commit/main", path):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    repos[found[1]]["files"][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            told = {"commitUrl": f"{self.server.url}/{found[1]}/commit/{COMMIT}", "commitOid": COMMIT}
            return self.answer(200, told)
        return self.answer(404, {"error": path})

    def do_GET(self):
        repos, path = self.server.repos, self.path.split("?")[0]
        if (found := re.fullmatch(r"/api/models/([\w-]+/[\w-]+)(/revision/\w+)?", path)) and found[1] in repos:
            names = [{"rfilename": name} for name in repos[found[1]]["files"]]
            told = {"id": found[1], "sha": COMMIT, "siblings": names, "tags": [], "private": False}
            return self.answer(200, told)
        if found := re.fullmatch(r"/([\w-]+/[\w-]+)/resolve/\w+/(.+)", path):
            content = repos.get(found[1], {}).get("files", {}).get(found[2])
            if content is not None:
                etag = f'"{hashlib.sha1(content).hexdigest()}"'
                return self.answer(200, content, {"ETag": etag, "X-Repo-Commit": COMMIT})
            if found[1] in repos:
                return self.answer(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
        if found := re.fullmatch(r"/api/models/([\w-]+/[\w-]+)/tree/\w+", path):
            sizes = {name: len(content) for name, content in repos[found[1]]["files"].items()}
            files = [{"type": "file", "path": name, "size": size, "oid": "0" * 40} for name, size in sizes.items()]
            return self.answer(200, files)
        return self.answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET

    def answer(self, code, content, headers=()):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        for name, value in {
            "Content-Length": str(len(data)),
            "Content-Type": "application/json",
            **dict(headers),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_):
        self.server.asked.append(f"{self.command} {self.path}")


@contextmanager
def fake_hub():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.url = f"http://127.0.0.1:{server.server_port}"
        server.repos, server.yaml, server.asked = {}, [], []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
