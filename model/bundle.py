"""A bundle: the folder a worker serves from. The ONNX graph, its vocabulary, and a manifest.

A worker refuses what is damaged, incomplete, or made for other code, with a sentence. Nothing in
a bundle is executed: JSON and ONNX only, and every file's SHA-256 stands in the manifest.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from model.blend import BlendWeights
from model.features import FEATURE_VERSION, Vocabulary
from model.fresh_score import FreshWeights
from model.index_report import IndexReport
from model.item_index import IndexFiles
from model.platt import TaskCalibration
from model.quotas import SourceQuotas
from model.signature import SIGNATURE_FILE, SignatureError, read_signature, verify
from model.source_report import SourceReport
from model.training_report import SearchReport, TrainingReport

FORMAT = 1
MODEL_FILE = "model.onnx"
ITEMS_FILE = "items.json"
MANIFEST_FILE = "manifest.json"
FILES = (MODEL_FILE, ITEMS_FILE)
TOWER_FILE = "tower.onnx"

Precision: TypeAlias = Literal["fp32", "fp16", "int8"]
"""The numbers that a graph computes in."""
MODEL_FILES: dict[Precision, str] = {
    "fp32": MODEL_FILE,
    "fp16": "model.fp16.onnx",
    "int8": "model.int8.onnx",
}
INDEX_FILES = ("states.onnx", "items.npy", "items.faiss")
"""In the order of ``IndexFiles``."""


class BundleError(RuntimeError):
    """A bundle that must not be served; the message says what to do."""


class ParityReport(msgspec.Struct, frozen=True, kw_only=True):
    """How far ONNX Runtime and torch agreed when the bundle was made."""

    max_difference: float
    identical_top_20: float
    users: int


class VariantReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a graph of one precision takes and gives, measured when the bundle was made."""

    bytes: int
    sha256: str
    milliseconds: dict[str, float]
    """Processor time of a run on one CPU thread, by users in the run."""
    ndcg: float
    """NDCG@10 of the blended lists on a sample of the validation baskets."""
    ndcg_lost: float
    """Share of the full graph's NDCG@10 on the same baskets; below zero where it gained."""
    max_difference: float | None
    """Of two scores, to the full graph, on real users; None where one is no number."""
    identical_top_20: float
    admitted: bool
    """Whether the bundle holds the graph: a refused one stands here with its figures alone."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle is and where it comes from."""

    format: int = FORMAT
    version: str = ""
    """Date and digest of the contents; filled in by ``write_bundle``."""
    created: str = ""
    files: dict[str, str] = {}
    """SHA-256 of every file beside the manifest; filled in by ``write_bundle``."""
    feature_version: int = FEATURE_VERSION
    history_length: int
    top_k: int
    training_range: tuple[str, str]
    """Times of the first and the last event learned from, RFC 3339."""
    seed: int
    command: str
    metrics: dict[str, dict[str, float]] = {}
    """Of each contender on each window: ``{"test/blend": {"ndcg@10": ..., ...}, ...}``."""
    parity: ParityReport
    repeats_allowed: bool = True
    """Whether an item may come back to someone who has bought it."""
    blend: BlendWeights
    quotas: SourceQuotas = SourceQuotas()
    """How many candidates each source may propose."""
    fresh: FreshWeights = FreshWeights()
    """What orders the candidates that hardly anyone knows yet."""
    sources: SourceReport | UnsetType = UNSET
    """How both were chosen; absent where they are the defaults, for want of a catalogue."""
    diversity: float = 0.0
    """How much the items of a list are to differ, see ``model.diversity``; 0 is not at all."""
    network: dict[str, int | float]
    task: str | UnsetType = UNSET
    """The kind of interaction that lists are made for; absent from bundles made before there were
    several."""
    tasks: dict[str, float] = {}
    """The kinds whose answers the network has learned, and what a basket of each weighed."""
    calibration: dict[str, TaskCalibration] = {}
    """By task: how the score of a listed item becomes the probability that it is taken."""
    popularity_half_life_days: float = 14.0
    variants: dict[str, VariantReport] = {}
    """By precision, "fp32" among them; empty where no other graph was asked for."""
    index: IndexReport | UnsetType = UNSET
    """Absent where none was made."""
    training: TrainingReport | UnsetType = UNSET
    """Absent from bundles that were made before it was kept."""
    search: SearchReport | UnsetType = UNSET
    """Absent where settings were not searched for."""


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read and found whole."""

    path: Path
    manifest: Manifest
    vocabulary: Vocabulary

    @property
    def model_path(self) -> Path:
        """Where ONNX Runtime finds the full graph."""
        return self.path / MODEL_FILE

    @property
    def tower_path(self) -> Path | None:
        """The graph that gives items outside the vocabulary their vectors; None where there is
        none."""
        return self.path / TOWER_FILE if TOWER_FILE in self.manifest.files else None

    def graph(self, precision: Precision = "fp32") -> Path:
        """Where ONNX Runtime finds the graph of a precision.

        Raises:
            BundleError: the bundle does not hold it.
        """
        name = MODEL_FILES[precision]
        if name in self.manifest.files:
            return self.path / name
        report = self.manifest.variants.get(precision)
        if report is None:
            reason = "none was made; run `nextclick train --variants`"
        elif report.max_difference is None:
            reason = "it was refused in training, for its scores were no numbers"
        else:
            reason = (
                "it was refused in training, for its lists lost "
                f"{report.ndcg_lost:.2%} of the NDCG@10"
            )
        raise BundleError(
            f"{self.path} has no {precision} graph: {reason}, or ask for another precision "
            "(NEXTCLICK_PRECISION=fp32)"
        )

    @property
    def has_index(self) -> bool:
        """Whether the nearest items can be found by an index."""
        return set(INDEX_FILES) <= self.manifest.files.keys()

    def index_files(self) -> IndexFiles:
        """Where the parts of the index are.

        Raises:
            BundleError: the bundle does not hold one.
        """
        if self.has_index:
            return IndexFiles(*(self.path / name for name in INDEX_FILES))
        report = self.manifest.index
        if report is UNSET:
            reason = "none was made; run `nextclick train --index always`"
        else:
            reason = (
                "it was refused in training, for the lists lost "
                f"{report.ndcg_lost:.2%} of the NDCG@10"
            )
        raise BundleError(
            f"{self.path} has no index of the items: {reason}, or have all items scored "
            "(NEXTCLICK_NEAREST=exact)"
        )


class _Version(msgspec.Struct):
    """Read before the rest, so that a newer manifest is called newer and not broken."""

    format: int
    feature_version: int


def write_bundle(
    out: Path,
    model: Path,
    item_ids: Sequence[str],
    manifest: Manifest,
    variants: Mapping[Precision, Path] | None = None,
    index: IndexFiles | None = None,
    tower: Path | None = None,
) -> Manifest:
    """Write a bundle folder in one step: a reader sees the whole of it or nothing.

    Args:
        out: the folder to make; an older bundle there is replaced.
        model: the exported graph, copied in.
        item_ids: the vocabulary, in row order.
        manifest: everything but ``version``, ``created`` and ``files``.
        variants: the graphs of other precisions that were admitted, copied in.
        index: the parts of an index that was admitted, copied in.
        tower: the graph of the item tower, copied in.

    Returns:
        The manifest as written.

    Raises:
        BundleError: when ``out`` exists and is not a bundle.
    """
    if out.exists() and not (out / MANIFEST_FILE).is_file():
        raise BundleError(f"{out} exists and is not a bundle; name another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        staging.chmod(0o755)
        graphs: dict[Precision, Path] = {**(variants or {}), "fp32": model}
        copied = {MODEL_FILES[precision]: file for precision, file in graphs.items()}
        copied |= dict(zip(INDEX_FILES, index, strict=True)) if index else {}
        copied |= {TOWER_FILE: tower} if tower else {}
        for name, file in copied.items():
            shutil.copyfile(file, staging / name)
        (staging / ITEMS_FILE).write_bytes(msgspec.json.encode(list(item_ids)))
        now = datetime.now(UTC)
        complete = msgspec.structs.replace(
            manifest,
            created=now.isoformat(timespec="seconds").replace("+00:00", "Z"),
            files={name: digest_of(staging / name) for name in (*sorted(copied), ITEMS_FILE)},
        )
        complete = msgspec.structs.replace(complete, version=_version(complete, now))
        encoded = msgspec.json.format(msgspec.json.encode(complete), indent=2)
        (staging / MANIFEST_FILE).write_bytes(encoded + b"\n")
        _swap(staging, out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return complete


def load_bundle(path: Path, public_key: Path | None = None) -> Bundle:
    """Read and check a bundle. Never imports torch.

    Args:
        path: its folder.
        public_key: PEM; where it is given, the bundle has to be signed by the private one.

    Raises:
        BundleError: when it is missing, damaged, incomplete, made for other code, or not signed.
    """
    manifest = read_manifest(path, public_key)
    found = {entry.name for entry in path.iterdir()} - {MANIFEST_FILE, SIGNATURE_FILE}
    if missing := sorted(set(manifest.files) - found) or sorted(set(FILES) - set(manifest.files)):
        raise BundleError(f"{path} lacks {', '.join(missing)}; copy the whole folder again")
    if extra := sorted(found - set(manifest.files)):
        raise BundleError(
            f"{path} holds {', '.join(extra)}, which its manifest does not name; "
            "remove it or copy the whole folder again"
        )
    for name, digest in manifest.files.items():
        if not (path / name).is_file():
            raise BundleError(f"{path / name} is no file; copy the whole folder again")
        if digest_of(path / name) != digest:
            raise BundleError(
                f"{path / name} is damaged (its SHA-256 is not the manifest's); "
                "copy the whole folder again or run `nextclick train`"
            )
    try:
        ids = msgspec.json.decode((path / ITEMS_FILE).read_bytes(), type=list[str])
        vocabulary = Vocabulary(ids)
    except (msgspec.DecodeError, ValueError) as error:
        raise BundleError(f"{path / ITEMS_FILE}: {error}; run `nextclick train` again") from None
    return Bundle(path, manifest, vocabulary)


def read_manifest(path: Path, public_key: Path | None = None) -> Manifest:
    """The manifest of a bundle, checked for format, feature version and signature only.

    Raises:
        BundleError: when there is none, it cannot be read, is made for other code, or is not
            signed though it has to be.
    """
    file, data = path / MANIFEST_FILE, manifest_bytes(path)
    if public_key is not None:
        # First: what nobody vouches for is not looked into.
        try:
            verify(data, read_signature(path), public_key)
        except SignatureError as error:
            raise BundleError(f"{path} {error}") from None
    try:
        version = msgspec.json.decode(data, type=_Version)
        if version.format > FORMAT:
            raise BundleError(
                f"{path} has bundle format {version.format}, this nextclick reads up to {FORMAT}; "
                "install the nextclick that made it"
            )
        if version.feature_version != FEATURE_VERSION:
            raise BundleError(
                f"{path} was trained with feature version {version.feature_version}, this "
                f"nextclick computes {FEATURE_VERSION}; run `nextclick train` again"
            )
        return msgspec.json.decode(data, type=Manifest)
    except msgspec.DecodeError as error:
        raise BundleError(f"{file} is damaged ({error}); copy the whole folder again") from None


def manifest_bytes(path: Path) -> bytes:
    """The manifest as it stands there. Raises BundleError where there is none."""
    try:
        return (path / MANIFEST_FILE).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise BundleError(
            f"no bundle at {path} ({MANIFEST_FILE} is not there); "
            "make one with `nextclick train`, or name another with NEXTCLICK_BUNDLE"
        ) from None


def digest_of(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _version(manifest: Manifest, now: datetime) -> str:
    """Date and 12 hexadecimal digits of what decides the lists: files, weights, settings."""
    decisive: tuple[object, ...] = (
        manifest.files, manifest.blend, manifest.popularity_half_life_days,
        manifest.repeats_allowed, manifest.feature_version, manifest.quotas,
    )  # fmt: skip
    if manifest.diversity:
        decisive = (*decisive, manifest.diversity)
    if manifest.fresh != FreshWeights():
        decisive = (*decisive, manifest.fresh)
    digest = hashlib.sha256(msgspec.json.encode(decisive, order="sorted")).hexdigest()
    return f"{now:%Y%m%d}-{digest[:12]}"


def _swap(staging: Path, out: Path) -> None:
    """Move ``staging`` to ``out``; the older bundle leaves only once the new one is complete."""
    if not out.exists():
        staging.rename(out)
        return
    retired = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    out.rename(retired / "old")
    staging.rename(out)
    shutil.rmtree(retired)
