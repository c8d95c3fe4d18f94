"""MNIST and FashionMNIST by TensorFlow Datasets (TFDS), without TensorFlow.

TFDS's own builders need TensorFlow to prepare a data set: to unpack gzip and to encode PNG. The
builder made here does both without it and writes the same examples, so that other programs that use
TFDS can read them. Reading restores the order of the original files, which TFDS shuffles.
"""

import contextlib
import importlib
import io
import logging
import os
import queue
import ssl
import struct
import sys
import threading
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from experiments.lab.data.idx import FILES, Arrays, DataError, read_images, read_labels

TFDS_NAMES: Final = {"MNIST": "mnist", "FashionMNIST": "fashion_mnist"}

VERSION: Final = "3.0.1"

URLS = {
    "MNIST": "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "FashionMNIST": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
}

_MEGABYTES = {"MNIST": 12, "FashionMNIST": 31}
_PROBE_SECONDS = 4.0
_CACHE = "arrays.npz"
_WAYS_OUT = (
    "Other ways: name the folder of its four idx files with --data-dir, or take the digits that "
    "come with scikit-learn with --experiment splitDigits"
)


def default_root() -> Path:
    """Returns the folder where TFDS keeps its data sets: ``TFDS_DATA_DIR`` or its default.

    Raises:
        DataError: It is in a home folder that is not known.
    """
    root = os.path.expanduser(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")
    if root.startswith("~"):
        raise DataError(f"TFDS_DATA_DIR {root}: the home folder is not known. {_WAYS_OUT}")
    return Path(root)


def prepared_folder(name: str, root: Path) -> Path:
    """Returns where TFDS keeps ``"MNIST"`` or ``"FashionMNIST"``, once prepared, under `root`."""
    return root / TFDS_NAMES[name] / VERSION


def is_prepared(prepared: Path) -> bool:
    """Says whether TFDS finished preparing this folder: it writes the description last."""
    return os.path.isfile(prepared / "dataset_info.json")


def prepare(name: str, root: Path) -> None:
    """Downloads a data set and prepares it, about 15 seconds after the download.

    Args:
        name: ``"MNIST"`` or ``"FashionMNIST"``.
        root: TFDS's folder, made if need be; the examples go to `prepared_folder`.

    Raises:
        DataError: No network (found out within 4 seconds, where TFDS tries for minutes), a failed
            or corrupt download, or a folder that cannot be written.
    """
    reason = _unreachable(f"{URLS[name]}{FILES[1]}.gz", _PROBE_SECONDS)
    if reason:
        raise DataError(f"{name} cannot be downloaded from {URLS[name]} ({reason}). {_WAYS_OUT}")
    print(
        f"{name}: downloading {_MEGABYTES[name]} MB and preparing them in {root}, this once",
        file=sys.stderr,
    )
    tfds = _import_tfds()
    try:
        with _quiet(tfds):
            _builder_class(tfds, name)(data_dir=root).download_and_prepare(file_format="array_record")
    except Exception as error:  # those of TFDS and of the libraries below it have no common type
        if not is_prepared(prepared_folder(name, root)):  # as another process may have done
            raise DataError(
                f"{name} could not be prepared in {root} ({_in_short(error)}). {_WAYS_OUT}"
            ) from error


def read(prepared: Path) -> Arrays:
    """Reads a prepared data set in the order of the original files.

    The first time takes about 10 seconds and leaves the arrays beside the examples (55 MB); then it
    takes a fraction of a second. A damaged file of arrays counts as none.

    Args:
        prepared: What `prepared_folder` returns.

    Returns:
        x_train, y_train, x_test, y_test: uint8, [n, 28, 28] and [n].

    Raises:
        DataError: The prepared copy is damaged.
    """
    cached = _load_cache(prepared / _CACHE)
    if cached is not None:
        return cached
    tfds = _import_tfds()
    try:
        with _quiet(tfds):
            builder = tfds.builder_from_directory(prepared)
            arrays = (*_read_split(builder, "train"), *_read_split(builder, "test"))
    except Exception as error:  # those of TFDS and of the libraries below it have no common type
        raise DataError(
            f"the copy prepared by TensorFlow Datasets in {prepared} cannot be read "
            f"({_in_short(error)}): delete that folder to have it prepared again"
        ) from error
    _save_cache(prepared / _CACHE, arrays)
    return arrays


@contextlib.contextmanager
def quiet_import(package: str) -> Iterator[None]:
    """Keeps other people's import-time warnings from the user and says what to install.

    Args:
        package: The name to ask for if an import inside the block fails.

    Raises:
        DataError: An import inside the block failed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ImportError as error:
        raise DataError(
            f"{package} cannot be imported ({error}): install the experiments' requirements with "
            'pip install -e ".[experiments]"'
        ) from error


def _in_short(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    if isinstance(error, DataError):
        return lines[0]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _unreachable(url: str, seconds: float) -> str | None:
    """Asks for a file's headers; returns why there is no answer, or None if there is one.

    A thread asks, because no time limit of the socket covers a name server that does not answer.
    """
    answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    ask = threading.Thread(target=lambda: answers.put(_ask(url, seconds)), daemon=True)
    ask.start()
    try:
        return answers.get(timeout=seconds)
    except queue.Empty:
        return f"no answer within {seconds:g} seconds"


def _ask(url: str, seconds: float) -> str | None:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=seconds):
            return None
    except urllib.error.HTTPError as error:
        with error:  # the host is there; TFDS reports other refusals than these at once
            return f"HTTP {error.code}" if error.code >= 500 else None
    except urllib.error.URLError as error:
        # The download brings its own certificates; that ours are missing says nothing about it.
        return None if isinstance(error.reason, ssl.SSLError) else str(error.reason)
    except Exception as error:
        return _in_short(error)


def _import_tfds() -> Any:
    with quiet_import("tensorflow-datasets"):
        # Used only deep inside TFDS, where a missing one would surface as something else.
        importlib.import_module("PIL.Image")
        importlib.import_module("array_record.python.array_record_module")
        return importlib.import_module("tensorflow_datasets")


def _builder_class(tfds: Any, name: str) -> Any:
    """Makes a subclass of TFDS's builder that prepares the same examples without TensorFlow."""
    with quiet_import("tensorflow-datasets"):
        from PIL import Image
        from tensorflow_datasets.image_classification import mnist

    stock: Any = getattr(mnist, name)
    with tfds.core.registered.skip_registration():

        class WithoutTensorFlow(stock):
            name = TFDS_NAMES[stock.__name__]  # TFDS would take it from the name of the class
            VERSION = tfds.core.Version(VERSION)
            URL = URLS[stock.__name__]

            def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
                files = dl_manager.download([f"{self.URL}{stem}.gz" for stem in FILES])
                return {
                    "train": self._generate_examples(*files[:2]),
                    "test": self._generate_examples(*files[2:]),
                }

            def _generate_examples(self, images: Any, labels: Any) -> Iterator[tuple[int, dict]]:
                pairs = zip(read_images(Path(images)), read_labels(Path(labels)), strict=True)
                for index, (image, label) in enumerate(pairs):
                    yield index, {"image": Image.fromarray(image), "label": int(label)}

    return WithoutTensorFlow


@contextlib.contextmanager
def _quiet(tfds: Any) -> Iterator[None]:
    """Silences TFDS's progress bars, its prints and its advice to install OpenCV."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.enable_progress_bar()
        logger.setLevel(level)


def _read_split(builder: Any, split: str) -> tuple[np.ndarray, np.ndarray]:
    examples = _examples(builder, split)
    place = _original_places(builder, split, len(examples))
    x = np.empty((len(examples), *examples[0]["image"].shape[:2]), np.uint8)
    y = np.empty(len(examples), np.uint8)
    x[place] = [example["image"][..., 0] for example in examples]
    y[place] = [example["label"] for example in examples]
    return x, y


def _examples(builder: Any, split: str) -> Sequence[dict[str, Any]]:
    if builder.info.file_format.value == "tfrecord":  # what TFDS itself writes where TensorFlow is
        decode = builder.info.features.deserialize_example_np
        paths = builder.info.splits[split].filepaths
        return [decode(record) for path in paths for record in _tfrecords(Path(path))]
    source = builder.as_data_source(split)
    return source.__getitems__(range(len(source)))


def _tfrecords(path: Path) -> Iterator[bytes]:
    """Yields the records of a TFRecord file: length (8 bytes), checksum (4), content, checksum."""
    content, position = path.read_bytes(), 0
    while position < len(content):
        (length,) = struct.unpack_from("<Q", content, position)
        yield content[position + 12 : position + 12 + length]
        position += length + 16


def _original_places(builder: Any, split: str, count: int) -> np.ndarray:
    """Returns for each example its place in the original file.

    TFDS sorts the examples by a hash of their key, here that place, salted with the split's name.
    """
    from tensorflow_datasets.core import hashing

    if builder.info.disable_shuffling:
        return np.arange(count)
    return np.array(sorted(range(count), key=hashing.Hasher(split).hash_key))


def _load_cache(path: Path) -> Arrays | None:
    try:
        with path.open("rb") as file, np.load(file) as stored:  # closes it whatever it holds
            return stored["x_train"], stored["y_train"], stored["x_test"], stored["y_test"]
    except Exception:  # missing, truncated or garbage: the examples are still there
        return None


def _save_cache(path: Path, arrays: Arrays) -> None:
    """Writes the arrays to a file that appears only when complete, or does without."""
    x_train, y_train, x_test, y_test = arrays
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with contextlib.suppress(OSError):  # a folder that is not ours to write in
        try:
            with part.open("wb") as file:
                np.savez(file, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
