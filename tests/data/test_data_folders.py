"""Class folders and zips: layouts, decoding, the cache, and all that can be wrong with them."""

import io
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from firstspike.data import data_folder, load
from firstspike.data import decode as decode_module
from firstspike.data import sources as sources_module
from firstspike.data.decode import Decoding, resize_all
from firstspike.data.sources import list_images, open_source


def picture(seed, *, mode="RGB", height=4, width=4):
    shape = (height, width) if mode == "L" else (height, width, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encode(pixels, form="PNG", **options):
    buffer = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(buffer, form, **options)
    return buffer.getvalue()


def write(place, files):
    """Write ``{name: bytes or pixels}`` as a folder, or as a zip where the place ends in .zip; names/ are folders."""
    files = {name: encode(data) if isinstance(data, np.ndarray) else data for name, data in files.items()}
    if place.suffix == ".zip":
        with zipfile.ZipFile(place, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    else:
        for name, data in files.items():
            path = place / name
            if name.endswith("/"):
                path.mkdir(parents=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
    return place


def decoded(source, **options):
    with Decoding(source, list_images(source, "train"), **options) as decoding:
        return decoding.result()


@pytest.fixture(params=["set", "set.zip"])
def place(request, tmp_path):
    return tmp_path / request.param


@pytest.fixture(autouse=True)
def no_default_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("FIRSTSPIKE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home-cache"))


CATS_AND_DOGS = {"dog/2.png": picture(1), "cat/b.png": picture(2), "cat/a.png": picture(3)}


def check_cats_and_dogs(data):
    assert data.classes == ("cat", "dog")
    assert data.labels.tolist() == [0, 0, 1]
    expected = np.stack([picture(3), picture(2), picture(1)]).transpose(0, 3, 1, 2)
    assert np.array_equal(data.images, expected)


@pytest.mark.parametrize("wrapper", ["", "wrapper/", "two/wrappers/", "./"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_classes_are_numbered_alphabetically(place, wrapper, split):
    files = {f"{wrapper}{name}": data for name, data in CATS_AND_DOGS.items()}
    data = load(str(write(place, files | {"README.md": b"not an image"})), split=split)
    check_cats_and_dogs(data)
    assert data.name == str(place)
    assert data.shape == (3, 4, 4)


@pytest.mark.parametrize("wrapper", ["", "wrapper/"])
@pytest.mark.parametrize(("split", "folder"), [("train", "train"), ("test", "test"), ("test", "val")])
def test_split_folders(place, wrapper, split, folder):
    other = "test" if folder == "train" else "train"
    files = {f"{wrapper}{folder}/{name}": data for name, data in CATS_AND_DOGS.items()}
    files |= {f"{wrapper}{other}/{name}": picture(9) for name in ("dog/x.png", "cat/y.png")}
    check_cats_and_dogs(load(str(write(place, files)), split=split))


def test_test_is_preferred_to_val(place):
    files = {f"test/{name}": data for name, data in CATS_AND_DOGS.items()}
    files |= {f"val/{name}": picture(9) for name in ("dog/x.png", "cat/y.png")}
    check_cats_and_dogs(load(str(write(place, files)), split="test"))


SPLITS = [
    ("train", "test"),
    ("train", "val"),
    ("train", "valid", "test"),
    ("training", "testing"),
    ("Train", "Test"),
    ("train", "validation"),
    ("train", "valid"),
    ("train", "dev"),
    ("train", "test", "unlabeled"),
    ("TRAIN", "Extra", "VAL"),
]


@pytest.mark.parametrize("folders", SPLITS, ids="-".join)
def test_usual_names_of_splits(place, folders):
    """Roboflow, Kaggle, mnist_png and others: a split is never taken for a class."""
    files = {f"{folder}/{own}/0.png": picture(n) for n, folder in enumerate(folders) for own in ("cat", "dog")}
    write(place, files)
    train, test = (load(place, split=split) for split in ("train", "test"))
    assert train.classes == test.classes == ("cat", "dog")
    assert not train.whole
    last = folders.index("test") if "test" in folders else len(folders) - 1
    assert np.array_equal(np.asarray(train.images)[0], picture(0).transpose(2, 0, 1))
    assert np.array_equal(np.asarray(test.images)[0], picture(last).transpose(2, 0, 1))


def test_folders_of_splits_and_others_are_refused(place):
    write(place, {f"{folder}/a/0.png": picture(0) for folder in ("train", "valid", "bus")})
    with pytest.raises(
        ValueError, match=r"not 'bus' beside 'train' and 'valid'; move it away, or rename it to one of train, "
    ):
        load(place)


def test_a_zip_of_a_program_that_writes_backslashes(tmp_path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for own in ("cat", "dog"):
            archive.writestr(zipfile.ZipInfo(f"train\\{own}\\0.png"), encode(picture(0)))
    assert load(tmp_path / "set.zip").classes == ("cat", "dog")


def test_one_image_is_no_data_set(tmp_path):
    (tmp_path / "one.png").write_bytes(encode(picture(0)))
    with pytest.raises(ValueError, match="put images into a folder for each class"):
        load(tmp_path / "one.png")


def test_one_split_folder_alone(place):
    write(place, {f"val/{name}": data for name, data in CATS_AND_DOGS.items()})
    check_cats_and_dogs(load(str(place), split="test"))
    with pytest.raises(ValueError, match=r"must have a folder for split 'train', not only \['val'\]$"):
        load(str(place), split="train")


def test_a_class_may_be_called_train(place):
    """CIFAR-100 has such a class."""
    write(place, {"train/1.png": picture(1), "tulip/2.png": picture(2)})
    assert load(str(place), split="test").classes == ("train", "tulip")
    inner = write(
        place.with_name("inner" + place.suffix), {"train/train/1.png": picture(1), "train/tulip/2.png": picture(2)}
    )
    assert load(str(inner)).classes == ("train", "tulip")


def test_images_deeper_in_a_class_and_hidden_files(place):
    files = {
        "n1/images/a.PNG": picture(1),
        "n1/boxes.txt": b"a 1 2 3",
        "n2/images/b.jpeg": encode(picture(2), "JPEG"),
        "__MACOSX/n1/._a.png": b"junk",
        ".hidden/c.png": b"junk",
        "n1/.thumb.png": b"junk",
    }
    if place.suffix != ".zip":
        del files["__MACOSX/n1/._a.png"]
    data = load(str(write(place, files)))
    assert data.classes == ("n1", "n2")
    assert len(data) == 2
    assert np.array_equal(data.images[0], picture(1).transpose(2, 0, 1))


def test_links_to_folders_are_followed_and_end(tmp_path):
    write(tmp_path / "elsewhere", {"a.png": picture(1)})
    write(tmp_path / "set", {"dog/b.png": picture(2)})
    (tmp_path / "set/cat").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set/dog/back").symlink_to(tmp_path / "set/dog")
    data = load(str(tmp_path / "set"))
    assert data.classes == ("cat", "dog")
    assert len(data) == 2


def test_annotated_validation_images(place):
    """Tiny-ImageNet: labels of val in a file, images of test without labels."""
    files = {f"t/train/{wnid}/images/{wnid}_0.png": picture(i) for i, wnid in enumerate(["n2", "n1"])}
    files |= {"t/val/images/v0.png": picture(5), "t/val/images/v1.png": picture(6), "t/test/images/x.png": picture(7)}
    files["t/val/val_annotations.txt"] = b"v0.png\tn2\t0\t0\t62\t62\nv1.png\tn1\t1\t1\t2\t2\n"
    write(place, files)
    data = load(str(place), split="test")
    assert data.classes == load(str(place)).classes == ("n1", "n2")
    assert data.labels.tolist() == [0, 1]
    assert np.array_equal(data.images[1], picture(5).transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (b"v0.png\tn1\n", r"must name every image in val_annotations.txt, not leave out \['v1.png'\]$"),
        (b"v0.png\tn1\nv9.png\tn1\n", r"must have an image and a class for each line .*, not 'v9.png\\tn1'$"),
        (b"v0.png\tn1\nv0.png\tn1\n", r"must have an image and a class for each line .*, not 'v0.png\\tn1'$"),
        (b"v0.png\n", r"must have an image and a class for each line .*, not 'v0.png'$"),
    ],
)
def test_annotations_must_fit(place, lines, text):
    files = {"val/images/v0.png": picture(5), "val/images/v1.png": picture(6), "val/val_annotations.txt": lines}
    write(place, files)
    with pytest.raises(ValueError, match=text):
        load(str(place), split="test")


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({"readme.txt": b"x"}, r"must hold one folder of images per class, not \['readme.txt'\]$"),
        ({"a.png": picture(1)}, r"must hold its images in one folder per class, not 'a.png' beside them$"),
        (CATS_AND_DOGS | {"stray.png": picture(1)}, r"in one folder per class, not 'stray.png' beside them$"),
        (CATS_AND_DOGS | {"eel/": b""}, r"must hold images in every class folder, not none in 'eel'$"),
        (CATS_AND_DOGS | {"eel/notes.txt": b""}, r"must hold images in every class folder, not none in 'eel'$"),
        ({"train/a/1.png": picture(1), "test/b/1.png": picture(1)}, r"same classes in train and test, not 'a' in one$"),
        (
            CATS_AND_DOGS | {"dog/9.png": b"junk"},
            r"^image 'dog/9.png' in .* must be readable, not broken: it is none of PNG, ",
        ),
        (CATS_AND_DOGS | {"cat/0.png": b""}, r"^image 'cat/0.png' in .* must be readable, not broken: "),
        (
            CATS_AND_DOGS | {"dog/9.png": encode(picture(1, height=64, width=64))[:-2000]},
            r"^image 'dog/9.png' in .* must be readable, not broken: ",
        ),
        (
            CATS_AND_DOGS | {"dog/9.png": picture(1, height=5)},
            r"^image 'dog/9.png' in .* must be 4 x 4 pixels like 'cat/a.png' \(a given size resizes all\), not 5 x 4$",
        ),
        (
            CATS_AND_DOGS | {"dog/9.png": np.zeros((4, 4), dtype=np.uint16)},
            r"^image 'dog/9.png' in .* must have 8 bits per channel, not mode 'I;16'$",
        ),
        (
            CATS_AND_DOGS | {"dog/9.png": np.full((4, 4, 4), 254, dtype=np.uint8)},
            r"^image 'dog/9.png' in .* must be opaque, not transparent in places$",
        ),
        (
            CATS_AND_DOGS
            | {
                "dog/9.gif": encode(
                    Image.new("L", (4, 4)), "GIF", save_all=True, append_images=[Image.new("L", (4, 4), 255)]
                )
            },
            r"^image 'dog/9.gif' in .* must have one frame, not 2$",
        ),
        # EPS would be handed to another program
        (CATS_AND_DOGS | {"dog/9.png": encode(picture(1), "EPS")}, r"^image 'dog/9.png' in .* must be readable"),
    ],
)
def test_refuses(place, files, text):
    write(place, files)
    with pytest.raises(ValueError, match=text):
        load(str(place))
    assert not list(place.parent.rglob("*.npz"))


def test_an_empty_folder_and_an_empty_zip(place):
    place.mkdir() if place.suffix != ".zip" else zipfile.ZipFile(place, "w").close()
    with pytest.raises(ValueError, match=r"must hold one folder of images per class, not \[\]$"):
        load(str(place))


def test_what_is_not_there(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"^data must be one of digits, .*, a folder, a zip archive or a NumPy file, not"
    ):
        load(str(tmp_path / "nothing"))
    with (
        pytest.raises(FileNotFoundError, match="must be a folder or a zip archive that exists"),
        open_source(tmp_path / "nothing"),
    ):
        pass


def test_wrong_options(tmp_path):
    with pytest.raises(ValueError, match=r"^split must be one of \['test', 'train'\], not 'val'$"):
        load("digits", split="val")
    with pytest.raises(ValueError, match=r"^size must lie in 1\.\.4096, not 0$"):
        load("digits", size=0)


@pytest.mark.parametrize("keep", [0, 10, 300])
def test_a_truncated_zip(tmp_path, keep):
    place = write(tmp_path / "set.zip", CATS_AND_DOGS)
    place.write_bytes(place.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"^data must be a folder or a whole zip archive, not "):
        load(str(place))


def test_a_damaged_image_in_a_zip(tmp_path):
    place = write(tmp_path / "set.zip", CATS_AND_DOGS)
    data = bytearray(place.read_bytes())
    at = data.find(b"IDAT")
    data[at + 8] ^= 255
    place.write_bytes(data)
    with pytest.raises(ValueError, match=r"^dog/2.png in .*set.zip must be readable, not corrupted: Bad CRC-32"):
        load(str(place))


def test_every_damaged_png_is_refused_or_decoded(tmp_path):
    """No error but ours gets out, whichever byte is damaged."""
    good = encode(picture(1))
    refused = []
    for at in range(len(good)):
        data = bytearray(good)
        data[at] ^= 0x55
        place = write(tmp_path / "set", {"cat/a.png": bytes(data)})
        with open_source(place) as source:
            try:
                decoded(source)
            except ValueError as error:
                refused.append(str(error))
    assert len(refused) > len(good) // 2
    assert all(text.startswith("image 'cat/a.png' in ") for text in refused)


def test_memory_is_bounded_before_decoding(tmp_path):
    place = write(tmp_path / "set", CATS_AND_DOGS)
    with open_source(place) as source:
        assert decoded(source, max_bytes=3 * 48).shape == (3, 3, 4, 4)
        text = r"^images of .*set must decode to at most 143 bytes, not 3 x 3 x 4 x 4 = 144$"
        with pytest.raises(ValueError, match=text):
            decoded(source, max_bytes=143)
        with pytest.raises(ValueError, match=r"not 3 x 3 x 8 x 8 = 576$"):
            decoded(source, max_bytes=575, size=8)


def test_a_picture_of_absurd_size_is_refused(place):
    """4 KB of PNG that would unpack to 64 million pixels."""
    bomb = encode(Image.new("1", (8192, 8192)))
    assert len(bomb) < 20_000
    write(place, {"cat/bomb.png": bomb})
    with pytest.raises(ValueError, match=r"^image 'cat/bomb.png' .* at most 33554432 pixels, not 8192 x 8192$"):
        load(str(place), size=8)


def test_a_file_of_absurd_size_is_refused(place, monkeypatch):
    monkeypatch.setattr(sources_module, "MAX_FILE_BYTES", 50)
    write(place, CATS_AND_DOGS)
    with pytest.raises(ValueError, match=r"must hold at most 50 bytes, not \d+$"):
        load(str(place))


def test_grey_stays_grey_and_colour_makes_all_rgb(place):
    grey, colour = picture(1, mode="L"), picture(2)
    write(place, {"a/1.png": grey, "b/2.png": grey})
    data = load(str(place))
    assert data.shape == (1, 4, 4)
    assert np.array_equal(data.images[0, 0], grey)
    three = load(str(place), expect_shape=(3, 4, 4))
    assert np.array_equal(three.images[1], np.stack([grey] * 3))
    mixed = write(place.with_name("mixed" + place.suffix), {"a/1.png": grey, "b/2.png": colour})
    data = load(str(mixed))
    assert np.array_equal(data.images, np.stack([np.stack([grey] * 3), colour.transpose(2, 0, 1)]))
    with pytest.raises(ValueError, match=r"must have the shape \(1, 4, 4\), not \(3, 4, 4\)$"):
        load(str(mixed), expect_shape=(1, 4, 4))
    with pytest.raises(ValueError, match=r"must have the shape \(3, 8, 8\), not \(3, 4, 4\)$"):
        load(str(mixed), expect_shape=(3, 8, 8))


def test_other_modes_show_the_same_picture(tmp_path):
    grey = Image.fromarray(picture(1, mode="L"))
    bits = Image.fromarray(picture(2, mode="L") > 127)
    palette = Image.fromarray(picture(3)).quantize(8)
    opaque = Image.fromarray(np.concatenate([picture(4), np.full((4, 4, 1), 255, np.uint8)], axis=2))
    files = {
        "a/1.bmp": encode(grey, "BMP"),
        "a/2.png": encode(bits),
        "a/3.png": encode(palette),
        "a/4.png": encode(opaque),
        "a/5.webp": encode(Image.fromarray(picture(5)), "WEBP", lossless=True),
        "a/6.tif": encode(picture(6), "TIFF"),
        "a/7.ppm": encode(picture(7), "PPM"),
        "a/8.png": encode(palette, transparency=200),
    }
    images = load(str(write(tmp_path / "set", files))).images
    colours = np.array(palette.getpalette(), dtype=np.uint8).reshape(-1, 3)[np.array(palette)]
    expected = [np.stack([np.array(grey)] * 3, axis=2), np.stack([np.array(bits) * np.uint8(255)] * 3, axis=2), colours]
    expected += [picture(4), picture(5), picture(6), picture(7), colours]
    assert np.array_equal(images, np.stack(expected).transpose(0, 3, 1, 2))


def test_resizing(place):
    flat = np.full((6, 10, 3), (10, 20, 30), dtype=np.uint8)
    wide = np.zeros((4, 8, 3), dtype=np.uint8)
    wide[:, 2:6] = 255  # the centre square, all white
    write(place, {"a/flat.png": flat, "a/wide.png": wide})
    data = load(str(place), size=2, expect_shape=(3, 2, 2))
    assert data.images[0].reshape(3, 4).tolist() == [[10] * 4, [20] * 4, [30] * 4]
    assert np.unique(data.images[1]).tolist() == [255]


def test_resizing_an_array_equals_resizing_the_file(tmp_path):
    pictures = [picture(i, height=16, width=16) for i in range(3)]
    place = write(tmp_path / "set", {f"a/{i}.png": pixels for i, pixels in enumerate(pictures)})
    array = np.stack(pictures).transpose(0, 3, 1, 2)
    assert np.array_equal(load(str(place), size=6).images, resize_all(array, 6))
    assert np.array_equal(resize_all(array, 16), array)


def test_many_images_keep_their_order(place):
    files = {f"{label}/{i:03}.png": np.full((2, 2), 7 * label + i, np.uint8) for label in range(2) for i in range(150)}
    data = load(str(write(place, files)))
    assert data.images[:, 0, 0, 0].tolist() == [7 * label + i for label in range(2) for i in range(150)]


def cache_files(root):
    return sorted((root / ".cache").glob("*")) if (root / ".cache").exists() else []


def test_cache_is_used_and_follows_the_files(place, tmp_path, monkeypatch):
    root = tmp_path / "root"
    write(place, CATS_AND_DOGS)
    check_cats_and_dogs(load(str(place), data_root=root))
    (kept,) = cache_files(root)
    with monkeypatch.context() as patch:
        patch.setattr(decode_module, "Decoding", lambda *_, **__: pytest.fail("decoded again"))
        check_cats_and_dogs(load(str(place), data_root=root))
    # another size is another entry; it does not replace the first
    assert load(str(place), data_root=root, size=2).shape == (3, 2, 2)
    assert len(cache_files(root)) == 2
    assert kept in cache_files(root)
    if place.suffix != ".zip":
        shutil.rmtree(place)
    write(place, CATS_AND_DOGS | {"cat/a.png": picture(77)})
    if place.suffix != ".zip":
        os.utime(place / "cat/a.png", ns=(1, 1))
    changed = load(str(place), data_root=root)
    assert np.array_equal(changed.images[0], picture(77).transpose(2, 0, 1))
    assert len(cache_files(root)) == 2
    assert kept not in cache_files(root)


def test_cache_keeps_splits_apart(place, tmp_path):
    files = {f"{split}/a/{i}.png": picture(10 * i + n) for n, split in enumerate(("train", "test")) for i in range(2)}
    write(place, files)
    for _ in range(2):
        for n, split in enumerate(("train", "test")):
            images = load(str(place), split=split, data_root=tmp_path).images
            assert np.array_equal(images[1], picture(10 + n).transpose(2, 0, 1))
    assert len(cache_files(tmp_path)) == 2


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "junk", "pickle", "other"])
def test_a_damaged_cache_is_rebuilt_with_a_warning(tmp_path, damage):
    place = write(tmp_path / "set", CATS_AND_DOGS)
    load(str(place), data_root=tmp_path)
    (path,) = cache_files(tmp_path)
    good = path.read_bytes()
    if damage == "pickle":
        np.savez(path, images=np.array([{}], dtype=object))
    elif damage == "other":
        np.savez(path, images=np.zeros((1, 3, 4, 4), np.uint8))
    else:
        flipped = bytearray(good)
        flipped[good.find(picture(3).transpose(2, 0, 1).tobytes())] ^= 1
        path.write_bytes({"truncate": good[:-40], "flip": bytes(flipped), "empty": b"", "junk": b"x" * 99}[damage])
    with pytest.warns(UserWarning, match=r"^cache file .*\.npz is damaged and is rebuilt: "):
        data = load(str(place), data_root=tmp_path)
    check_cats_and_dogs(data)
    assert cache_files(tmp_path) == [path]
    check_cats_and_dogs(load(str(place), data_root=tmp_path))


def test_no_cache_without_a_data_folder(place, tmp_path, monkeypatch):
    write(place, CATS_AND_DOGS)
    load(str(place))
    assert not list(tmp_path.rglob("*.npz"))
    monkeypatch.setenv("FIRSTSPIKE_DATA", str(tmp_path / "env"))
    load(str(place))
    assert len(cache_files(tmp_path / "env")) == 1


def test_a_cache_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    place = write(tmp_path / "set", CATS_AND_DOGS)

    def full(file, **_):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.warns(UserWarning, match=r"^cache file .* could not be written: .*No space left on device"):
        data = load(str(place), data_root=tmp_path)
    check_cats_and_dogs(data)
    assert cache_files(tmp_path) == []


def test_a_read_only_data_folder_is_left_alone(tmp_path):
    """Also by root, who could write there."""
    place, root = write(tmp_path / "set", CATS_AND_DOGS), tmp_path / "root"
    root.mkdir()
    root.chmod(0o555)
    check_cats_and_dogs(load(str(place), data_root=root))
    assert list(root.iterdir()) == []
    root.chmod(0o755)
    check_cats_and_dogs(load(str(place), data_root=root))
    assert len(cache_files(root)) == 1


def test_a_data_folder_that_is_a_file_is_no_reason_to_stop(tmp_path):
    place = write(tmp_path / "set", CATS_AND_DOGS)
    (tmp_path / "root").write_bytes(b"")
    check_cats_and_dogs(load(str(place), data_root=tmp_path / "root"))


def test_data_folder_is_argument_then_environment_then_platform(monkeypatch, tmp_path):
    assert data_folder().name == "firstspike"
    monkeypatch.setenv("FIRSTSPIKE_DATA", "/a/b")
    assert data_folder() == Path("/a/b")
    assert data_folder("/c") == Path("/c")
    assert data_folder("~/d") == Path.home() / "d"


def test_labels_are_int64_and_images_own_their_memory(place):
    data = load(str(write(place, CATS_AND_DOGS)))
    assert data.labels.dtype == np.int64
    assert data.images.flags.c_contiguous
    data.images[0] = 0  # writable
