"""Where a key is set a bundle is served only as it was signed."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from model.bundle import MANIFEST_FILE, MODEL_FILE, BundleError, load_bundle
from model.signature import SIGNATURE_FILE
from model.signed_bundle import sign_bundle
from stream import cli
from stream.settings import Settings, SettingsError
from stream.worker import build_parts
from tests.tiny import tiny_bundle


def openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two pairs of keys, and of a bundle that the first one has signed."""
    folder = tmp_path_factory.mktemp("signed")
    for name in ("own", "strange"):
        private = str(folder / f"{name}.pem")
        openssl("genpkey", "-algorithm", "ed25519", "-out", private)
        openssl("pkey", "-in", private, "-pubout", "-out", str(folder / f"{name}.pub"))
    tiny_bundle(folder / "bundle", ["tea-1", "tea-2"])
    sign_bundle(folder / "bundle", folder / "own.pem")
    return folder


@pytest.fixture
def bundle(folder: Path, tmp_path: Path) -> Path:
    """A copy, to be changed."""
    return Path(shutil.copytree(folder / "bundle", tmp_path / "bundle"))


def test_what_was_signed_is_served(folder: Path) -> None:
    signed = load_bundle(folder / "bundle", folder / "own.pub")
    assert signed.manifest == load_bundle(folder / "bundle").manifest, "without a key as ever"
    assert len(signed.vocabulary.ids) == 2


def change_manifest(bundle: Path) -> None:
    file = bundle / MANIFEST_FILE
    file.write_bytes(file.read_bytes().replace(b'"seed"', b' "seed"'))


def remove_signature(bundle: Path) -> None:
    (bundle / SIGNATURE_FILE).unlink()


def cut_signature(bundle: Path) -> None:
    file = bundle / SIGNATURE_FILE
    file.write_bytes(file.read_bytes()[:-1])


def lengthen_signature(bundle: Path) -> None:
    file = bundle / SIGNATURE_FILE
    file.write_bytes(file.read_bytes() + b"\n")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (change_manifest, "is not what was signed"),
        (remove_signature, r"is not signed \(manifest.sig is not there\)"),
        (cut_signature, "is not what was signed"),
        (lengthen_signature, "is not what was signed"),
    ],
)
def test_what_was_not_signed_so_is_refused(
    folder: Path, bundle: Path, change: Callable[[Path], None], words: str
) -> None:
    change(bundle)
    with pytest.raises(BundleError, match=f"{words}.*nextclick sign-bundle"):
        load_bundle(bundle, folder / "own.pub")


def test_a_changed_file_is_refused_by_the_digest_that_was_signed(
    folder: Path, bundle: Path
) -> None:
    with (bundle / MODEL_FILE).open("ab") as file:
        file.write(b"x")
    with pytest.raises(BundleError, match="is damaged"):
        load_bundle(bundle, folder / "own.pub")


def test_another_key_s_signature_is_refused(folder: Path) -> None:
    with pytest.raises(BundleError, match=r"signed by another key than that of .*strange\.pub"):
        load_bundle(folder / "bundle", folder / "strange.pub")


def test_openssl_signs_too(folder: Path, bundle: Path) -> None:
    remove_signature(bundle)
    openssl(
        "pkeyutl", "-sign", "-rawin", "-inkey", str(folder / "own.pem"),
        "-in", str(bundle / MANIFEST_FILE), "-out", str(bundle / SIGNATURE_FILE),
    )  # fmt: skip
    load_bundle(bundle, folder / "own.pub")


def test_a_worker_refuses_what_is_not_signed(folder: Path, bundle: Path) -> None:
    remove_signature(bundle)
    settings = Settings(bundle=bundle, bundle_public_key=folder / "own.pub", provider="cpu")
    with pytest.raises(BundleError, match="nextclick sign-bundle"):
        build_parts(settings)


def test_without_the_package_nothing_is_served(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    with pytest.raises(BundleError, match=r"pip install 'nextclick\[signed\]'"):
        load_bundle(folder / "bundle", folder / "own.pub")


def test_whatever_opens_a_bundle_asks_for_the_signature() -> None:
    """But the demonstration, which has made its own a moment ago."""
    for path in Path("stream").rglob("*.py"):
        calls = re.findall(r"load_bundle\(.*\)", path.read_text("utf-8"))
        if path.name != "demo.py":
            assert all("bundle_public_key" in call for call in calls), path


def test_the_verb_signs_anew(folder: Path, bundle: Path) -> None:
    run = CliRunner().invoke(
        cli.app, ["sign-bundle", str(bundle), "--key", str(folder / "strange.pem")]
    )
    assert run.exit_code == 0, run.output
    load_bundle(bundle, folder / "strange.pub")
    assert sorted(each.name for each in bundle.parent.iterdir()) == ["bundle"]


@pytest.mark.parametrize("content", ["", "no key", None])
def test_a_key_that_is_none_is_told(tmp_path: Path, folder: Path, content: str | None) -> None:
    key = tmp_path / "key.pem"
    if content is None:
        openssl("genpkey", "-algorithm", "ed448", "-out", str(key))
    else:
        key.write_text(content)
    with pytest.raises(BundleError, match=r"openssl genpkey -algorithm ed25519"):
        sign_bundle(folder / "bundle", key)
    with pytest.raises(BundleError, match=r"openssl pkey -in"):
        load_bundle(folder / "bundle", key)


def test_a_key_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="`bundle_public_key` names"):
        Settings(bundle_public_key=tmp_path / "none.pub")
