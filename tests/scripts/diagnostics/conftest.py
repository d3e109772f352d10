from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from PIL import Image

from tests.scripts.diagnostics.node_key import save_key
from tests.scripts.diagnostics.tls_server import Identity, issue


@pytest.fixture(scope="module")
def authority() -> Identity:
    return issue("Test CA", authority=True)


@pytest.fixture
def ca(authority: Identity, tmp_path: Path) -> Path:
    return authority.save(tmp_path / "ca.pem")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "node"
    save_key(path, ec.generate_private_key(ec.SECP384R1()))
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for label, grey in (("dark", 60), ("light", 250)):
        (tmp_path / "site" / label).mkdir(parents=True)
        for index in range(6):
            array = np.full((8, 8), grey + index % 3, np.uint8)
            Image.fromarray(array).save(tmp_path / "site" / label / f"{index}.png")
    return tmp_path / "site"
