"""A bundle is served whole or refused with a sentence that says what to do."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from model.blend import BlendWeights
from model.bundle import (
    FORMAT,
    ITEMS_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    BundleError,
    Manifest,
    ParityReport,
    VariantReport,
    load_bundle,
    write_bundle,
)
from model.features import FEATURE_VERSION
from model.fresh_score import FreshWeights
from model.index_report import IndexReport
from model.item_index import IndexFiles
from model.training_report import (
    EpochReport,
    FoldReport,
    SearchReport,
    TrainingReport,
    TrialReport,
)

ITEMS = ["milk", "面包", "🥚", 'a "quoted" id']


def manifest(**changes: object) -> Manifest:
    """What training would hand over."""
    plain = Manifest(
        history_length=50,
        top_k=3,
        training_range=("2017-01-01T00:00:00Z", "2017-12-04T00:00:00Z"),
        seed=7,
        command="nextclick train",
        metrics={"test/blend": {"ndcg@10": 0.2}},
        parity=ParityReport(max_difference=1e-6, identical_top_20=1.0, users=500),
        blend=BlendWeights(network=0.3, repeat=1.7, unknown=-2.5),
        network={"dim": 64, "dropout": 0.1},
    )
    return msgspec.structs.replace(plain, **changes)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A bundle does not care what the graph is."""
    path = tmp_path / "exported.onnx"
    path.write_bytes(b"a graph")
    return path


@pytest.fixture
def bundle(tmp_path: Path, model: Path) -> Path:
    path = tmp_path / "bundles" / "shop"
    write_bundle(path, model, ITEMS, manifest())
    return path


def test_what_was_written_is_read(bundle: Path, model: Path) -> None:
    loaded = load_bundle(bundle)
    assert loaded.vocabulary.ids == ITEMS
    assert loaded.model_path.read_bytes() == model.read_bytes()
    told = loaded.manifest
    assert told == manifest(version=told.version, created=told.created, files=told.files)
    assert set(told.files) == {MODEL_FILE, ITEMS_FILE}
    assert told.created.endswith("Z")
    assert told.version.startswith(told.created[:10].replace("-", "") + "-")


INDEX = IndexReport(
    bytes=10, lists=4, probed=2, top_k=3, recall=0.98, milliseconds={"1": 0.1},
    exact_milliseconds={"1": 0.2}, ndcg=0.2, ndcg_lost=0.001, admitted=True,
)  # fmt: skip


@pytest.fixture
def index(tmp_path: Path) -> IndexFiles:
    """A bundle does not care what the index is."""
    files = IndexFiles(*(tmp_path / name for name in ("states", "vectors", "lists")))
    for path in files:
        path.write_bytes(path.name.encode())
    return files


def test_an_index_is_part_of_the_bundle(tmp_path: Path, model: Path, index: IndexFiles) -> None:
    path = tmp_path / "indexed"
    written = write_bundle(path, model, ITEMS, manifest(index=INDEX), index=index)
    loaded = load_bundle(path)
    assert loaded.has_index and loaded.manifest == written
    assert loaded.manifest.index == INDEX
    for ours, theirs in zip(loaded.index_files(), index, strict=True):
        assert ours.parent == path
        assert ours.read_bytes() == theirs.read_bytes()
    loaded.index_files().lists.write_bytes(b"other lists")
    with pytest.raises(BundleError, match=r"items\.faiss is damaged"):
        load_bundle(path)


def test_an_index_that_is_not_there_is_an_error_that_says_why(
    tmp_path: Path, bundle: Path, model: Path
) -> None:
    loaded = load_bundle(bundle)
    assert not loaded.has_index
    with pytest.raises(BundleError, match=r"none was made; run `nextclick train --index always`"):
        loaded.index_files()
    refused = msgspec.structs.replace(INDEX, admitted=False, ndcg_lost=0.031)
    write_bundle(tmp_path / "refused", model, ITEMS, manifest(index=refused))
    with pytest.raises(BundleError, match=r"refused in training, for the lists lost 3\.10%"):
        load_bundle(tmp_path / "refused").index_files()


def test_a_training_and_a_search_are_told_where_there_were_such(bundle: Path, model: Path) -> None:
    # Older bundles tell neither, and are read all the same.
    said = msgspec.json.decode((bundle / MANIFEST_FILE).read_bytes())
    assert not {"training", "search"} & said.keys()
    assert not load_bundle(bundle).manifest.training
    assert not load_bundle(bundle).manifest.search
    training = TrainingReport(
        seconds=1.5,
        epoch=2,
        curve=[EpochReport(loss=None, ndcg=0.1)],
    )
    trial = TrialReport(settings={"dim": 64}, ndcg=[0.2], mean=0.2, spread=None, seconds=9.5)
    search = SearchReport(
        settings={"dim": 64}, trials=[trial], trials_made=1,
        folds=[FoldReport(since="2017-12-04T00:00:00Z", until="2017-12-18T00:00:00Z", baskets=7)],
        minutes=5, seconds=9.5, finished=False, seed=7, command="nextclick train",
    )  # fmt: skip
    write_bundle(bundle, model, ITEMS, manifest(training=training, search=search))
    loaded = load_bundle(bundle).manifest
    assert (loaded.training, loaded.search) == (training, search)


def test_nothing_else_is_left_beside_a_bundle(bundle: Path) -> None:
    assert [entry.name for entry in bundle.parent.iterdir()] == ["shop"]


def test_the_version_follows_what_decides_the_lists(bundle: Path, model: Path) -> None:
    def version(items: list[str] = ITEMS, **changes: object) -> str:
        return write_bundle(bundle, model, items, manifest(**changes)).version.split("-")[1]

    same = version()
    assert version(command="another", metrics={}) == same
    others = {
        version(ITEMS[:2]),
        version(blend=BlendWeights(network=0.4)),
        version(repeats_allowed=False),
        version(popularity_half_life_days=7.0),
        version(fresh=FreshWeights(category=0.5)),
    }
    model.write_bytes(b"another graph")
    others.add(version())
    assert len(others) == 6
    assert same not in others


def test_a_newer_bundle_takes_the_place_of_an_older_one(bundle: Path, model: Path) -> None:
    write_bundle(bundle, model, ITEMS[:1], manifest(seed=8))
    assert load_bundle(bundle).vocabulary.ids == ITEMS[:1]
    assert [entry.name for entry in bundle.parent.iterdir()] == ["shop"]


def test_a_folder_that_is_no_bundle_is_not_overwritten(tmp_path: Path, model: Path) -> None:
    precious = tmp_path / "photos"
    precious.mkdir()
    (precious / "cat.png").write_bytes(b"cat")
    with pytest.raises(BundleError, match="is not a bundle; name another folder"):
        write_bundle(precious, model, ITEMS, manifest())
    assert [entry.name for entry in precious.iterdir()] == ["cat.png"]


def test_a_failed_write_leaves_the_older_bundle(bundle: Path, tmp_path: Path) -> None:
    before = load_bundle(bundle).manifest
    with pytest.raises(FileNotFoundError):
        write_bundle(bundle, tmp_path / "absent.onnx", ITEMS, manifest(seed=8))
    assert load_bundle(bundle).manifest == before
    assert [entry.name for entry in bundle.parent.iterdir()] == ["shop"]


def report(**changes: object) -> VariantReport:
    """What is measured of a graph."""
    plain = VariantReport(
        bytes=7, sha256="0" * 64, milliseconds={"1": 0.2}, ndcg=0.2, ndcg_lost=0.001,
        max_difference=0.01, identical_top_20=0.9, admitted=True,
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


@pytest.fixture
def with_variants(bundle: Path, model: Path, tmp_path: Path) -> Path:
    """A bundle whose int8 graph was admitted and whose fp16 graph was refused."""
    small = tmp_path / "small.onnx"
    small.write_bytes(b"a small graph")
    variants = {
        "fp32": report(ndcg_lost=0.0),
        "int8": report(),
        "fp16": report(ndcg_lost=0.0123, admitted=False),
    }
    write_bundle(bundle, model, ITEMS, manifest(variants=variants), {"int8": small})
    return bundle


def test_a_variant_that_was_admitted_is_read(with_variants: Path) -> None:
    loaded = load_bundle(with_variants)
    assert loaded.graph("int8").read_bytes() == b"a small graph"
    assert loaded.graph() == loaded.graph("fp32") == loaded.model_path
    assert loaded.manifest.variants["int8"] == report()
    assert sorted(loaded.manifest.files) == [ITEMS_FILE, "model.int8.onnx", MODEL_FILE]


def test_a_variant_that_is_not_there_is_refused(bundle: Path, with_variants: Path) -> None:
    refused = r"has no fp16 graph: it was refused in training, .* lost 1\.23% .*PRECISION=fp32"
    with pytest.raises(BundleError, match=refused):
        load_bundle(with_variants).graph("fp16")
    write_bundle(bundle, load_bundle(bundle).model_path, ITEMS, manifest())
    with pytest.raises(BundleError, match="no int8 graph: none was made; run `nextclick train --v"):
        load_bundle(bundle).graph("int8")


def test_a_damaged_variant_is_refused(with_variants: Path) -> None:
    (with_variants / "model.int8.onnx").write_bytes(b"another graph")
    with pytest.raises(BundleError, match=r"model\.int8\.onnx is damaged .*copy the whole folder"):
        load_bundle(with_variants)
    (with_variants / "model.int8.onnx").unlink()
    with pytest.raises(BundleError, match=r"lacks model\.int8\.onnx"):
        load_bundle(with_variants)


def change(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda bundle: (bundle / name).write_bytes(data)


def edit(**changes: object) -> Callable[[Path], object]:
    """Change fields of the manifest on disk."""

    def apply(bundle: Path) -> None:
        fields = msgspec.json.decode((bundle / MANIFEST_FILE).read_bytes())
        (bundle / MANIFEST_FILE).write_bytes(msgspec.json.encode({**fields, **changes}))

    return apply


def absent(bundle: Path) -> None:
    bundle.rename(bundle.with_name("elsewhere"))


def a_file(bundle: Path) -> None:
    absent(bundle)
    bundle.write_bytes(b"")


def flip_one_bit(bundle: Path) -> None:
    data = bytearray((bundle / MODEL_FILE).read_bytes())
    data[3] ^= 1
    (bundle / MODEL_FILE).write_bytes(data)


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (absent, r"no bundle at .*make one with `nextclick train`"),
        (a_file, r"no bundle at .*make one with `nextclick train`"),
        (lambda bundle: (bundle / MANIFEST_FILE).unlink(), "no bundle at"),
        (flip_one_bit, r"model\.onnx is damaged \(its SHA-256 .*copy the whole folder again"),
        (change(ITEMS_FILE, b"[]"), r"items\.json is damaged"),
        (lambda bundle: (bundle / MODEL_FILE).unlink(), "lacks model.onnx; copy the whole folder"),
        (change("notes.txt", b"?"), r"holds notes\.txt, which its manifest does not name; remove"),
        (edit(files={}), "lacks items.json, model.onnx"),
        (edit(format=FORMAT + 1), "has bundle format 2, this nextclick reads up to 1; install"),
        (
            edit(feature_version=FEATURE_VERSION + 1),
            r"trained with feature version 2, this nextclick computes 1; run `nextclick train`",
        ),
        (change(MANIFEST_FILE, b"{"), r"manifest\.json is damaged .*copy the whole folder again"),
        (edit(blend="strong"), r"manifest\.json is damaged .*\$\.blend"),
        (edit(format=FORMAT + 1, blend="strong"), "has bundle format 2"),
    ],
)
def test_a_bundle_with_a_fault_is_refused(
    bundle: Path, harm: Callable[[Path], object], sentence: str
) -> None:
    harm(bundle)
    with pytest.raises(BundleError, match=sentence):
        load_bundle(bundle)


def test_a_vocabulary_that_is_none_is_refused(bundle: Path, model: Path) -> None:
    write_bundle(bundle, model, ["milk", "milk"], manifest())
    with pytest.raises(BundleError, match=r"'milk' and 'milk' share a hash; .*train` again"):
        load_bundle(bundle)


def test_a_folder_in_a_bundle_is_refused(bundle: Path) -> None:
    (bundle / MODEL_FILE).unlink()
    (bundle / MODEL_FILE).mkdir()
    with pytest.raises(BundleError, match=r"model\.onnx is no file; copy the whole folder again"):
        load_bundle(bundle)


def test_loading_needs_no_torch(bundle: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from model.bundle import load_bundle;"
        "assert load_bundle(Path(sys.argv[1])).manifest.seed == 7;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(bundle)], check=False).returncode == 0
