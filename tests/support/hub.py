"""A local stand-in for the Hugging Face hub: the requests of from_pretrained, load_dataset and uploads."""

import base64
import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

# Data sets have only the branch of the hub's Parquet conversion, so that a request without the revision fails.
BRANCHES = {"models": "main", "datasets": "refs/convert/parquet"}
SCRIPT_COMMIT = "5c" * 20
REVISION = r"(?P<revision>refs/convert/\w+|[^/]+)"
FILE = re.compile(rf"/(?P<kind>datasets/)?(?P<name>[^/]+/[^/]+)/resolve/{REVISION}/(?P<path>.+)")
API = re.compile(
    r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)"
    rf"(/(?P<verb>revision|tree)/{REVISION}(/(?P<path>.*))?)?"
)


class HubStandIn:
    """Serves folders as repositories inside the `with` block.

    `folders` is {"models": {"owner/name": folder}, "datasets": {"owner/name": folder}}. `url` is the value for
    HF_ENDPOINT. Data sets named in `scripts` also have a main branch with a loading script. `requests` holds
    (method, path, status) of every request; status 501 marks a path that the stand-in does not know.
    """

    def __init__(self, folders: dict[str, dict[str, Path]], scripts: set[str] = frozenset()) -> None:
        self.folders = folders
        self.scripts = scripts
        self.requests: list[tuple[str, str, int]] = []
        self.uploads: Path | None = None
        self.tokens: set[str | None] = set()
        self.objects: dict[str, bytes] = {}  # uploaded large files by SHA-256, until a commit names them
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def commit(self, kind: str, name: str) -> str:
        """The one commit of a repository; `kind` is "models" or "datasets"."""
        return hashlib.sha1(f"{kind}/{name}".encode()).hexdigest()

    def accept_uploads(self, folder: Path) -> None:
        """Allows uploads. Files go to `folder`/owner/name; `tokens` holds the tokens that clients sent."""
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
        if match := FILE.fullmatch(path):
            kind = "datasets" if match["kind"] else "models"
        elif match := API.fullmatch(path):
            kind = match["kind"]
        else:
            return self.answer(501)
        folder = self.hub.folders[kind].get(match["name"])
        if folder is None:
            # The hub answers 401 for a private and for a missing repository alike.
            return self.answer(401, error="RepoNotFound")
        if match["name"] in self.hub.scripts and match["revision"] in (None, "main", SCRIPT_COMMIT):
            script = f"{match['name'].split('/')[1]}.py"
            if match.re is FILE and match["path"] != script:
                return self.answer(404, error="EntryNotFound", commit=SCRIPT_COMMIT)
            body = b"import datasets" if match.re is FILE else json.dumps({"id": match["name"], "sha": SCRIPT_COMMIT})
            return self.answer(200, body if isinstance(body, bytes) else body.encode(), SCRIPT_COMMIT)
        commit = self.hub.commit(kind, match["name"])
        if match["revision"] not in (None, BRANCHES[kind], commit):
            return self.answer(404, error="RevisionNotFound", commit=commit)
        target = folder / (match["path"] or "")
        if not (target.is_file() if match.re is FILE else target.is_dir()):
            return self.answer(404, error="EntryNotFound", commit=commit)
        if match.re is FILE:
            return self.answer(200, target.read_bytes(), commit)
        if match["verb"] == "tree":
            recursive = parse_qs(address.query).get("recursive") == ["True"]
            content = [_entry(folder, below) for below in sorted(target.rglob("*") if recursive else target.iterdir())]
        else:
            content = {"id": match["name"], "sha": commit}
        return self.answer(200, json.dumps(content).encode(), commit, "application/json")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.tokens.add((self.headers.get("Authorization") or "").removeprefix("Bearer "))
        if self.hub.uploads is None:
            return self.answer(403)
        if self.path == "/api/repos/create":
            request = json.loads(body)
            name = f"{request['organization']}/{request['name']}" if request.get("organization") else request["name"]
            self.hub.folders["models"][name] = self.hub.uploads / name
            return self.json({"url": f"{self.hub.url}/{name}"})
        if self.path == "/api/validate-yaml":
            metadata = yaml.safe_load(json.loads(body)["content"].split("---")[1])
            if re.fullmatch(r"[\w.-]+/[\w.-]+", metadata.get("base_model", "owner/name")):
                return self.json({"errors": [], "warnings": []})
            message = f'"base_model" with value "{metadata["base_model"]}" is not valid. Use a model id.'
            return self.json({"errors": [{"message": message}]}, status=400)
        if self.path.endswith("/preupload/main"):
            # As on the hub, weights and other large or binary files are uploaded by Git LFS.
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
        if match := re.fullmatch(r"/api/models/(.+)/commit/main", self.path):
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    content = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    content = self.hub.objects[value["oid"]]
                else:
                    continue
                target = self.hub.uploads / match[1] / value["path"]
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            commit = self.hub.commit("models", match[1])
            return self.json({"commitUrl": f"{self.hub.url}/{match[1]}/commit/{commit}", "commitOid": commit})
        return self.answer(501)

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.hub.objects[hashlib.sha256(body).hexdigest()] = body
        self.answer(200)

    def json(self, value: object, status: int = 200) -> None:
        self.answer(status, json.dumps(value).encode(), kind="application/json")

    def answer(
        self,
        status: int,
        body: bytes = b"",
        commit: str | None = None,
        kind: str = "application/octet-stream",
        error: str | None = None,
    ) -> None:
        self.hub.requests.append((self.command, self.path, status))
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
        """No log; `requests` holds everything."""


def _entry(folder: Path, target: Path) -> dict[str, object]:
    """A file or folder as an entry of the hub's tree."""
    path = str(target.relative_to(folder))
    oid = hashlib.sha1(path.encode()).hexdigest()
    if target.is_dir():
        return {"type": "directory", "path": path, "oid": oid, "size": 0}
    return {"type": "file", "path": path, "oid": oid, "size": target.stat().st_size}
