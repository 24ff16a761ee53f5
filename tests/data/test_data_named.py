"""Named sets: digits, official archives built here in miniature, downloads from a server of our own."""

import gzip
import hashlib
import http.server
import io
import tarfile
import threading
import zipfile
from dataclasses import replace

import numpy as np
import pooch
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from firstspike.data import archives, load, names
from firstspike.data.archives import FASHION_CLASSES, NAMED, Archive


@pytest.fixture(autouse=True)
def quiet_surroundings(monkeypatch, tmp_path):
    monkeypatch.delenv("FIRSTSPIKE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home-cache"))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def offline(monkeypatch):
    def refuse(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(pooch, "retrieve", refuse)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def tar(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def records(labels, seed):
    """Records of the binary CIFAR format, and the pixels in them."""
    pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), 3, 32, 32), dtype=np.uint8)
    return b"".join(bytes(label) + image.tobytes() for label, image in zip(labels, pixels, strict=True)), pixels


CIFAR10_NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def cifar10(**changes):
    parts = [records([[i], [9 - i]], i) for i in range(6)]
    members = {f"b/data_batch_{i + 1}.bin": parts[i][0] for i in range(5)}
    members |= {"b/test_batch.bin": parts[5][0], "b/batches.meta.txt": "\n".join(CIFAR10_NAMES).encode() + b"\n\n"}
    members["b/readme.html"] = b"<html>"
    return tar(members | changes), [part[1] for part in parts]


def cifar100():
    fine = [f"fine{i:02}" for i in range(100)]
    train, train_pixels = records([[3, 99], [1, 0], [2, 50]], 1)
    test, test_pixels = records([[19, 7]], 2)
    members = {"c/train.bin": train, "c/test.bin": test, "c/fine_label_names.txt": "\n".join(fine).encode()}
    return tar(members | {"c/coarse_label_names.txt": b"x\n"}), train_pixels, test_pixels


def png(seed, size=64):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def tiny():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for i in range(200):
            archive.writestr(f"tiny-imagenet-200/train/n{i:03}/images/n{i:03}_0.JPEG", png(i))
            archive.writestr(f"tiny-imagenet-200/val/images/val_{i}.JPEG", png(1000 + i))
        lines = "".join(f"val_{i}.JPEG\tn{199 - i:03}\t0\t0\t63\t63\n" for i in range(200))
        archive.writestr("tiny-imagenet-200/val/val_annotations.txt", lines)
        archive.writestr("tiny-imagenet-200/test/images/test_0.JPEG", png(5))
        archive.writestr("tiny-imagenet-200/wnids.txt", "n001\n")
    return buffer.getvalue()


def idx(array):
    head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return gzip.compress(head + array.tobytes())


def register(monkeypatch, name, *data, split=None, url="http://127.0.0.1:9/"):
    """Let the named set expect these archives; returns their file names."""
    known = NAMED[name]
    old = known.train if split != "test" else known.test
    new = tuple(Archive(url=url + a.file, sha256=sha256(d)) for a, d in zip(old, data, strict=True))
    changes = {"train": new, "test": new} if split is None else {split: new}
    monkeypatch.setitem(NAMED, name, replace(known, **changes))
    return [archive.file for archive in new]


def test_names():
    assert names() == ("digits", "fashion-mnist", "cifar10", "cifar100", "tiny-imagenet")


def test_digits():
    train, test = load("digits"), load("digits", split="test")
    assert (len(train), len(test)) == (1437, 360)
    assert train.shape == test.shape == (1, 8, 8)
    assert train.classes == tuple("0123456789")
    bunch = load_digits()
    whole = {}
    for image, label in zip(bunch.images, bunch.target, strict=True):
        key = bytes(int(v * 255 / 16 + 0.5) for v in image.flatten())
        whole.setdefault(key, []).append(int(label))
    for data in (train, test):
        for image, label in zip(data.images, data.labels.tolist(), strict=True):
            whole[image.tobytes()].remove(label)
    assert not any(whole.values())  # together they are the whole set, each image once
    shares = np.bincount(test.labels) - 360 * np.bincount(bunch.target) / 1797
    assert np.abs(shares).max() < 1
    assert np.array_equal(load("digits", split="test").images, test.images)


def test_digits_in_another_shape():
    data = load("digits", size=16, expect_shape=(3, 16, 16))
    assert data.shape == (3, 16, 16)
    assert np.array_equal(data.images[:, 0], data.images[:, 2])
    with pytest.raises(ValueError, match=r"^images of digits must have the shape \(3, 32, 32\), not \(3, 8, 8\)$"):
        load("digits", expect_shape=(3, 32, 32))


@pytest.mark.parametrize("folder", ["", "cifar10"])
def test_cifar10_archive(monkeypatch, tmp_path, offline, folder):
    data, pixels = cifar10()
    (file,) = register(monkeypatch, "cifar10", data)
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / file).write_bytes(data)
    train, test = (load("cifar10", split=split, data_root=tmp_path) for split in ("train", "test"))
    assert train.labels.tolist() == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5]
    assert np.array_equal(train.images, np.concatenate(pixels[:5]))
    assert test.labels.tolist() == [5, 4]
    assert np.array_equal(test.images, pixels[5])
    assert train.classes == test.classes == tuple(CIFAR10_NAMES)
    assert train.name == "cifar10"
    assert load("cifar10", data_root=tmp_path, size=16).shape == (3, 16, 16)


def test_cifar_classes_become_alphabetical(monkeypatch, tmp_path, offline):
    data, _ = cifar10(**{"b/batches.meta.txt": "\n".join(reversed(CIFAR10_NAMES)).encode()})
    (file,) = register(monkeypatch, "cifar10", data)
    (tmp_path / file).write_bytes(data)
    train = load("cifar10", data_root=tmp_path)
    assert train.classes == tuple(CIFAR10_NAMES)
    assert train.labels.tolist() == [9, 0, 8, 1, 7, 2, 6, 3, 5, 4]


def test_cifar100_archive(monkeypatch, tmp_path, offline):
    data, train_pixels, test_pixels = cifar100()
    (file,) = register(monkeypatch, "cifar100", data)
    (tmp_path / file).write_bytes(data)
    train, test = (load("cifar100", split=split, data_root=tmp_path) for split in ("train", "test"))
    assert train.labels.tolist() == [99, 0, 50]
    assert test.labels.tolist() == [7]
    assert np.array_equal(train.images, train_pixels)
    assert np.array_equal(test.images, test_pixels)
    assert train.classes[7] == "fine07"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"b/data_batch_3.bin": b"x" * 3074}, "data_batch_3.bin in .* must be records of 3073 bytes, not 3074 bytes$"),
        ({"b/data_batch_3.bin": b""}, "data_batch_3.bin in .* must be records of 3073 bytes, not 0 bytes$"),
        ({"b/data_batch_1.bin": b"\x0a" + bytes(3072)}, r"labels in .* must lie in 0\.\.9, not 10$"),
        ({"b/batches.meta.txt": b"one two"}, r"labels in .* must lie in 0\.\.1, not 9$"),
        ({"b/batches.meta.txt": b" ".join([b"a b c d e f g h i j k"])}, "must hold the 10 classes of cifar10, not 11$"),
    ],
)
def test_a_wrong_cifar_archive(monkeypatch, tmp_path, offline, change, text):
    data, _ = cifar10(**change)
    (file,) = register(monkeypatch, "cifar10", data)
    (tmp_path / file).write_bytes(data)
    with pytest.raises(ValueError, match=text):
        load("cifar10", data_root=tmp_path)


def test_a_cifar_archive_without_its_files_or_cut_short(monkeypatch, tmp_path, offline):
    for data, text in (
        (tar({"b/data_batch_1.bin": b"x"}), r"must hold 'batches.meta.txt', not only \['data_batch_1.bin'\]$"),
        (cifar10()[0][:-500], "must be a whole .tar.gz archive, not damaged: "),
        (b"not a tar file", "must be a whole .tar.gz archive, not damaged: "),
    ):
        (file,) = register(monkeypatch, "cifar10", data)
        (tmp_path / file).write_bytes(data)
        with pytest.raises(ValueError, match=text):
            load("cifar10", data_root=tmp_path)


def test_a_cifar_member_of_absurd_size(monkeypatch, tmp_path, offline):
    monkeypatch.setattr(archives, "MAX_MEMBER_BYTES", 3000)
    data, _ = cifar10()
    (file,) = register(monkeypatch, "cifar10", data)
    (tmp_path / file).write_bytes(data)
    with pytest.raises(ValueError, match=r"^data_batch_1.bin in .* must have at most 3000 bytes, not 6146$"):
        load("cifar10", data_root=tmp_path)


def test_tiny_imagenet_archive(monkeypatch, tmp_path, offline):
    data = tiny()
    (file,) = register(monkeypatch, "tiny-imagenet", data)
    (tmp_path / file).write_bytes(data)
    train, test = (load("tiny-imagenet", split=split, data_root=tmp_path) for split in ("train", "test"))
    assert train.classes == test.classes == tuple(f"n{i:03}" for i in range(200))
    assert train.shape == (3, 64, 64)
    assert train.labels.tolist() == test.labels.tolist() == list(range(200))
    last = np.asarray(Image.open(io.BytesIO(png(1000)))).transpose(2, 0, 1)
    assert np.array_equal(test.images[199], last)
    with zipfile.ZipFile(tmp_path / file) as archive:
        archive.extractall(tmp_path / "unpacked")
    unpacked = load("tiny-imagenet", split="test", data_root=tmp_path / "unpacked", size=32)
    assert unpacked.shape == (3, 32, 32)
    assert unpacked.labels.tolist() == list(range(200))


def test_fashion_mnist_archives(monkeypatch, tmp_path, offline):
    rng = np.random.default_rng(0)
    for split, n in (("train", 5), ("test", 3)):
        pixels, labels = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8), np.arange(n, dtype=np.uint8) + 4
        data = idx(pixels), idx(labels)
        files = register(monkeypatch, "fashion-mnist", *data, split=split)
        for file, content in zip(files, data, strict=True):
            (tmp_path / file).write_bytes(content)
        loaded = load("fashion-mnist", split=split, data_root=tmp_path)
        assert np.array_equal(loaded.images, pixels[:, None])
        assert loaded.labels.tolist() == labels.tolist()
        assert loaded.classes == FASHION_CLASSES
        assert loaded.shape == (1, 28, 28)


@pytest.mark.parametrize(
    ("images", "labels", "text"),
    [
        (idx(np.zeros((2, 28, 28), np.uint8)), idx(np.zeros(3, np.uint8)), "a label for each of the 2 images, not 3$"),
        (idx(np.zeros(5, np.uint8)), idx(np.zeros(2, np.uint8)), "must be IDX data of 3 dimensions, not "),
        (gzip.compress(b"\0\0\x08"), idx(np.zeros(2, np.uint8)), "must be IDX data of 3 dimensions, not "),
        (
            idx(np.zeros((2, 28, 28), np.uint8)),
            idx(np.zeros(2, np.uint8))[:-9],
            "must be a whole .gz file, not damaged",
        ),
        (b"plain", idx(np.zeros(2, np.uint8)), "must be a whole .gz file, not damaged"),
        (idx(np.zeros((2, 8, 8), np.uint8)), idx(np.zeros(2, np.uint8)), r"the shape \(1, 28, 28\), not \(1, 8, 8\)$"),
    ],
    ids=["too-many-labels", "one-dimension", "short-header", "cut-labels", "not-gzip", "small-images"],
)
def test_wrong_fashion_mnist_archives(monkeypatch, tmp_path, offline, images, labels, text):
    files = register(monkeypatch, "fashion-mnist", images, labels, split="train")
    for file, content in zip(files, (images, labels), strict=True):
        (tmp_path / file).write_bytes(content)
    with pytest.raises(ValueError, match=text):
        load("fashion-mnist", data_root=tmp_path)


def class_folders(place, *, classes, n=1, size=32, seed=0):
    for label, name in enumerate(classes):
        for i in range(n):
            path = place / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(seed + 10 * label + i, size))


def test_a_named_set_in_folders_comes_before_zips(tmp_path, offline):
    class_folders(tmp_path / "cifar10/train", classes=CIFAR10_NAMES)
    class_folders(tmp_path / "cifar10/test", classes=CIFAR10_NAMES, seed=500)
    (tmp_path / "cifar10-train.zip").write_bytes(b"not looked at")
    data = load("cifar10", data_root=tmp_path)
    assert data.classes == tuple(CIFAR10_NAMES)
    assert data.name == "cifar10"
    assert not np.array_equal(load("cifar10", split="test", data_root=tmp_path).images, data.images)
    assert len(list((tmp_path / ".cache").iterdir())) == 2


@pytest.mark.parametrize("part", ["test", "val"])
@pytest.mark.parametrize("prefix", ["", "test/"])
def test_a_named_set_in_zips(tmp_path, offline, part, prefix):
    with zipfile.ZipFile(tmp_path / f"cifar10-{part}.zip", "w") as archive:
        for label, name in enumerate(CIFAR10_NAMES):
            archive.writestr(f"{prefix}{name}/1.png", png(label, 32))
    (tmp_path / "cifar10/train").mkdir(parents=True)  # has the other split only
    data = load("cifar10", split="test", data_root=tmp_path)
    assert data.labels.tolist() == list(range(10))


def test_a_named_set_must_be_what_its_name_says(tmp_path, offline):
    class_folders(tmp_path / "cifar10/train", classes=CIFAR10_NAMES[:9])
    with pytest.raises(ValueError, match=r"cifar10 must hold the 10 classes of cifar10, not 9$"):
        load("cifar10", data_root=tmp_path)
    class_folders(tmp_path / "b/cifar10/train", classes=CIFAR10_NAMES, size=8)
    with pytest.raises(ValueError, match=r"must have the shape \(3, 32, 32\), not \(3, 8, 8\)$"):
        load("cifar10", data_root=tmp_path / "b")
    class_folders(tmp_path / "fashion-mnist/train", classes=["Bag", "Coat"])
    with pytest.raises(ValueError, match=r"must be named 0 to 9, not \('Bag', 'Coat'\)$"):
        load("fashion-mnist", data_root=tmp_path)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "tiny-imagenet", "fashion-mnist"])
@pytest.mark.parametrize("download", [True, False])
def test_an_offline_machine_is_told_what_to_put_where(tmp_path, offline, name, download):
    root = tmp_path / "root"
    with pytest.raises(FileNotFoundError) as caught:
        load(name, data_root=root, download=download)
    text, archive = str(caught.value), NAMED[name].train[0]
    assert text.startswith(f"data set {name!r} must lie in {root}, and ")
    assert ("the download failed: no route to host" if download else "downloading is switched off") in text
    assert f"Put {archive.url} (SHA-256 {archive.sha256}) at {root / name / archive.file}, " in text
    assert f"{root / name}/train/CLASS/*.png" in text
    assert f"{root / name}-train.zip" in text
    assert "FIRSTSPIKE_DATA" in text
    assert not (root / name).exists()


def test_a_read_only_folder_is_left_alone(tmp_path, offline):
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(FileNotFoundError, match=f"must lie in {tmp_path}, and {tmp_path} is read-only"):
            load("cifar10", data_root=tmp_path)
        assert list(tmp_path.iterdir()) == []
    finally:
        tmp_path.chmod(0o755)


def test_a_damaged_archive_is_named(tmp_path, offline):
    file = NAMED["cifar10"].train[0].file
    (tmp_path / file).write_bytes(b"half a download")
    with pytest.raises(
        FileNotFoundError, match=rf"{file} is there, but damaged: its SHA-256 must be c4a38c50.*, not '"
    ):
        load("cifar10", data_root=tmp_path, download=False)


def test_downloads_are_encrypted_and_checked():
    for known in NAMED.values():
        for archive in (*known.train, *known.test):
            assert archive.url.startswith("https://")
            assert len(bytes.fromhex(archive.sha256)) == 32


@pytest.fixture
def server(tmp_path):
    """A web server on this machine: what is written into ``server.folder`` can be fetched at ``server.url``."""
    folder = tmp_path / "www"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.folder, running.url = folder, f"http://127.0.0.1:{running.server_port}/"
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_an_archive_is_downloaded_once(monkeypatch, tmp_path, server):
    data, pixels = cifar10()
    (file,) = register(monkeypatch, "cifar10", data, url=server.url)
    (server.folder / file).write_bytes(data)
    root = tmp_path / "new" / "root"
    assert np.array_equal(load("cifar10", split="test", data_root=root).images, pixels[5])
    assert {path.name for path in root.rglob("*")} == {"cifar10", file}
    (server.folder / file).unlink()
    assert len(load("cifar10", data_root=root)) == 10


def test_a_download_with_a_wrong_checksum_leaves_nothing(monkeypatch, tmp_path, server):
    (file,) = register(monkeypatch, "cifar10", b"the right one", url=server.url)
    (server.folder / file).write_bytes(b"another one")
    with pytest.raises(
        FileNotFoundError, match=r"the download failed: SHA256 hash of downloaded file .* does not match"
    ):
        load("cifar10", data_root=tmp_path / "root")
    assert not list(tmp_path.glob("root*"))


def test_a_damaged_archive_is_downloaded_again(monkeypatch, tmp_path, server):
    data, _ = cifar10()
    (file,) = register(monkeypatch, "cifar10", data, url=server.url)
    (server.folder / file).write_bytes(data)
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / file).write_bytes(data[:100])
    assert len(load("cifar10", data_root=tmp_path)) == 10
    assert (tmp_path / "cifar10" / file).read_bytes() == data


def test_a_missing_page_is_an_error(monkeypatch, tmp_path, server):
    register(monkeypatch, "cifar10", b"", url=server.url)
    with pytest.raises(FileNotFoundError, match="the download failed: 404 Client Error"):
        load("cifar10", data_root=tmp_path)
