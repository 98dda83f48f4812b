"""A loopback server that answers as the Hugging Face hub does, as far as loading, load_dataset and uploads ask."""

import base64
import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, unquote, urlsplit

# A data set has only the branch of the hub's Parquet conversion: whoever forgets the revision finds nothing.
BRANCHES = {"models": "main", "datasets": "refs/convert/parquet"}
SCRIPT_COMMIT = "5c" * 20
REVISION = r"(?P<revision>refs/convert/\w+|[^/]+)"
FILE = re.compile(rf"/(?P<kind>datasets/)?(?P<name>[^/]+/[^/]+)/resolve/{REVISION}/(?P<path>.+)")
API = re.compile(
    r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)"
    rf"(/(?P<verb>revision|tree)/{REVISION}(/(?P<path>.*))?)?"
)


class HubStandIn:
    """Serves folders as repositories for as long as the `with` block lasts.

    `folders` is {"models": {"owner/name": folder}, "datasets": {"owner/name": folder}}. `url` is what HF_ENDPOINT
    should be. Data sets named in `scripts` have a main branch too, with a loading script in it. `asked` holds
    (method, path, status) of every GET and HEAD; status 501 marks a path it does not know.
    """

    def __init__(self, folders: dict[str, dict[str, Path]], scripts: set[str] = frozenset()) -> None:
        self.folders = folders
        self.scripts = scripts
        self.asked: list[tuple[str, str, int]] = []
        self.uploads: Path | None = None
        self.tokens: set[str | None] = set()
        self.objects: dict[str, bytes] = {}  # large files by their SHA-256, before a commit names them
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def commit(self, kind: str, name: str) -> str:
        """The one commit of a repository; `kind` is "models" or "datasets"."""
        return hashlib.sha1(f"{kind}/{name}".encode()).hexdigest()

    def accept_uploads(self, folder: Path) -> None:
        """From now on repositories may be made, their files in `folder`/owner/name; `tokens` holds the tokens sent."""
        self.uploads = folder

    def __enter__(self) -> "HubStandIn":
        self.thread = Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: HubStandIn
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        path = unquote(address.path)
        if asked := FILE.fullmatch(path):
            kind = "datasets" if asked["kind"] else "models"
        elif asked := API.fullmatch(path):
            kind = asked["kind"]
        else:
            return self.answer(501)
        folder = self.hub.folders[kind].get(asked["name"])
        if folder is None:
            # The hub does not tell a stranger whether a repository is private or is not there: 401 for both.
            return self.answer(401, error="RepoNotFound")
        if asked["name"] in self.hub.scripts and asked["revision"] in (None, "main", SCRIPT_COMMIT):
            script = f"{asked['name'].split('/')[1]}.py"
            if asked.re is FILE and asked["path"] != script:
                return self.answer(404, error="EntryNotFound", commit=SCRIPT_COMMIT)
            body = b"import datasets" if asked.re is FILE else json.dumps({"id": asked["name"], "sha": SCRIPT_COMMIT})
            return self.answer(200, body if isinstance(body, bytes) else body.encode(), SCRIPT_COMMIT)
        commit = self.hub.commit(kind, asked["name"])
        if asked["revision"] not in (None, BRANCHES[kind], commit):
            return self.answer(404, error="RevisionNotFound", commit=commit)
        place = folder / (asked["path"] or "")
        if not (place.is_file() if asked.re is FILE else place.is_dir()):
            return self.answer(404, error="EntryNotFound", commit=commit)
        if asked.re is FILE:
            return self.answer(200, place.read_bytes(), commit)
        if asked["verb"] == "tree":
            recursive = parse_qs(address.query).get("recursive") == ["True"]
            found = [_entry(folder, below) for below in sorted(place.rglob("*") if recursive else place.iterdir())]
        else:
            found = {"id": asked["name"], "sha": commit}
        return self.answer(200, json.dumps(found).encode(), commit, "application/json")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.tokens.add((self.headers.get("Authorization") or "").removeprefix("Bearer "))
        if self.hub.uploads is None:
            return self.answer(403)
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            self.hub.folders["models"][name] = self.hub.uploads / name
            return self.json({"url": f"{self.hub.url}/{name}"})
        if self.path == "/api/validate-yaml":
            return self.json({"errors": [], "warnings": []})
        if self.path.endswith("/preupload/main"):
            # As the hub does it: weights and other large or binary files go by Git LFS, text goes along.
            large = (".safetensors", ".onnx", ".data", ".png", ".model")
            modes = [
                {"path": file["path"], "uploadMode": "lfs" if file["path"].endswith(large) else "regular"}
                for file in json.loads(body)["files"]
            ]
            return self.json({"files": [{**mode, "shouldIgnore": False} for mode in modes]})
        if self.path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                {**item, "actions": {"upload": {"href": f"{self.hub.url}/lfs/{item['oid']}"}}}
                for item in json.loads(body)["objects"]
            ]
            return self.json({"transfer": "basic", "objects": objects})
        if found := re.fullmatch(r"/api/models/(.+)/commit/main", self.path):
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    content = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    content = self.hub.objects[value["oid"]]
                else:
                    continue
                place = self.hub.uploads / found[1] / value["path"]
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
            commit = self.hub.commit("models", found[1])
            return self.json({"commitUrl": f"{self.hub.url}/{found[1]}/commit/{commit}", "commitOid": commit})
        return self.answer(501)

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.hub.objects[hashlib.sha256(body).hexdigest()] = body
        self.answer(200)

    def json(self, value: object) -> None:
        self.answer(200, json.dumps(value).encode(), kind="application/json")

    def answer(
        self,
        status: int,
        body: bytes = b"",
        commit: str | None = None,
        kind: str = "application/octet-stream",
        error: str | None = None,
    ) -> None:
        self.hub.asked.append((self.command, self.path, status))
        self.send_response(status)
        headers = {"X-Repo-Commit": commit, "X-Error-Code": error, "Content-Type": kind, "Accept-Ranges": "none"}
        if status == 200:
            headers["ETag"] = f'"{hashlib.sha256(body).hexdigest()}"'
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing; `asked` holds it all."""


def _entry(folder: Path, place: Path) -> dict[str, object]:
    """A file or folder as the hub's tree lists it."""
    path = str(place.relative_to(folder))
    oid = hashlib.sha1(path.encode()).hexdigest()
    if place.is_dir():
        return {"type": "directory", "path": path, "oid": oid, "size": 0}
    return {"type": "file", "path": path, "oid": oid, "size": place.stat().st_size}
