"""The verb ``nextclick sign-bundle``."""

from pathlib import Path
from typing import Annotated

import typer

from stream.cli_output import Json, say
from stream.settings import Settings


def sign_bundle(
    key: Annotated[
        Path,
        typer.Option(
            "--key",
            help="Private key: Ed25519, PEM, without a password, for nobody else to read.",
            show_default=False,
        ),
    ],
    bundle: Annotated[
        Path | None,
        typer.Argument(help="Folder; by default the bundle of the settings.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Sign a bundle, so that whoever has the public key serves it and no other one.

    `openssl genpkey -algorithm ed25519 -out signing.pem` makes a private key, and `openssl pkey
    -in signing.pem -pubout -out public.pem` the public one, which goes to the workers
    (NEXTCLICK_BUNDLE_PUBLIC_KEY). The private key stays where bundles are made.
    """
    from model.signed_bundle import sign_bundle as sign

    path = bundle or Settings().bundle
    manifest = sign(path, key)
    say(
        as_json,
        {"bundle": str(path), "version": manifest.version},
        f"{path} ({manifest.version}) is signed",
    )
