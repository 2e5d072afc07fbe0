"""A real nginx with the redirects of a run, included as the head of the map tells."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
CONFIG = """
daemon off; master_process off; pid {folder}/pid; error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u;
    scgi_temp_path {folder}/s;
    {sizes}
    map $uri $rekey_new {{ default ""; include {folder}/rekey.map; }}
    server {{
        listen 127.0.0.1:{port};
        root {folder}/files;
        error_page 404 = @rekey_new;
        location @rekey_new {{ if ($rekey_new) {{ return 301 $rekey_new; }} return 404; }}
    }}
}}
"""


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    """A server's port: it has what lies in ``files`` of *folder*, and the redirects of ``rekey.map`` there."""
    if NGINX is None:
        pytest.skip("no nginx on the PATH (apt-get install nginx-light)")
    (folder / "files").mkdir(exist_ok=True)
    text = (folder / "rekey.map").read_text(encoding="utf-8")
    sizes = "\n".join(line.lstrip("# ") for line in text.splitlines() if "map_hash" in line)
    with socket.create_server(("127.0.0.1", 0)) as free:
        number: int = free.getsockname()[1]
    (folder / "nginx.conf").write_text(CONFIG.format(folder=folder, port=number, sizes=sizes))
    folder.chmod(0o755)
    with (folder / "nginx.log").open("wb") as log:
        process = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf")], stderr=log)
    try:
        end = time.monotonic() + 20
        while not _answers(number):
            assert process.poll() is None, (folder / "nginx.log").read_text()
            assert time.monotonic() < end, "nginx does not answer"
            time.sleep(0.05)
        yield number
    finally:
        process.terminate()
        process.wait(20)


def ask(port: int, path: str) -> tuple[int, str | None]:
    """Status and Location, as a browser asks for *path* (which is encoded)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        location = answer.headers["Location"]
        return answer.status, location and location.removeprefix(f"http://127.0.0.1:{port}")
    finally:
        connection.close()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
