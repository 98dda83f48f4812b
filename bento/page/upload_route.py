"""The upload endpoint, in place of Gradio's, which leaves an aborted upload on disk and bounds no sum."""

import asyncio

from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from bento.page import limits
from bento.page.uploads import UploadStore
from bento.page.visitors import Budget, BudgetExceeded, visitor_of

FULL = "Too many files are being read at present; please try again in a minute."


class UploadRoute:
    """POST of a multipart form: stores its files and answers their paths, as Gradio's client expects.

    While a form arrives, its files have no name on disk, so whatever ends the request, or the server, frees them.
    """

    def __init__(self, store: UploadStore) -> None:
        self._store = store
        self._arriving = Budget(store.budget.total, store.budget.share)
        self._saving = asyncio.Lock()  # one file at a time is on disk twice

    async def __call__(self, request: Request) -> Response:
        """The response to a request whose Content-Length is checked already."""
        visitor = visitor_of(request)
        size = int(request.headers["content-length"])
        if size > self._store.max_request_bytes:
            limit = self._store.max_request_bytes >> 20
            return PlainTextResponse(f"That is more than {limit} MB, which this page takes at once.", 413)
        if self._store.budget.held + self._arriving.held + size > self._store.budget.total:
            return PlainTextResponse(FULL, 503)
        try:
            with self._arriving.holding(visitor, size):
                async with asyncio.timeout(limits.UPLOAD_SECONDS):
                    return JSONResponse(await self._store_files(request, visitor))
        except BudgetExceeded:
            return PlainTextResponse(FULL, 503)
        except TimeoutError:
            return PlainTextResponse("The upload took too long.", 408, {"Connection": "close"})
        except ClientDisconnect:
            return Response(status_code=499)  # as nginx logs it; nobody reads it
        except (MultiPartException, FormParserError, KeyError):
            return PlainTextResponse("That is no upload of files.", 400)
        except OSError:
            return PlainTextResponse("The server has no room for files at present.", 503)

    async def _store_files(self, request: Request, visitor: str) -> list[str]:
        """Paths of all files of the form, or none of them is kept."""
        parser = MultiPartParser(request.headers, request.stream(), max_files=limits.MAX_FILES, max_fields=0)
        form = await parser.parse()
        paths: list[str] = []
        try:
            for file in form.getlist("files"):
                if isinstance(file, UploadFile):
                    paths.append(await self._save(file, visitor))
                    await file.close()
        except BaseException:
            for path in paths:
                self._store.delete(path)
            raise
        finally:
            await form.close()
        return paths

    async def _save(self, file: UploadFile, visitor: str) -> str:
        async with self._saving:
            path = await asyncio.to_thread(self._store.save, file.filename or "", file.file)
        self._store.add(path, visitor)
        return str(path)
