"""Fixtures of images behind URLs that tests share."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from helpers import lively_model
from moto.server import ThreadedMotoServer
from remote_images import NET, write_image

from unetmm.models.weights import save_model
from unetmm.options import Options


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    save_model(path, NET, lively_model(NET).tensors, {"task": "denoise"})
    return path


@pytest.fixture
def options(model: Path) -> Options:
    return Options(model=model, budget_bytes=10**9)


@pytest.fixture(scope="package")  # drivers know one server as long as the process lives
def bucket() -> Iterator[str]:
    """The URL of a bucket that holds in.zarr; the server is named by the environment."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "somebody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        fsspec.filesystem("s3").mkdir("images")
        write_image("s3://images/in.zarr")
        yield "s3://images"
    server.stop()


@pytest.fixture
def memory() -> Iterator[str]:
    """An empty object store within this process, with an image."""
    store = fsspec.filesystem("memory")
    store.store.clear()
    write_image("memory://images/in.zarr")
    yield "memory://images"
    store.store.clear()
