"""The site as files and as a server: what is downloaded, checked, written, served and refused."""

import base64
import hashlib
import io
import re
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from discoformer.cli import main
from discoformer.errors import InputError, ModelError, ModelNotFoundError
from discoformer.onnx.names import MIXTURE
from discoformer.play import onnxruntime_web, site
from discoformer.play.server import TYPES
from discoformer.play.site import GRAPH, PAGE, checked_model, package

CONTENT = {"ort.wasm.bundle.min.mjs": b"export {};", "ort-wasm-simd-threaded.wasm": b"\0asm\1\0\0\0"}
ROOT = Path(__file__).parents[2]
MODULES = [path.relative_to(package()).as_posix() for path in package().rglob("*.js")]


@pytest.fixture
def web(tmp_path: Path) -> Path:
    """A folder with small files that have the names of the files of onnxruntime-web."""
    folder = tmp_path / "web"
    folder.mkdir()
    for name, content in CONTENT.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def packed(folder: Path, names: list[str]) -> tuple[str, str]:
    """Pack files as npm does; return the URL and the hash of the archive."""
    path = folder / "package.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            entry = tarfile.TarInfo(f"package/dist/{name}")
            entry.size = len(CONTENT[name])
            archive.addfile(entry, io.BytesIO(CONTENT[name]))
    digest = hashlib.sha512(path.read_bytes()).digest()
    return path.as_uri(), f"sha512-{base64.b64encode(digest).decode()}"


def test_the_archive_is_fetched_once_and_kept(tmp_path: Path, cache: Path) -> None:
    url, integrity = packed(tmp_path, list(CONTENT))
    folder = onnxruntime_web.cached(url, integrity)
    assert folder.is_relative_to(cache)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENT
    (tmp_path / "package.tgz").unlink()
    assert onnxruntime_web.cached(url, integrity) == folder
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_fetching_from_many_threads_at_once(tmp_path: Path, cache: Path) -> None:
    url, integrity = packed(tmp_path, list(CONTENT))
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(onnxruntime_web.cached(url, integrity)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert [path.name for path in found[0].parent.iterdir()] == [found[0].name]


def test_an_archive_with_another_hash_is_refused(tmp_path: Path, cache: Path) -> None:
    url, _ = packed(tmp_path, list(CONTENT))
    with pytest.raises(InputError, match=r"has the hash sha512-.*needed sha512-.*--onnxruntime-web"):
        onnxruntime_web.cached(url, onnxruntime_web.INTEGRITY)
    assert not any((cache / "discoformer").iterdir())


def test_an_archive_without_the_files_is_refused(tmp_path: Path, cache: Path) -> None:
    url, integrity = packed(tmp_path, list(CONTENT)[:1])
    with pytest.raises(InputError, match=r"must hold package/dist/ort-wasm-simd-threaded\.wasm"):
        onnxruntime_web.cached(url, integrity)
    assert not any((cache / "discoformer").iterdir())


@pytest.mark.usefixtures("cache")
def test_without_network_the_message_says_what_to_do() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/package.tgz"
    with pytest.raises(ConnectionError, match=r"cannot be downloaded .*--onnxruntime-web"):
        onnxruntime_web.cached(url)


def test_the_site_is_written_with_all_its_files(tmp_path: Path, web: Path, model: Path) -> None:
    out = tmp_path / "site"
    arguments = ["play", "--model", str(model), "--onnxruntime-web", str(web), "--out", str(out)]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    written = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert written == (
        {path.name: path.read_bytes() for path in PAGE.iterdir()}
        | {f"ort/{name}": content for name, content in CONTENT.items()}
        | {f"discoformer/{name}": (package() / name).read_bytes() for name in MODULES}
        | {f"model/{GRAPH.file}": (model / GRAPH.file).read_bytes()}
    )


def test_the_wheel_holds_the_package_where_the_site_looks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]["js/src"]
    assert package() == ROOT / "js" / "src"
    installed = tmp_path / included
    installed.mkdir(parents=True)
    monkeypatch.setattr(site, "__file__", str(tmp_path / "discoformer" / "play" / "site.py"))
    assert package() == installed


def test_the_page_names_only_files_that_are_there_and_no_other_host() -> None:
    names = {path.name for path in PAGE.iterdir()} | {f"discoformer/{name}" for name in MODULES}
    assert "discoformer/worker_thread.js" in names
    for path in PAGE.iterdir():
        assert path.suffix in TYPES
        text = path.read_text(encoding="utf-8")
        imported = re.findall(r'(?:from |new URL\(|src=|href=)"(?:\./)?([\w./-]+\.(?:js|css|txt))"', text)
        assert set(imported) <= names, path.name
        if path.suffix in (".js", ".css"):
            assert not re.search(r"https?://", text), path.name
    assert "https:" not in (PAGE / "index.html").read_text(encoding="utf-8")


def test_a_model_without_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    with pytest.raises(ModelNotFoundError, match=r"needs mixture\.onnx, .* has no such file: export"):
        checked_model(tmp_path)


def test_a_model_that_gives_no_mixture_is_refused(tmp_path: Path, save_model: Callable[..., Path]) -> None:
    with pytest.raises(ModelError, match=r"missing outputs \['mixture_freedom'.*export the model again"):
        checked_model(save_model(tmp_path, MIXTURE[:3]))


def test_a_folder_without_the_files_is_refused(tmp_path: Path, model: Path) -> None:
    arguments = ["play", "--model", str(model), "--onnxruntime-web", str(tmp_path), "--no-browser"]
    found = CliRunner().invoke(main, arguments)
    assert found.exit_code == 1
    assert "got no ort.wasm.bundle.min.mjs" in found.stderr


def test_a_port_in_use_is_refused(web: Path, model: Path) -> None:
    arguments = ["play", "--model", str(model), "--onnxruntime-web", str(web), "--no-browser"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        found = CliRunner().invoke(main, [*arguments, "--port", port])
    assert found.exit_code == 1
    assert f"cannot listen at --host 127.0.0.1 --port {port}" in found.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_server_serves_the_site_alone_and_ends(web: Path, model: Path, number: int, code: int) -> None:
    command = [sys.executable, "-W", "error", "-c", "from discoformer.cli import main; main()", "play"]
    command += ["--model", str(model), "--port", "0", "--no-browser", "--onnxruntime-web", str(web)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        line = process.stderr.readline()
        try:
            url = re.search(r"http://127\.0\.0\.1:\d+/", line)
            assert url, line
            for name, kind in [
                ("", "text/html"),
                ("index.html?n=1", "text/html"),
                ("app.js", "text/javascript"),
                ("ort/ort.wasm.bundle.min.mjs", "text/javascript"),
                ("ort/ort-wasm-simd-threaded.wasm", "application/wasm"),
                ("model/mixture.onnx", "application/octet-stream"),
                ("discoformer/table/cells.js", "text/javascript"),
            ]:
                with urllib.request.urlopen(url.group() + name, timeout=30) as answer:
                    assert answer.headers.get_content_type() == kind
                    assert len(answer.read()) == int(answer.headers["Content-Length"])
            for name in ("model/config.json", "../server.py", "%2e%2e/server.py", "model/", "discoformer/"):
                with pytest.raises(urllib.error.HTTPError, match="404") as refused:
                    urllib.request.urlopen(url.group() + name, timeout=30)
                refused.value.close()
        finally:
            process.send_signal(number)
            rest = process.stderr.read()
        assert process.wait(30) == code
    assert "Traceback" not in rest
