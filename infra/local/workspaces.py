"""The images of a workspace, for the emulator of Container Instances: its editor, and the proxy that adds TLS."""

import compileall
import datetime
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from infra.emulator.processes import ROOT
from infra.local.keys import write_private

IDE = ROOT / "infra/local/ide/node_modules"
"""Where `make ide` installs code-server."""
IMAGES = {"DEV8_IMAGE": "vaibhavsing/dev8-workspace:latest", "DEV8_TLS_IMAGE": "caddy:2"}
"""The settings that name the two images, and their defaults. These programs stand for images of any name."""


def workspace_images(state: Path, url: str, settings: Mapping[str, str]) -> dict[str, object]:
    """The entries of both images; their files are copied to folders of `state`, which containers can read.

    `url` is the address of the app, to which a workspace reports.
    """
    workspace, proxy = (settings.get(name) or default for name, default in IMAGES.items())
    return {
        workspace: {**_workspace(_copied(state / "workspace", ROOT / "infra/workspace")), "internet": True,
                    "ways_out": [{"url": f"{url}/dev8/"}]},
        proxy: _proxy(_copied(state / "tls", ROOT / "infra/local/tls_proxy.py")),
    }  # fmt: skip


def _copied(folder: Path, source: Path) -> Path:
    """A new folder with this file, or the programs of this folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    for path in [source] if source.is_file() else [*source.glob("*.py"), *source.glob("*.sh")]:
        shutil.copy(path, folder)
    compileall.compile_dir(folder, quiet=1)
    return folder


def _workspace(folder: Path) -> dict[str, object]:
    """With code-server where it is installed, else with a page of our own."""
    has_editor = (IDE / ".ready").exists()
    path = f'PATH="$PATH":{shlex.quote(str(IDE / ".bin"))} ' if has_editor else ""
    # The volume is below the working directory, which is not / where nothing contains the container.
    start = f'cd workspace && WORKSPACE_DIR="$PWD" {path}exec sh {shlex.quote(str(folder / "start.sh"))}'
    return {"entrypoint": ["sh", "-c", start], "read_only": [str(folder), *([str(IDE)] if has_editor else [])]}


def _proxy(folder: Path) -> dict[str, object]:
    certificate = folder / "certificate.pem"
    write_private(certificate, new_certificate())
    command = ["python3", "-SEs", str(folder / "tls_proxy.py"), str(certificate)]
    return {"entrypoint": command, "read_only": [str(folder)]}


def new_certificate() -> str:
    """A certificate that no one has signed, and its key, in PEM."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "workspaces of this machine")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return (
        key.private_bytes(encoding, form, serialization.NoEncryption()).decode() + made.public_bytes(encoding).decode()
    )
