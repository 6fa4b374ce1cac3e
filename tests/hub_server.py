"""A Hub on this machine: the part of the Hub's HTTP interface that publishing and loading a dataset uses.

No package carries one (``hf-local-hub`` ships without its server), so here is one for tests, spoken to by the real
``huggingface_hub`` and ``datasets`` clients. It stores repositories in memory: commits of regular and LFS
files, trees, ranged downloads. Pushing needs the token ``TOKEN``; so does reading what is private. No xet, no
branches, no history.
"""

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_the_tests"
USER = "tester"


@dataclass
class Repository:
    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: int = 0

    @property
    def sha(self) -> str:
        return hashlib.sha1(str(self.commits).encode()).hexdigest()


class Hub:
    """``with Hub() as hub``: serves at ``hub.url``. ``fail_uploads`` breaks that many LFS uploads off."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.blobs: dict[str, bytes] = {}
        self.uploads = 0
        self.fail_uploads = 0
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> "Hub":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *args: object) -> None:
        self.server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._route("HEAD")

    def do_GET(self) -> None:
        self._route("GET")

    def do_POST(self) -> None:
        self._route("POST")

    def do_PUT(self) -> None:
        self._route("PUT")

    def log_message(self, *args: object) -> None:
        """Keep the tests' output clean."""

    def _route(self, method: str) -> None:
        size = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(size) if size else b""
        if self.headers.get("transfer-encoding") == "chunked":
            body = self._chunks()
        path = unquote(urlsplit(self.path).path).strip("/")
        parts = path.split("/")
        allowed = self.headers.get("authorization") == f"Bearer {TOKEN}"
        if parts[0] == "lfs" and method == "PUT":
            return self._upload(parts[1], body)
        if path == "api/repos/create":
            return self._create(json.loads(body), allowed)
        if path == "api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if parts[:2] == ["api", "datasets"]:
            repo, rest = "/".join(parts[2:4]), parts[4:]
        elif parts[0] == "datasets":
            repo, rest = "/".join(parts[1:3]), parts[3:]
        else:
            return self._error(404, "no such page")
        if repo.endswith(".git"):
            return self._batch(json.loads(body)) if allowed else self._error(401, "no token")
        found = self.hub.repositories.get(repo)
        if found is None or (found.private and not allowed):
            return self._error(404 if allowed else 401, "no such repository", "RepoNotFound")
        if method == "POST" and rest[:1] in (["preupload"], ["commit"]) and not allowed:
            return self._error(401, "no token")
        return self._repository(method, repo, found, rest, body)

    def _repository(self, method: str, name: str, repo: Repository, rest: list[str], body: bytes) -> None:
        if not rest or rest[0] == "revision":
            files = [{"rfilename": path} for path in repo.files]
            info = {"id": name, "sha": repo.sha, "private": repo.private, "siblings": files, "tags": []}
            return self._json({**info, "downloads": 0, "likes": 0, "disabled": False, "gated": False})
        if rest[0] == "preupload":
            asked = json.loads(body)["files"]
            modes = [
                {
                    "path": f["path"],
                    "uploadMode": "lfs" if f["path"].endswith(".parquet") else "regular",
                    "shouldIgnore": False,
                    "oid": None,
                }
                for f in asked
            ]
            return self._json({"files": modes})
        if rest[0] == "commit":
            return self._commit(name, repo, body)
        if rest[0] == "tree":
            under = "/".join(rest[2:])
            deep = "recursive=true" in urlsplit(self.path).query.lower()
            inside = [p for p in self._paths(repo) if p.startswith(f"{under}/" if under else "")]
            if not deep:
                inside = [p for p in inside if "/" not in p.removeprefix(under).strip("/")]
            return self._json([self._entry(p, repo) for p in inside])
        if rest[0] == "paths-info":
            text = body.decode()
            asked = json.loads(text)["paths"] if text.startswith("{") else _form(text)
            return self._json([self._entry(p, repo) for p in asked if p in self._paths(repo)])
        if rest[0] == "resolve":
            return self._file(method, repo, "/".join(rest[2:]))
        return self._error(404, "no such page")

    def _create(self, asked: dict, allowed: bool) -> None:
        if not allowed:
            return self._error(401, "no token")
        name = f"{asked.get('organization') or USER}/{asked['name']}"
        if not name.startswith(f"{USER}/"):
            return self._error(403, "not your name")
        self.hub.repositories.setdefault(
            name, Repository("private" in (asked.get("visibility"), asked.get("private") and "private"))
        )
        return self._json({"url": f"{self.hub.url}/datasets/{name}"})

    def _batch(self, asked: dict) -> None:
        objects = []
        for each in asked["objects"]:
            entry = {"oid": each["oid"], "size": each["size"]}
            if each["oid"] not in self.hub.blobs:
                entry["actions"] = {"upload": {"href": f"{self.hub.url}/lfs/{each['oid']}"}}
            objects.append(entry)
        self._json({"transfer": "basic", "objects": objects}, kind="application/vnd.git-lfs+json")

    def _upload(self, oid: str, body: bytes) -> None:
        self.hub.uploads += 1
        if self.hub.fail_uploads:
            self.hub.fail_uploads -= 1
            return self._error(400, "the line broke")
        if hashlib.sha256(body).hexdigest() != oid:
            return self._error(422, "checksum differs")
        self.hub.blobs[oid] = body
        return self._json({})

    def _commit(self, name: str, repo: Repository, body: bytes) -> None:
        for line in body.decode().splitlines():
            each = json.loads(line)
            value = each["value"]
            if each["key"] == "file":
                repo.files[value["path"]] = base64.b64decode(value["content"])
            elif each["key"] == "lfsFile":
                repo.files[value["path"]] = self.hub.blobs[value["oid"]]
            elif each["key"] == "deletedFile":
                repo.files.pop(value["path"], None)
        repo.commits += 1
        url = f"{self.hub.url}/datasets/{name}/commit/{repo.sha}"
        self._json({"commitUrl": url, "commitOid": repo.sha, "success": True})

    def _paths(self, repo: Repository) -> list[str]:
        """Files and the folders that hold them."""
        return sorted({*repo.files, *(p.rpartition("/")[0] for p in repo.files if "/" in p)})

    def _entry(self, path: str, repo: Repository) -> dict:
        if path not in repo.files:
            return {
                "type": "directory",
                "path": path,
                "oid": hashlib.sha1(path.encode()).hexdigest(),
                "size": 0,
            }
        data = repo.files[path]
        entry = {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
        if path.endswith(".parquet"):
            oid = hashlib.sha256(data).hexdigest()
            entry["lfs"] = {"oid": oid, "size": len(data), "pointerSize": 130}
        return entry

    def _file(self, method: str, repo: Repository, path: str) -> None:
        if path not in repo.files:
            return self._error(404, "no such file", "EntryNotFound")
        data = whole = repo.files[path]
        status, extra = 200, {}
        if wanted := self.headers.get("range"):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            end = min(int(last) if last else len(whole) - 1, len(whole) - 1)
            data = whole[int(first) : end + 1]
            status, extra = 206, {"Content-Range": f"bytes {first}-{end}/{len(whole)}"}
        headers = {"ETag": f'"{hashlib.sha256(whole).hexdigest()}"', "X-Repo-Commit": repo.sha, **extra}
        self._send(status, data, "application/octet-stream", headers, method == "HEAD")

    def _json(self, value: object, status: int = 200, kind: str = "application/json") -> None:
        self._send(status, json.dumps(value).encode(), kind, {}, self.command == "HEAD")

    def _error(self, status: int, message: str, code: str = "") -> None:
        headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
        self._send(status, json.dumps({"error": message}).encode(), "application/json", headers, False)

    def _send(self, status: int, data: bytes, kind: str, headers: dict[str, str], bare: bool) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if not bare and self.command != "HEAD":
            self.wfile.write(data)

    def _chunks(self) -> bytes:
        out = b""
        while size := int(self.rfile.readline(), 16):
            out += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return out


def _form(text: str) -> list[str]:
    from urllib.parse import parse_qs

    return parse_qs(text).get("paths", [])
