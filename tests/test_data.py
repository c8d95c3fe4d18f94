"""The data room: what is loaded is what was asked for, whole, or the user reads why not."""

import contextlib
import functools
import gzip
import hashlib
import http.server
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from experiments.lab.data import canonical as canonical_data
from experiments.lab.data import dataset as data
from experiments.lab.data import tfds as _tfds

IMAGES, LABELS, TEST_IMAGES, TEST_LABELS = data.FILES


def made_up(seed: int, n_train: int = 60, n_test: int = 20) -> data.Arrays:
    rng = np.random.default_rng(seed)
    x_train, x_test = (rng.integers(0, 256, (n, 28, 28), np.uint8) for n in (n_train, n_test))
    y_train, y_test = ((seed + np.arange(n, dtype=np.uint8)) % 10 for n in (n_train, n_test))
    return x_train, y_train, x_test, y_test


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape)
    return header + array.tobytes()


def write_gz(folder: Path, arrays: data.Arrays) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for stem, array in zip(data.FILES, arrays, strict=True):
        (folder / f"{stem}.gz").write_bytes(gzip.compress(idx(array), 1))
    return folder


def arrays_of(dataset: data.Dataset) -> data.Arrays:
    return dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test


def assert_same(dataset: data.Dataset, arrays: data.Arrays) -> None:
    for got, expected in zip(arrays_of(dataset), arrays, strict=True):
        assert got.dtype == np.uint8
        np.testing.assert_array_equal(got, expected)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_gz(tmp_path / "data", made_up(0))


# What the idx reader accepts.


def test_idx_files_give_their_arrays_and_say_that_they_are_not_canonical(folder: Path) -> None:
    mnist = data.load("MNIST", folder)
    assert_same(mnist, made_up(0))
    assert (mnist.name, mnist.max_value) == ("MNIST", 255)
    assert mnist.source == f"idx files in {folder}, not the canonical files"


def test_the_source_shows_the_folder_as_the_user_typed_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.rename(folder.parent / "MNIST")
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("HOME", str(folder.parent))
    assert data.load("MNIST", ".").source.startswith("idx files in MNIST,")
    assert data.load("MNIST", "~").source.startswith("idx files in ~/MNIST,")


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST"])
@pytest.mark.parametrize("layout", ["", "raw", "{name}/raw", "{name}", "{lower}/{name}/raw", "{lower}"])
def test_the_usual_layouts_are_found(name: str, layout: str, tmp_path: Path) -> None:
    write_gz(tmp_path / layout.format(name=name, lower=data.TFDS_NAMES[name]), made_up(0))
    assert_same(data.load(name, tmp_path), made_up(0))


# Where and how the usual sites and tools leave a file of this name.
FORMS = {
    "unpacked": "{stem}",
    "with a point": "{point}",
    "with a point, packed": "{point}.gz",
    "in a folder of its name": "{stem}/{stem}",
    "in a folder of its name, with a point": "{stem}/{point}",
    "in a folder of its packed name": "{stem}.gz/{stem}.gz",
}


@pytest.mark.parametrize("packed", [0, 1, 2], ids=["plain", "gzip", "gzip twice"])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("stems", [data.FILES, data.FILES[1:3]], ids=["all", "some"])
def test_a_file_is_read_under_every_usual_name_packed_or_not(
    folder: Path, stems: tuple[str, ...], form: str, packed: int
) -> None:
    expected = data.load("MNIST", folder)
    for stem in stems:
        content = gzip.decompress((folder / f"{stem}.gz").read_bytes())
        (folder / f"{stem}.gz").unlink()
        for _ in range(packed):
            content = gzip.compress(content, 1)
        path = folder / form.format(stem=stem, point=stem.replace("-idx", ".idx"))
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    assert data.load("MNIST", folder).sha256 == expected.sha256


def test_the_same_file_may_be_there_twice_and_folders_beside_it(folder: Path) -> None:
    expected = data.load("MNIST", folder)
    for stem, array in zip(data.FILES, made_up(0), strict=True):
        (folder / stem).mkdir()  # as in Kaggle's archive
        (folder / stem / stem).write_bytes(idx(array))
        (folder / stem.replace("-idx", ".idx")).write_bytes(idx(array))
    (folder / f"{IMAGES}.gz").unlink()
    shutil.rmtree(folder / LABELS)
    (folder / LABELS).mkdir()
    assert data.load("MNIST", folder).sha256 == expected.sha256


def test_the_file_that_keras_downloads_is_read_and_verified(
    canonical: dict[str, data.Arrays], folder: Path, tmp_path: Path
) -> None:
    parts = dict(zip(["x_train", "y_train", "x_test", "y_test"], canonical["MNIST"], strict=True))
    np.savez(tmp_path / "mnist.npz", **parts)
    mnist = data.load("MNIST", tmp_path)
    assert_same(mnist, canonical["MNIST"])
    assert mnist.source == f"{tmp_path / 'mnist.npz'}, content verified by SHA-256"
    with pytest.raises(data.DataError, match=r"x_train in .*mnist.npz is MNIST's"):
        data.load("FashionMNIST", tmp_path)
    np.savez(tmp_path / "mnist.npz", **{**parts, "x_test": parts["x_test"] / 255})
    with pytest.raises(data.DataError, match=r"mnist.npz is not Keras's .*: x_test must be uint8 in 3 dim"):
        data.load("MNIST", tmp_path)


def test_what_is_in_the_place_of_the_data_is_named(tmp_path: Path) -> None:
    (tmp_path / "mnist_train.csv").touch()
    with pytest.raises(data.DataError, match=r"holds no MNIST, but 'mnist_train.csv'; looked"):
        data.load("MNIST", tmp_path)
    write_gz(tmp_path / "archive", made_up(0))
    with pytest.raises(data.DataError, match=r"there are such files in 'archive': name that folder"):
        data.load("MNIST", tmp_path)


@pytest.mark.parametrize("layout", ["{name}/raw", "{name}", "{lower}/{name}/raw", "{lower}"])
def test_a_sub_folder_that_names_the_data_set_wins(folder: Path, layout: str) -> None:
    write_gz(folder / layout.format(name="FashionMNIST", lower="fashion_mnist"), made_up(1))
    assert_same(data.load("FashionMNIST", folder), made_up(1))
    assert_same(data.load("MNIST", folder), made_up(0))


def test_the_arrays_cannot_be_written_to(folder: Path) -> None:
    for dataset in (data.load("MNIST", folder), data.load("Digits")):
        assert not any(array.flags.writeable for array in arrays_of(dataset))


def test_the_checksum_depends_on_every_array_and_on_nothing_else(tmp_path: Path) -> None:
    def checksum(name: str, arrays: data.Arrays) -> str:
        return data.load(name, write_gz(tmp_path, arrays)).sha256

    original = checksum("MNIST", made_up(0))
    assert checksum("FashionMNIST", made_up(0)) == original
    x_train, y_train, x_test, y_test = made_up(0)
    changed = {
        checksum("MNIST", (x_train ^ 1, y_train, x_test, y_test)),
        checksum("MNIST", (x_train, y_train ^ 1, x_test, y_test)),
        checksum("MNIST", (x_train, y_train, x_test ^ 1, y_test)),
        checksum("MNIST", (x_train, y_train, x_test, y_test ^ 1)),
        checksum("MNIST", (x_train[:-1], y_train[:-1], x_test, y_test)),
    }
    assert len(changed | {original}) == 6


# What is wrong with a file, and with which one.


def replaced(stem: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / f"{stem}.gz").write_bytes(content)


def holding(stem: str, array: np.ndarray) -> Callable[[Path], object]:
    return replaced(stem, gzip.compress(idx(array)))


def changed(stem: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    array = made_up(0)[data.FILES.index(stem)]
    return replaced(stem, gzip.compress(change(idx(array))))


def damaged(stem: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    packed = gzip.compress(idx(made_up(0)[data.FILES.index(stem)]))
    return replaced(stem, change(packed))


def unpacked(stem: str, make: Callable[[Path], object]) -> Callable[[Path], object]:
    def act(folder: Path) -> None:
        (folder / f"{stem}.gz").unlink()
        make(folder / stem)

    return act


X, Y, X_TEST, _ = made_up(0)

BAD_FILES = {
    "missing": (unpacked(LABELS, lambda path: None), LABELS, "lacks"),
    "folder": (unpacked(LABELS, lambda path: path.mkdir()), LABELS, "is a folder without"),
    "two that differ": (
        lambda folder: (folder / LABELS).write_bytes(idx(Y[::-1])),
        LABELS,
        rf"\.gz and .*{LABELS} differ: delete the one that is not meant",
    ),
    "dead link": (unpacked(LABELS, lambda path: path.symlink_to("gone")), LABELS, "cannot be read"),
    "cut": (unpacked(IMAGES, lambda path: path.write_bytes(idx(X)[:-1])), IMAGES, "truncated"),
    "web page": (replaced(IMAGES, b"\n<html>404</html>"), IMAGES, "is a web page"),
    "zip archive": (replaced(IMAGES, b"PK\x03\x04" + bytes(99)), IMAGES, "is a zip archive: unpack it"),
    "pointer": (replaced(IMAGES, b"version https://git-lfs.github.com/spec/v1"), IMAGES, "Git LFS"),
    "another kind": (replaced(IMAGES, b"label,pixel0,pixel1"), IMAGES, "magic number .*another kind of file"),
    "cut gzip": (damaged(IMAGES, lambda c: c[:-2000]), IMAGES, "not an intact gzip file"),
    "no gzip trailer": (damaged(IMAGES, lambda c: c[:-4]), IMAGES, "not an intact gzip file"),
    "flipped byte": (
        damaged(IMAGES, lambda c: c[:9000] + bytes([c[9000] ^ 255]) + c[9001:]),
        IMAGES,
        "not an intact gzip file",
    ),
    "bad block": (damaged(IMAGES, lambda c: c[:10] + b"\xff" + c[11:]), IMAGES, "not an intact gzip file"),
    "nothing": (replaced(TEST_LABELS, b""), TEST_LABELS, "is empty"),
    "nothing inside": (changed(TEST_LABELS, lambda c: b""), TEST_LABELS, "is empty"),
    "cut header": (changed(IMAGES, lambda c: c[:9]), IMAGES, "ends after 9 bytes"),
    "only a header": (changed(LABELS, lambda c: c[:8]), LABELS, "truncated"),
    "too long": (changed(TEST_IMAGES, lambda c: c + b"\0"), TEST_IMAGES, "truncated or corrupt"),
    "magic number": (changed(IMAGES, lambda c: b"\0\0\x0d" + c[3:]), IMAGES, "magic number"),
    "labels as images": (holding(IMAGES, Y), IMAGES, "not an idx file of images.*these are labels"),
    "images as labels": (holding(LABELS, X), LABELS, "not an idx file of labels.*these are images"),
    "no samples": (holding(IMAGES, X[:0]), IMAGES, "holds no images"),
    "no pixels": (holding(IMAGES, X[:, :0, :0]), IMAGES, "holds no images"),
    "fewer labels": (holding(LABELS, Y[1:]), LABELS, "60 images, but .* 59 labels"),
    "fewer images": (holding(TEST_IMAGES, X_TEST[1:]), TEST_IMAGES, "19 images, but .* 20 labels"),
    "label 10": (holding(LABELS, Y + 1), LABELS, "the label 10"),
    "not square": (holding(TEST_IMAGES, X_TEST[:, 1:]), TEST_IMAGES, "27x28 pixels"),
    "other size": (holding(TEST_IMAGES, X_TEST[:, 1:, 1:]), TEST_IMAGES, "but .* of 27x27"),
}


@pytest.mark.parametrize(("spoil", "stem", "problem"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_file_is_an_error_that_names_it_and_its_problem(
    folder: Path, spoil: Callable[[Path], object], stem: str, problem: str
) -> None:
    spoil(folder)
    with pytest.raises(data.DataError, match=problem) as error:
        data.load("MNIST", folder)
    assert str(folder) in str(error.value)
    assert stem in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_may_not_be_read_is_an_error_that_names_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(data.DataError, match=rf"{IMAGES}\.gz cannot be read: Permission denied"):
        data.load("MNIST", folder)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.write_text(""), "is not a folder"),
        (lambda path: path.mkdir(), f"holds no MNIST.*{IMAGES}.*TensorFlow Datasets"),
        (lambda path: write_gz(path / "FashionMNIST", made_up(0)), "holds no MNIST"),
    ],
    ids=["absent", "file", "empty", "other data set"],
)
def test_a_data_dir_without_the_data_is_an_error_and_no_reason_to_look_elsewhere(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path], object],
    problem: str,
) -> None:
    def look(*args: object) -> None:
        raise AssertionError("looked elsewhere")

    monkeypatch.setattr(_tfds, "default_root", look)
    monkeypatch.setattr(_tfds, "prepare", look)
    make(tmp_path / "here")
    with pytest.raises(data.DataError, match=problem) as error:
        data.load("MNIST", tmp_path / "here")
    assert str(tmp_path / "here") in str(error.value)


def test_the_home_of_an_unknown_user_does_not_exist() -> None:
    with pytest.raises(data.DataError, match="~no-such-user/mnist: does not exist"):
        data.load("MNIST", "~no-such-user/mnist")


def test_without_a_home_the_error_says_what_to_name(monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", "~no-such-user/data")
    with pytest.raises(
        data.DataError, match="TFDS_DATA_DIR ~no-such-user/data: the home folder is not known"
    ):
        data.load("MNIST")


@pytest.mark.parametrize("name", ["mnist", "CIFAR10", ""])
def test_an_unknown_name_is_an_error_that_lists_the_known_ones(name: str) -> None:
    with pytest.raises(data.DataError, match="MNIST, FashionMNIST, Digits"):
        data.load(name)


# Canonical content: no data set is swapped for another.


@pytest.fixture
def canonical(monkeypatch: pytest.MonkeyPatch) -> dict[str, data.Arrays]:
    """Makes two small sets the canonical ones, as the real ones do not come with the tests."""
    sets = {"MNIST": made_up(1), "FashionMNIST": made_up(2)}
    table = {
        name: (algorithm, tuple(digest(idx(array)).hexdigest() for array in sets[name]))
        for name, algorithm, digest in (
            ("MNIST", "SHA-256", hashlib.sha256),
            ("FashionMNIST", "MD5", hashlib.md5),
        )
    }
    monkeypatch.setattr(canonical_data, "_CANONICAL", table)
    monkeypatch.setattr(canonical_data, "_COUNTS", (60, 60, 20, 20))
    return sets


@pytest.mark.parametrize(("name", "how"), [("MNIST", "SHA-256"), ("FashionMNIST", "MD5")])
def test_canonical_content_is_recognised_in_any_packing(
    canonical: dict[str, data.Arrays], tmp_path: Path, name: str, how: str
) -> None:
    write_gz(tmp_path, canonical[name])
    (tmp_path / IMAGES).write_bytes(gzip.decompress((tmp_path / f"{IMAGES}.gz").read_bytes()))
    (tmp_path / f"{IMAGES}.gz").unlink()
    assert data.load(name, tmp_path).source.endswith(f"content verified by {how}")


def test_one_data_set_does_not_pass_for_the_other(canonical: dict[str, data.Arrays], tmp_path: Path) -> None:
    write_gz(tmp_path, canonical["MNIST"])
    with pytest.raises(data.DataError, match=rf"{IMAGES}\.gz is MNIST's.*not FashionMNIST's"):
        data.load("FashionMNIST", tmp_path)


@pytest.mark.parametrize("part", range(4))
def test_a_single_file_of_the_other_data_set_is_found(
    canonical: dict[str, data.Arrays], tmp_path: Path, part: int
) -> None:
    write_gz(tmp_path, canonical["MNIST"])
    holding(data.FILES[part], canonical["FashionMNIST"][part])(tmp_path)
    with pytest.raises(data.DataError, match=rf"{data.FILES[part]}\.gz is FashionMNIST's"):
        data.load("MNIST", tmp_path)


def test_the_test_set_does_not_pass_for_a_small_training_set(
    canonical: dict[str, data.Arrays], tmp_path: Path
) -> None:
    _, _, x_test, y_test = canonical["MNIST"]
    write_gz(tmp_path, (x_test, y_test, x_test, y_test))
    with pytest.raises(data.DataError, match=rf"{IMAGES}\.gz is MNIST's {TEST_IMAGES}"):
        data.load("MNIST", tmp_path)


@pytest.mark.parametrize("part", range(4))
def test_a_file_of_canonical_size_with_one_bit_changed_is_an_error_that_names_it(
    canonical: dict[str, data.Arrays], tmp_path: Path, part: int
) -> None:
    write_gz(tmp_path, canonical["MNIST"])
    array = canonical["MNIST"][part].copy()
    array.flat[0] ^= 1
    holding(data.FILES[part], array)(tmp_path)
    with pytest.raises(data.DataError, match=rf"{data.FILES[part]}\.gz is not MNIST's.*corrupt"):
        data.load("MNIST", tmp_path)


@pytest.mark.parametrize("n_train", [59, 60, 61])
def test_own_data_are_accepted_only_if_smaller_than_the_canonical(
    canonical: dict[str, data.Arrays], tmp_path: Path, n_train: int
) -> None:
    write_gz(tmp_path, (*made_up(3, n_train)[:2], *canonical["MNIST"][2:]))
    if n_train < 60:
        assert data.load("MNIST", tmp_path).source.endswith("not the canonical files")
    else:
        with pytest.raises(data.DataError, match=f"it has {n_train} samples"):
            data.load("MNIST", tmp_path)


def test_the_real_mnist_files_are_the_canonical_ones(mnist_dir: Path) -> None:
    mnist = data.load("MNIST", mnist_dir)
    assert mnist.source.endswith("content verified by SHA-256")
    assert mnist.sha256 == "2a9d7d1950e74185cdb069fb8af05f3dcae6ac915ffb36f0c5d0dd92a0391209"
    assert (mnist.x_train.shape, mnist.x_test.shape) == ((60_000, 28, 28), (10_000, 28, 28))
    with pytest.raises(data.DataError, match=rf"{IMAGES}.* is MNIST's"):
        data.load("FashionMNIST", mnist_dir)


# scikit-learn's digits.


def test_the_digits_are_all_there_once_and_split_evenly_within_each_class() -> None:
    from sklearn.datasets import load_digits

    digits, bunch = data.load("Digits"), load_digits()
    x = np.concatenate([digits.x_train, digits.x_test])
    y = np.concatenate([digits.y_train, digits.y_test])
    pairs = sorted((label, image.tobytes()) for label, image in zip(y, x, strict=True))
    originals = zip(bunch.target, bunch.images.astype(np.uint8), strict=True)
    assert pairs == sorted((label, image.tobytes()) for label, image in originals)
    assert (digits.max_value, x.max(), x.min()) == (16, 16, 0)
    for label in range(10):
        assert np.sum(digits.y_test == label) == np.sum(y == label) // 5
        members = bunch.images[bunch.target == label]
        np.testing.assert_array_equal(digits.x_test[digits.y_test == label], members[4::5])


def test_the_split_of_the_digits_is_the_one_that_published_results_used() -> None:
    checksum = "c42233c5745a8afa98ab59f9b8a5c962f7b086eb28372b12f93d2c3c73f73255"
    assert data.load("Digits").sha256 == checksum


def test_the_digits_ignore_the_data_dir(tmp_path: Path) -> None:
    assert data.load("Digits", tmp_path / "absent").sha256 == data.load("Digits").sha256


def test_a_missing_requirement_is_an_error_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(data.DataError, match=r'scikit-learn.*pip install -e "\.\[experiments\]"'):
        data.load("Digits")


# TensorFlow Datasets, fed by a server on this machine in place of the internet.


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@contextlib.contextmanager
def downloads_from(name: str, url: str, tfds_dir: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(_tfds.URLS, name, url)
        patch.setenv("TFDS_DATA_DIR", str(tfds_dir))
        patch.setenv("no_proxy", "127.0.0.1")
        yield


@pytest.fixture(scope="session")
def downloaded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, data.Dataset]:
    """The folder of TFDS after FashionMNIST was first asked for, and what was returned."""
    root = tmp_path_factory.mktemp("tfds")
    files = write_gz(tmp_path_factory.mktemp("server"), made_up(0))
    with served(files) as url, downloads_from("FashionMNIST", url, root):
        return root, data.load("FashionMNIST")


@pytest.fixture
def prepared(downloaded: tuple[Path, data.Dataset], tmp_path: Path) -> Path:
    """A folder of TFDS of one's own, with FashionMNIST prepared but not yet read."""
    shutil.copytree(downloaded[0], tmp_path / "tfds")
    (tmp_path / "tfds" / "fashion_mnist" / "3.0.1" / "arrays.npz").unlink()
    return tmp_path / "tfds"


def test_a_download_gives_the_files_arrays_in_the_files_order(
    downloaded: tuple[Path, data.Dataset], folder: Path
) -> None:
    _, fashion = downloaded
    assert_same(fashion, made_up(0))
    assert fashion.sha256 == data.load("MNIST", folder).sha256
    assert fashion.source == "TensorFlow Datasets fashion_mnist/3.0.1, not the canonical files"


@pytest.mark.slow
def test_the_real_mnist_is_the_same_by_download_as_from_files(mnist_dir: Path, tmp_path: Path) -> None:
    with served(mnist_dir) as url, downloads_from("MNIST", url, tmp_path):
        assert_same(data.load("MNIST"), arrays_of(data.load("MNIST", mnist_dir)))


def test_a_prepared_copy_needs_no_network(
    prepared: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_tfds, "prepare", None)
    explicit = data.load("FashionMNIST", prepared)
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    default = data.load("FashionMNIST")
    assert explicit.sha256 == default.sha256 == data.load("MNIST", folder).sha256
    assert f"in {prepared}" in explicit.source
    assert str(prepared) not in default.source


def test_idx_files_win_over_a_prepared_copy(prepared: Path) -> None:
    write_gz(prepared, made_up(1))
    assert_same(data.load("FashionMNIST", prepared), made_up(1))


def test_the_prepared_copy_is_what_the_builder_of_tfds_itself_reads(prepared: Path) -> None:
    import tensorflow_datasets as tfds

    builder = tfds.builder("fashion_mnist", data_dir=prepared)
    images = {example["image"].tobytes() for example in builder.as_data_source("train")}
    assert images == {image.tobytes() for image in made_up(0)[0]}
    assert builder.info.features["label"].names[9] == "Ankle boot"


def test_a_copy_prepared_with_tensorflow_is_read_too(prepared: Path) -> None:
    import tensorflow_datasets as tfds

    folder = prepared / "fashion_mnist" / "3.0.1"
    builder = tfds.builder_from_directory(folder)
    raw = tfds.decode.DeserializeMethod.RAW_BYTES
    for split in ("train", "test"):
        records = list(builder.as_data_source(split, deserialize_method=raw))
        parts = (struct.pack("<QI", len(r), 0) + r + bytes(4) for r in records)
        (old,) = folder.glob(f"*-{split}.array_record-*")
        (folder / old.name.replace("array_record", "tfrecord")).write_bytes(b"".join(parts))
        old.unlink()
    info = folder / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    assert_same(data.load("FashionMNIST", prepared), made_up(0))


def test_arrays_are_kept_beside_the_examples_and_read_from_there(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = data.load("FashionMNIST", prepared)
    monkeypatch.setattr(_tfds, "_import_tfds", None)
    assert data.load("FashionMNIST", prepared).sha256 == first.sha256
    assert not list(prepared.rglob("*.part"))


@pytest.mark.parametrize("keep", [0, 100, 40_000], ids=["empty", "header", "half"])
def test_a_truncated_file_of_arrays_counts_as_none_and_is_written_anew(prepared: Path, keep: int) -> None:
    data.load("FashionMNIST", prepared)
    cache = prepared / "fashion_mnist" / "3.0.1" / "arrays.npz"
    whole = cache.read_bytes()
    cache.write_bytes(whole[:keep])
    assert_same(data.load("FashionMNIST", prepared), made_up(0))
    with np.load(cache) as stored:
        np.testing.assert_array_equal(stored["x_train"], made_up(0)[0])


def test_a_folder_that_cannot_be_written_is_read_all_the_same(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(np, "savez", refuse)
    assert_same(data.load("FashionMNIST", prepared), made_up(0))
    assert not list(prepared.rglob("arrays.npz*"))


@pytest.mark.parametrize("pattern", ["*-test.array_record*", "dataset_info.json", "features.json"])
def test_a_damaged_prepared_copy_is_an_error_that_names_its_folder(prepared: Path, pattern: str) -> None:
    folder = prepared / "fashion_mnist" / "3.0.1"
    (file,) = folder.glob(pattern)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(data.DataError, match="delete that folder") as error:
        data.load("FashionMNIST", prepared)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_prepared_copy_of_canonical_size_with_other_content_is_an_error(
    prepared: Path, canonical: dict[str, data.Arrays]
) -> None:
    with pytest.raises(data.DataError, match=r"3\.0\.1 is not FashionMNIST's.*corrupt"):
        data.load("FashionMNIST", prepared)


def test_the_files_downloaded_are_those_whose_checksums_tfds_verifies() -> None:
    from tensorflow_datasets.core.download import checksums

    known = checksums.get_all_url_infos()
    for name, url in _tfds.URLS.items():
        for stem in data.FILES:
            info = known[f"{url}{stem}.gz"]
            assert (name, len(info.checksum)) == (name, 64)


def test_a_download_says_one_line_on_stderr_and_nothing_else(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with served(folder) as url, downloads_from("MNIST", url, tmp_path / "tfds"):
        data.load("MNIST")
        data.load("MNIST")
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("MNIST: downloading 12 MB")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (unpacked(TEST_IMAGES, lambda path: None), "404"),
        (replaced(TEST_IMAGES, b"<html>log in first</html>"), "is a web page"),
    ],
    ids=["absent", "web page"],
)
def test_a_failed_download_is_an_error_and_leaves_nothing_that_looks_prepared(
    folder: Path, tmp_path: Path, spoil: Callable[[Path], object], problem: str
) -> None:
    spoil(folder)
    with (
        served(folder) as url,
        downloads_from("MNIST", url, tmp_path / "tfds"),
        pytest.raises(data.DataError, match=problem) as error,
    ):
        data.load("MNIST")
    assert "\n" not in str(error.value)
    assert "--data-dir" in str(error.value)
    assert not _tfds.is_prepared(_tfds.prepared_folder("MNIST", tmp_path / "tfds"))


def assert_fails_offline(tfds_dir: Path, url: str, reason: str) -> None:
    start = time.monotonic()
    with (
        downloads_from("MNIST", url, tfds_dir),
        pytest.raises(data.DataError, match=reason) as error,
    ):
        data.load("MNIST")
    assert time.monotonic() - start < 6
    assert "--data-dir" in str(error.value)
    assert "--experiment splitDigits" in str(error.value)
    assert not tfds_dir.exists()


def test_without_a_network_it_fails_in_seconds_with_the_ways_out(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        assert_fails_offline(tmp_path / "tfds", url, "refused")


def test_a_host_that_does_not_answer_costs_seconds_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_tfds, "_PROBE_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        assert_fails_offline(tmp_path / "tfds", url, "timed out|no answer within 0.3 seconds")


def test_a_name_server_that_does_not_answer_costs_seconds_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_tfds, "_PROBE_SECONDS", 0.3)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: time.sleep(20))
    assert_fails_offline(tmp_path / "tfds", "http://example.invalid/", "no answer within 0.3 s")


def test_importing_the_data_room_is_cheap_and_tensorflow_never_comes_along(
    prepared: Path,
) -> None:
    code = (
        "import sys; from experiments.lab.data import dataset\n"
        "slow = {'tensorflow_datasets', 'sklearn', 'PIL', 'jax'} & set(sys.modules)\n"
        f"dataset.load('FashionMNIST', {str(prepared)!r})\n"
        "assert 'tensorflow_datasets' in sys.modules\n"
        "print(sorted(slow), 'tensorflow' in sys.modules)"
    )
    root = Path(data.__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("[] False\n", "")
