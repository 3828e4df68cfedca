"""The page's server: thin routes over a `Session` or a `SceneSession`, for this machine and this user alone.

It listens on 127.0.0.1. Every request must name that host (no other name that leads here, as in DNS rebinding), come
from the page itself where a browser says from where, and, for all but the page's own files, carry the token that the
address has behind its #, which browsers never send by themselves. Nothing in a request is a path: views are numbers.
"""

import hmac
import importlib.resources
import secrets
import socket
from typing import Any

import numpy as np

from dnerf_jax.labelling import runs_of_ids
from dnerf_jax.labelling.scene_session import SceneSession
from dnerf_jax.labelling.session import Session
from dnerf_jax.labelling.workspace import ConflictError, version

HOST = "127.0.0.1"
BODY = 4 << 20  # bytes of a request at most; a mask of 512 x 512 without any order takes 0.8 MB
_TOO_LARGE = f"it is of more than {BODY >> 20} MiB"
_LONGEST = 200  # characters of a path
_KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


def page() -> dict[str, tuple[bytes, str]]:
    """The page's files by name, and their kinds: all that is given out, whatever a request asks for."""
    folder = importlib.resources.files("dnerf_jax.labelling") / "page"
    files = [entry for entry in folder.iterdir() if entry.name[entry.name.rfind(".") :] in _KINDS]
    return {entry.name: (entry.read_bytes(), _KINDS[entry.name[entry.name.rfind(".") :]]) for entry in files}


def refusal(headers: dict[str, str], path: str, port: int, token: str) -> str:
    """Why a request is refused, or "": its host, where it comes from, its token, the size that it claims.

    headers: by lower-case names.
    """
    hosts = {f"{HOST}:{port}", f"localhost:{port}"}
    if headers.get("host") not in hosts:
        return "it names another host"
    if "origin" in headers and headers["origin"] not in {f"http://{host}" for host in hosts}:
        return "it comes from another page"
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return "it comes from another page"
    given = headers.get("x-token", "").encode()
    if path.startswith("/api/") and not hmac.compare_digest(given, token.encode()):
        return (
            "its token is not this server's: open the address that the server printed. What this browser has painted"
            " and could not save is saved from there"
        )
    if len(path) > _LONGEST:
        return f"its path is longer than {_LONGEST} characters"
    length = headers.get("content-length", "0")
    return "" if length.isdecimal() and len(length) < 12 and int(length) <= BODY else _TOO_LARGE


class Guard:
    """Refuses requests by `refusal`, and bodies that grow beyond BODY; adds the headers. ASGI."""

    def __init__(self, app: Any, port: int, token: str):
        self.app, self.port, self.token = app, port, token

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        pairs = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        reason = refusal(dict(pairs), scope["path"], self.port, self.token)
        if reason:
            status = 413 if reason == _TOO_LARGE else 403
            head = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close"), *_HEADERS]
            await send({"type": "http.response.start", "status": status, "headers": head})
            await send({"type": "http.response.body", "body": f"refused: {reason}\n".encode()})
            return
        received = 0

        async def limited() -> Any:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > BODY:
                raise _TooLargeError(f"refused: {_TOO_LARGE}")
            return message

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        await self.app(scope, limited, with_headers)


class _TooLargeError(Exception):
    pass


def make_app(session: Session | SceneSession, port: int, token: str) -> Any:
    """The ASGI application. Raises ImportError, naming the extra, without Starlette."""
    try:
        from starlette.applications import Starlette
        from starlette.concurrency import run_in_threadpool
        from starlette.exceptions import HTTPException
        from starlette.requests import Request
        from starlette.responses import JSONResponse, PlainTextResponse, Response
        from starlette.routing import Route
    except ImportError as error:
        raise ImportError(f"the page needs Starlette and uvicorn ({error}): pip install dnerf_jax[label]") from error
    own = page()

    def file(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in own:
            raise HTTPException(404)
        body, kind = own[name]
        return Response(body, media_type=kind)

    def ids(*arrays: np.ndarray, headers: dict[str, str] | None = None) -> Response:
        body = b"".join(np.ascontiguousarray(array, np.uint8).tobytes() for array in arrays)
        return Response(body, media_type="application/octet-stream", headers=headers)

    def overview(request: Request) -> Response:
        return JSONResponse(session.overview())

    def image(request: Request) -> Response:
        return Response(session.image(request.path_params["index"]), media_type="image/png")

    def mask(request: Request) -> Response:
        there = session.space.mask(request.path_params["index"])
        return ids(there, headers={"X-Version": version(there)})

    async def save(request: Request) -> Response:
        body, index = await request.body(), request.path_params["index"]

        def write() -> str:
            space = session.space
            made = runs_of_ids.decode(body, space.resolution, space.label_map)
            return space.save(index, made, request.headers.get("x-version", ""))

        return JSONResponse({"version": await run_in_threadpool(write)})

    def edges(request: Request) -> Response:
        return ids(session.edges(request.path_params["index"]))

    def prediction(request: Request) -> Response:
        return ids(*session.prediction(request.path_params["index"]))

    def turned(request: Request) -> Response:
        return ids(*session.turned(request.path_params["index"], *angles(request)))

    def add(request: Request) -> Response:
        return JSONResponse({"index": session.add(request.path_params["index"], *angles(request))})

    def angles(request: Request) -> tuple[float, float]:
        try:
            yaw, pitch = (np.radians(float(request.query_params[name])) for name in ("yaw", "pitch"))
        except (KeyError, ValueError):
            raise ValueError("yaw and pitch are missing, or no numbers: give degrees") from None
        if not (abs(yaw) <= np.pi and abs(pitch) < np.pi / 2):
            raise ValueError("yaw is beyond 180 degrees or pitch beyond 90")
        return float(yaw), float(pitch)

    def job(request: Request) -> Response:
        return JSONResponse(session.job())

    def stop(request: Request) -> Response:
        session.stop()
        return JSONResponse(session.job())

    def of_labels(session: Session) -> list[Route]:
        def carried(request: Request) -> Response:
            return ids(session.carried(request.path_params["index"]))

        def train(request: Request) -> Response:
            session.train()
            return JSONResponse(session.job())

        return [Route(f"{view}/carried", carried), Route("/api/job", train, methods=["POST"])]

    def of_a_scene(session: SceneSession) -> list[Route]:
        def shown(request: Request) -> Response:
            session.open(request.path_params["index"])
            return Response(status_code=204)

        def edit(request: Request) -> Response:
            session.edit(request.path_params["index"], request.headers.get("x-version", ""))
            return JSONResponse(session.job())

        def comparison(request: Request) -> Response:
            return Response(session.comparison(request.path_params["index"]), media_type="image/png")

        return [
            Route(f"{view}/open", shown, methods=["POST"]),
            Route(f"{view}/job", edit, methods=["POST"]),
            Route(f"{view}/comparison", comparison),
        ]

    def told(status: int) -> Any:
        return lambda request, error: PlainTextResponse(f"{error}\n", status)

    view = "/api/views/{index:int}"
    routes = [
        Route("/", file),
        Route("/page/{name}", file),
        Route("/api/pack", overview),
        Route(f"{view}/image", image),
        Route(f"{view}/mask", mask, methods=["GET"]),
        Route(f"{view}/mask", save, methods=["PUT"]),
        Route(f"{view}/edges", edges),
        Route(f"{view}/prediction", prediction),
        Route(f"{view}/turned", turned, methods=["GET"]),
        Route(f"{view}/turned", add, methods=["POST"]),
        Route("/api/job", job, methods=["GET"]),
        Route("/api/job", stop, methods=["DELETE"]),
        *(of_labels(session) if isinstance(session, Session) else of_a_scene(session)),
    ]
    answers: dict[Any, Any] = {
        ConflictError: told(409),
        ValueError: told(400),
        IndexError: told(404),
        _TooLargeError: told(413),
    }
    return Guard(Starlette(routes=routes, exception_handlers=answers), port, token)


def serve(session: Session | SceneSession, port: int) -> None:
    """Serves the page until it is interrupted, and says where.

    port: 0 is any that is free. Raises ValueError: it is taken. ImportError as `make_app`.
    """
    token = secrets.token_urlsafe(24)
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
        except OSError as error:
            raise ValueError(f"the port {port} cannot be had ({error.strerror}): give another, --port 0 any") from error
        port = listening.getsockname()[1]
        app = make_app(session, port, token)
        import uvicorn

        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=2))
        print(f"open http://{HOST}:{port}/#{token} in a browser; Ctrl-C ends it, and all is saved", flush=True)
        server.run(sockets=[listening])
