"""The command: its arguments, the token, logs, metrics, and documents."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from discoformer.cli import main
from tests.serve.service import Service, running, tensor

TOKEN = "correct-horse-battery"
AUTHORISED = {"Authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "Missing argument"),
        (("other",), "no model 'other'"),
        (("{iris}",), "is no saved estimate"),
        (("base", "base"), "base has the name base, which is taken"),
        (("a b={fast}",), "no model 'a b="),
        (("base", "--host", "256.0.0.1"), "cannot listen at --host 256.0.0.1"),
        (
            ("base", "--token-file", "{short}"),
            "must have 16 characters or more of ASCII without blanks, got 5",
        ),
        (("base", "--token-file", "{absent}"), "does not exist"),
        (("base", "--port", "70000"), "70000 is not in the range"),
        (("base", "--threads", "0"), "0 is not in the range"),
    ],
)
def test_wrong_arguments_are_said(
    tmp_path: Path, files: dict[str, Path], arguments: tuple[str, ...], text: str
) -> None:
    (tmp_path / "short").write_text("short\n")
    (tmp_path / "data.csv").write_text("a,b\n1,2\n")
    names = {
        "iris": tmp_path / "data.csv",
        "fast": files["fast"],
        "short": tmp_path / "short",
        "absent": tmp_path / "absent",
    }
    done = CliRunner().invoke(main, ["serve", *(argument.format(**names) for argument in arguments)])
    assert done.exit_code in (1, 2)
    assert text in done.output


def test_a_port_in_use_is_said(service: Service) -> None:
    done = CliRunner().invoke(main, ["serve", "base", "--port", str(service.port)])
    assert done.exit_code == 1
    assert f"cannot listen at --host 127.0.0.1 --port {service.port}" in done.output


def test_without_the_extra_the_command_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['starlette'] = None\n"
        "from discoformer.cli import main; main(['serve', 'base'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert "starlette is required here but not installed: pip install starlette" in done.stderr


@pytest.mark.parametrize("by_file", [True, False])
def test_a_token_is_needed_for_all_but_health(tmp_path: Path, files: dict[str, Path], by_file: bool) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    arguments = ("--token-file", str(tmp_path / "token")) if by_file else ()
    variables = {"DISCOFORMER_TOKEN": "another-token-of-22-char" if by_file else TOKEN}
    with running(str(files["fast"]), *arguments, **variables) as service:
        for path in (
            "/v2",
            "/v2/models/fast",
            "/metrics",
            "/docs",
            "/openapi.json",
            "/nowhere",
            "/v2/models/fast/infer",
        ):
            for given in (
                None,
                "",
                TOKEN,
                f"Basic {TOKEN}",
                f"Bearer {TOKEN}x",
                "Bearer ",
                f"bearer {TOKEN[:-1]}é",
            ):
                headers = {} if given is None else {"Authorization": given.encode().decode("latin-1")}
                status, answer, got = service.ask("GET", path, headers=headers)
                assert (status, got["WWW-Authenticate"]) == (401, "Bearer")
                assert "Authorization: Bearer TOKEN" in answer["error"]
        assert service.ask("GET", "/v2/health/live")[0] == 200
        assert service.ask("GET", "/v2/health/ready")[0] == 200
        assert service.ask("GET", "/v2/health/../models/fast")[0] == 404
        assert service.ask("GET", "/v2", headers=AUTHORISED)[0] == 200
        body = {"inputs": [tensor("queries", np.array([[1.4, 0.2]]))]}
        assert service.infer("fast", body, **AUTHORISED)[0] == 200
        assert TOKEN not in json.dumps(service.lines)


def test_only_this_machine_is_listened_to_unless_told_otherwise(files: dict[str, Path]) -> None:
    with running(str(files["fast"])) as service:
        table = Path(f"/proc/{service.process.pid}/net/tcp").read_text().splitlines()
        listening = [row.split()[1] for row in table if f":{service.port:04X} 00000000:0000 0A" in row]
        assert listening == [f"0100007F:{service.port:04X}"]
        assert not [line for line in service.lines if line["level"] == "warning"]


def test_a_request_is_logged_in_a_line_and_counted(files: dict[str, Path]) -> None:
    with running(str(files["fast"])) as service:
        service.infer("fast", {"inputs": [tensor("queries", np.zeros((3, 2)))]})
        service.infer("fast", b"{")
        service.ask("GET", "/v2/health/live")
        text = service.ask("GET", "/metrics")[1].decode()
    found = [line for line in service.lines if line["message"] == "request"]
    assert [(line["status"], line["rows"]) for line in found] == [(200, 3), (400, 0)]
    assert found[0]["path"] == "/v2/models/fast/infer"
    assert 0 < found[0]["waited"] < found[0]["seconds"] < 10
    for line in (
        'discoformer_requests_total{model="fast",status="200"} 1.0',
        'discoformer_requests_total{model="fast",status="400"} 1.0',
        'discoformer_rows_total{model="fast"} 3.0',
        'discoformer_request_seconds_count{model="fast"} 2.0',
        "discoformer_held_requests 0.0",
    ):
        assert f"{line}\n" in text


def test_unknown_names_do_not_make_metrics_grow(service: Service) -> None:
    def size() -> int:
        return len(service.ask("GET", "/metrics")[1].splitlines())

    service.infer("name0", b"{}")
    before = size()
    for number in range(20):
        assert service.infer(f"name{number}", b"{}")[0] == 404
    assert size() == before


def test_the_openapi_document_is_valid_and_its_examples_are_answered(service: Service) -> None:
    status, document, _ = service.ask("GET", "/openapi.json")
    assert status == 200
    pytest.importorskip("openapi_spec_validator").validate(document)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            body = None
            if method == "post":
                example = operation["requestBody"]["content"]["application/json"]["example"]
                body = json.dumps(example).encode()
            assert service.ask(method.upper(), path, body)[0] == 200, path


def test_the_page_needs_nothing_from_elsewhere(service: Service) -> None:
    status, content, headers = service.ask("GET", "/docs")
    text = content.decode()
    assert status == 200
    assert headers.get_content_type() == "text/html"
    assert "POST /v2/models/best/infer" in text
    assert "length" in text  # columns of the estimate
    assert "<script" not in text
    assert f"curl http://{service.address}/v2/models/best/infer" in text
