"""Providers that are downloaded: once for all tasks, whole or not at all, and only read from then on."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import platform
import ssl
import sys
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from drystone.kinds.terraform import plugin_cache
from drystone.kinds.terraform.plugin_cache import PluginCache
from drystone.lab import certificates

SOURCE = "mirror.drystone.invalid/drystone/things"
PLATFORM = f"linux_{'arm64' if platform.machine() == 'aarch64' else 'amd64'}"
MODULE = f"""
terraform {{
  required_providers {{
    things = {{ source = "{SOURCE}" }}
  }}
}}
resource "terraform_data" "a" {{}}
"""


class Mirror(ThreadingHTTPServer):
    """A network mirror of one provider. `asked` counts; a download ends when `opened` is set."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: Counter[str] = Counter()
        self.opened = threading.Event()
        self.opened.set()
        package = io.BytesIO()
        with zipfile.ZipFile(package, "w") as made:
            entry = zipfile.ZipInfo("terraform-provider-things_v1.2.3")
            entry.external_attr = 0o755 << 16
            # A provider that works under any name.
            made.writestr(entry, f'#!/bin/sh\nexec "{sys.executable}" -P -m drystone.lab.launcher "$@"\n')
        index = {"versions": {"1.2.3": {}}}
        archive = {"archives": {PLATFORM: {"url": "things.zip", "hashes": [f"zh:{hashlib.sha256(package.getvalue()).hexdigest()}"]}}}
        self.files = {
            f"/{SOURCE}/index.json": json.dumps(index).encode(),
            f"/{SOURCE}/1.2.3.json": json.dumps(archive).encode(),
            f"/{SOURCE}/things.zip": package.getvalue(),
        }


class _Handler(BaseHTTPRequestHandler):
    server: Mirror

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        body = self.server.files.get(self.path)
        self.server.asked[self.path.rpartition("/")[2]] += 1
        if self.path.endswith(".zip"):
            self.server.opened.wait(60)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Type", "application/zip" if self.path.endswith(".zip") else "application/json")
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    """The mirror, on https as Terraform wants it."""
    certificate, key = certificates.make()
    (tmp_path / "certificate.pem").write_bytes(certificates.to_pem(certificate))
    (tmp_path / "key.pem").write_bytes(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    with Mirror() as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.opened.set()
            server.shutdown()
            thread.join()


@pytest.fixture
def env(mirror: Mirror, tmp_path: Path) -> dict[str, str]:
    """Variables that let Terraform download from the mirror, with a cache of the test's own."""
    config = tmp_path / "mirror.tfrc"
    url = f"https://localhost:{mirror.server_port}/"
    config.write_text(f'provider_installation {{\n  network_mirror {{\n    url = "{url}"\n  }}\n}}\n')
    return {
        "TF_CLI_CONFIG_FILE": str(config),
        "SSL_CERT_FILE": str(tmp_path / "certificate.pem"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache/drystone/terraform-plugins"


def test_tasks_side_by_side_download_a_provider_once(
    kind, new_attempt, write_module, configure, in_background, eventually, env, mirror, cache
):
    for name in ("one", "two", "three"):
        write_module(MODULE, name)
    mirror.opened.clear()
    attempts = {name: new_attempt(state=f"state-{name}") for name in ("one", "two", "three")}
    running = [in_background(partial(kind.run, attempt.ctx, configure(name, env=env))) for name, attempt in attempts.items()]
    eventually(lambda: mirror.asked["things.zip"] > 0)
    # The others have begun, and wait.
    eventually(lambda: all((attempt.ctx.state / "data").is_dir() for attempt in attempts.values()))
    mirror.opened.set()
    for each in running:
        each.join()
        assert each.error is None
    assert mirror.asked["things.zip"] == 1
    assert [str(path.relative_to(cache)) for path in cache.glob("*/*/*/*/*")] == [f"{SOURCE}/1.2.3/{PLATFORM}"]
    for attempt in attempts.values():
        (linked,) = (attempt.ctx.state / "data/providers").glob("*/*/*/*/*")
        assert linked.resolve().is_relative_to(cache)


def test_what_is_in_the_cache_takes_no_lock(kind, new_attempt, write_module, configure, env, mirror, cache):
    write_module(MODULE)
    kind.run(new_attempt().ctx, configure(env=env))
    (new_attempt().ctx.state / "data/drystone-init").unlink()
    with (cache / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kind.run(new_attempt().ctx, configure(env=env))
    assert mirror.asked["things.zip"] == 1


def test_a_killed_download_leaves_nothing_in_the_cache(tmp_path):
    cache = PluginCache(tmp_path)
    half = tmp_path / ".staging-killed" / SOURCE / "1.2.3" / PLATFORM
    half.mkdir(parents=True)
    with cache.filling(lambda: None) as staging:
        assert not half.exists()
        assert list(staging.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_task_that_ends_while_it_waits_leaves_the_lock_to_others(tmp_path):
    cache = PluginCache(tmp_path)
    with cache.filling(lambda: None), pytest.raises(InterruptedError), cache.filling(_stop):
        raise AssertionError("two at once")
    with cache.filling(_stop) as staging:
        assert staging.is_dir()


def _stop() -> None:
    raise InterruptedError


def test_the_cache_that_a_person_has_configured_is_used(tmp_path):
    config = tmp_path / "mine.tfrc"
    config.write_text('plugin_cache_dir = "$HOME/plugins"\n')
    assert plugin_cache.of({"TF_PLUGIN_CACHE_DIR": "/var/plugins"}).folder == Path("/var/plugins")
    assert plugin_cache.of({"TF_CLI_CONFIG_FILE": str(config)}).folder == Path.home() / "plugins"
    assert plugin_cache.of({"HOME": str(tmp_path)}).folder == tmp_path / ".cache/drystone/terraform-plugins"


@pytest.mark.parametrize(
    ("text", "downloads"),
    [
        ('resource "terraform_data" "a" {}', False),
        ('data "terraform_remote_state" "a" {}\nmodule "b" { source = "../b" }', False),
        ('resource "aws_instance" "a" {}', True),
        ('provider "google" {}', True),
        ('module "vpc" {\n  source = "terraform-aws-modules/vpc/aws"\n}', True),
        ('{"terraform": {"required_providers": {"aws": {"source": "hashicorp/aws"}}}}', True),
    ],
)
def test_only_what_may_download_providers_uses_the_cache(text, downloads):
    assert plugin_cache.downloads(text, []) is downloads
