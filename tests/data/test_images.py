"""Folders of images: pixels against Pillow and NumPy, what is decided from the data, a sentence for each mistake."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from chainrule.data import images
from chainrule.errors import ArgumentError, DataError, FileFormatError

GREY = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)
COLOUR = np.stack([GREY, GREY[::-1], 255 - GREY], axis=-1)


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes, three grey images of 4 × 6 pixels."""
    save(tmp_path / "cat" / "b.png", GREY)
    save(tmp_path / "cat" / "a.png", GREY[::-1].copy())
    save(tmp_path / "ant" / "c.png", 255 - GREY)
    return tmp_path


def test_a_folder_is_read_in_the_order_of_its_names(folder):
    found = images.read_folder(folder)
    np.testing.assert_array_equal(found.X, [255 - GREY, GREY[::-1], GREY])
    assert found.y.tolist() == [0, 1, 1]
    assert found.classes == ("ant", "cat")
    assert [path.name for path in found.paths] == ["c.png", "a.png", "b.png"]
    assert (found.X.dtype, found.y.dtype, found.size, found.colour) == (np.uint8, np.int64, (4, 6), False)


def test_hidden_files_and_notes_are_passed_over(folder):
    (folder / ".git").mkdir()
    (folder / "README.md").write_text("about", encoding="utf-8")
    (folder / "cat" / ".DS_Store").write_bytes(b"\0")
    (folder / "cat" / "Thumbs.db").write_bytes(b"\0")
    assert len(images.find(folder).paths) == 3


@pytest.mark.parametrize("kind", ["png", "bmp", "gif", "tiff", "webp"])
def test_every_lossless_kind_gives_the_same_pixels(tmp_path: Path, kind):
    options = {"lossless": True} if kind == "webp" else {}
    paths = [save(tmp_path / f"grey.{kind}", GREY, **options)]
    np.testing.assert_array_equal(images.read_files(paths), GREY[None])
    if kind != "gif":
        np.testing.assert_array_equal(
            images.read_files([save(tmp_path / f"c.{kind}", COLOUR, **options)]), COLOUR[None]
        )


def test_a_jpeg_is_read_as_pillow_reads_it(tmp_path: Path):
    path = save(tmp_path / "a.jpg", COLOUR)
    np.testing.assert_array_equal(images.read_files([path])[0], np.asarray(Image.open(path)))


def test_grey_images_saved_in_colour_become_grey_and_one_coloured_pixel_makes_all_colour(tmp_path: Path):
    grey = save(tmp_path / "grey.png", np.stack([GREY] * 3, axis=-1))
    plain = save(tmp_path / "plain.png", GREY)
    spot = np.stack([GREY] * 3, axis=-1)
    spot[2, 3] = 255, 0, 0
    coloured = save(tmp_path / "spot.png", spot)
    np.testing.assert_array_equal(images.read_files([grey, plain]), [GREY, GREY])
    np.testing.assert_array_equal(images.read_files([plain, coloured])[1], spot)
    assert images.read_files([plain], colour=True).shape == (1, 4, 6, 3)


def test_colour_becomes_grey_by_the_luma_of_itu_r_601(tmp_path: Path):
    path = save(tmp_path / "a.png", COLOUR)
    expected = COLOUR @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(images.read_files([path], colour=False)[0], expected, atol=0.51)


def test_the_exif_orientation_is_honoured(tmp_path: Path):
    upright = COLOUR
    turns = {2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 6: np.rot90, 8: lambda a: np.rot90(a, -1)}
    for orientation, stored in turns.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = save(tmp_path / f"{orientation}.png", np.ascontiguousarray(stored(upright)), exif=exif)
        np.testing.assert_array_equal(images.read_files([path])[0], upright)


def test_transparency_is_laid_on_white(tmp_path: Path):
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, :, 3] = 0, 128, 255
    found = images.read_files([save(tmp_path / "a.png", pixels)])
    assert found.tolist() == [[[255, 127, 0]]]


def test_a_transparent_colour_of_a_palette_is_laid_on_white(tmp_path: Path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 200, 200, 200])
    image.save(tmp_path / "a.png", transparency=0)
    assert images.read_files([tmp_path / "a.png"]).tolist() == [[[255, 200]]]


def test_sixteen_bits_become_eight(tmp_path: Path):
    path = save(tmp_path / "a.png", np.array([[0, 257 * 100, 65535]], np.uint16))
    assert images.read_files([path]).tolist() == [[[0, 100, 255]]]


def test_one_bit_images_are_black_and_white(tmp_path: Path):
    path = save(tmp_path / "a.png", np.array([[True, False]]))
    assert images.read_files([path]).tolist() == [[[255, 0]]]


def test_the_first_frame_of_an_animation_is_taken(tmp_path: Path):
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(images.read_files([tmp_path / "a.gif"]), GREY[None])


def test_images_of_different_sizes_become_32_by_32(folder):
    save(folder / "ant" / "tall.png", np.full((50, 10), 7, np.uint8))
    found = images.read_folder(folder)
    assert found.size == (32, 32)
    assert (found.X[1] == 7).all()


def test_large_images_of_one_size_keep_their_shape_and_shrink_to_64(tmp_path: Path):
    path = save(tmp_path / "a.png", np.full((100, 200), 9, np.uint8))
    found = images.read_files([path])
    assert found.shape == (1, 32, 64)
    assert (found == 9).all()


def test_a_given_size_is_taken_and_shrinking_averages(tmp_path: Path):
    path = save(tmp_path / "a.png", GREY)
    assert images.read_files([path], size=(2, 3)).shape == (1, 2, 3)
    assert abs(float(images.read_files([path], size=1).item()) - GREY.mean()) < 3


def test_a_limit_is_shared_out_among_the_classes(folder):
    for number in range(5):
        save(folder / "ant" / f"d{number}.png", GREY)
    found = images.read_folder(folder, limit=4)
    assert found.y.tolist() == [0, 0, 1, 1]
    with pytest.raises(ArgumentError, match="limit must be at least 2, the number of classes"):
        images.read_folder(folder, limit=1)


@pytest.mark.parametrize("size", [0, -3, 5000, True, 2.5, "12", (2, 0), (1, 2, 3), (2.5, 3)])
def test_a_size_that_is_none_is_refused(folder, size):
    with pytest.raises(ArgumentError, match="size must be"):
        images.read_folder(folder, size=size)


def test_more_pixels_than_memory_is_refused_before_they_are_read(folder, monkeypatch):
    monkeypatch.setattr(images, "MAX_BYTES", 10)
    with pytest.raises(DataError, match=r"3 images of 4 × 6 pixels need .* give a smaller size or a limit"):
        images.read_folder(folder)


def damaged(folder: Path, kind: str) -> Path:
    path = folder / "cat" / f"bad.{kind}"
    rng = np.random.default_rng(0)
    save(path, rng.integers(0, 256, (60, 60, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "gif", "webp", "tiff"])
def test_a_truncated_file_is_named(folder, kind):
    path = damaged(folder, kind)
    with pytest.raises(DataError, match=r"is damaged or cut short|is not an image, or a damaged one") as caught:
        images.read_folder(folder)
    assert str(path) in str(caught.value)


def test_what_only_calls_itself_an_image_is_named(folder):
    (folder / "cat" / "z.jpg").write_text("<html>not found</html>", encoding="utf-8")
    with pytest.raises(DataError, match=r'cat/z\.jpg" is not an image'):
        images.read_folder(folder)


def test_a_file_of_another_kind_is_named(folder):
    (folder / "cat" / "z.heic").write_bytes(b"abc")
    with pytest.raises(DataError, match=r'cat/z\.heic" is not of a kind that is read: png, jpg'):
        images.read_folder(folder)


def test_a_decompression_bomb_is_refused(folder, monkeypatch):
    save(folder / "cat" / "z.png", np.zeros((100, 100), np.uint8))
    for limit in (9000, 4000):  # Pillow warns up to twice its limit, and raises above it
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(DataError, match=rf'cat/z\.png" declares more than {limit:,} pixels'):
            images.read_folder(folder)


def test_floating_point_pixels_are_refused(folder):
    save(folder / "cat" / "z.tiff", GREY.astype(np.float32))
    with pytest.raises(DataError, match=r'cat/z\.tiff" has floating-point pixels'):
        images.read_folder(folder)


def test_folders_that_are_none_are_explained(tmp_path: Path):
    with pytest.raises(DataError, match="does not exist: name a folder that has one folder of images for each class"):
        images.find(tmp_path / "nothing")
    with pytest.raises(DataError, match="has no folders in it: put the images of each class into a folder"):
        images.find(tmp_path)
    path = save(tmp_path / "cat" / "a.png", GREY)
    with pytest.raises(DataError, match="is a file: name a folder"):
        images.find(path)
    with pytest.raises(DataError, match='has only one class folder, "cat": at least two'):
        images.find(tmp_path)


def test_an_empty_class_and_a_nested_one_are_named(folder):
    (folder / "dog").mkdir()
    with pytest.raises(DataError, match='dog" holds no images; remove it or fill it'):
        images.find(folder)
    (folder / "dog" / "puppy").mkdir()
    with pytest.raises(DataError, match='dog" holds no images; it has folders: are they the classes'):
        images.find(folder)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF"])
@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=4), st.integers(1, 2000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_hostile_bytes_end_in_pixels_or_in_one_error(tmp_path, kind, changes, length):
    stream = io.BytesIO()
    Image.fromarray(COLOUR).save(stream, kind)
    content = bytearray(stream.getvalue()[:length])
    for place, value in changes:
        content[place % len(content)] = value
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with contextlib.suppress(DataError):
        assert images.read_files([path], size=2).shape[:3] == (1, 2, 2)


def test_a_folder_in_place_of_an_image_is_named(tmp_path: Path):
    with pytest.raises(DataError, match="is not a file: name an image"):
        images.read_files([tmp_path])


def test_files_that_are_missing_are_named(tmp_path: Path):
    with pytest.raises(DataError, match=r'nothing\.png" cannot be read: No such file'):
        images.read_files([tmp_path / "nothing.png"])
    with pytest.raises(DataError, match="there are no image files"):
        images.read_files([])


@pytest.mark.parametrize("pixels", [GREY, COLOUR])
def test_prepared_images_are_scaled_and_flattened_as_numpy_does_it(tmp_path: Path, pixels):
    save(tmp_path / "ant" / "a.png", pixels)
    save(tmp_path / "bee" / "b.png", 255 - pixels // 2)
    X, y, schema, paths = images.prepare(tmp_path)
    raw = np.stack([pixels, 255 - pixels // 2]).reshape(2, 24, -1) / 255
    expected = (raw - raw.mean((0, 1))) / raw.std((0, 1))
    np.testing.assert_allclose(X, expected.reshape(2, -1), rtol=1e-5, atol=1e-6)
    assert (X.dtype, X.shape[1], y.tolist()) == (np.float32, schema.features, [0, 1])
    assert schema.size == (4, 6)
    assert [path.name for path in paths] == ["a.png", "b.png"]


def test_a_single_file_gives_the_same_row_as_in_training_bit_by_bit(folder):
    X, _, schema, paths = images.prepare(folder)
    for row, path in enumerate(paths):
        np.testing.assert_array_equal(schema.transform_files([path]), X[row : row + 1])


def test_a_file_of_another_size_and_colour_is_made_to_fit(folder):
    schema = images.prepare(folder).schema
    path = save(folder / "new.png", np.full((40, 30, 3), 255, np.uint8))
    expected = np.full((1, 24), (1 - schema.mean[0]) / schema.std[0], np.float32)
    np.testing.assert_allclose(schema.transform_files([path]), expected, rtol=1e-6)


def test_the_scale_is_learned_from_the_rows_of_training_only(folder):
    found = images.read_folder(folder)
    schema = images.ImageSchema.fit(found, np.array([2]))
    assert schema.mean[0] == pytest.approx((GREY / 255).mean())
    assert schema.std[0] == pytest.approx((GREY / 255).std())


def test_images_of_one_even_shade_are_centred_and_not_divided_by_zero(tmp_path: Path):
    for name in ("ant", "bee"):
        save(tmp_path / name / "a.png", np.full((2, 2), 77, np.uint8))
    X, _, schema, _ = images.prepare(tmp_path)
    assert schema.std == (1.0,)
    np.testing.assert_allclose(X, 0, atol=1e-7)


def test_a_labelled_folder_is_numbered_by_the_classes_of_training(folder, tmp_path_factory):
    schema = images.prepare(folder).schema
    other = tmp_path_factory.mktemp("other")
    path = save(other / "cat" / "z.png", GREY)
    X, y, paths = schema.transform_folder(other)
    assert (X.shape, y.tolist(), paths) == ((1, 24), [1], (path,))
    save(other / "dog" / "z.png", GREY)
    with pytest.raises(DataError, match='has a class "dog" that the network was not trained on: ant, cat'):
        schema.transform_folder(other)


def test_a_schema_comes_back_from_json(folder):
    schema = images.prepare(folder).schema
    assert images.ImageSchema.from_json(json.loads(json.dumps(schema.to_json()))) == schema


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", [0, 3]),
        ("size", [4, True]),
        ("size", "4x6"),
        ("colour", 1),
        ("mean", [0.1, 0.2]),
        ("mean", [float("nan")]),
        ("mean", [10**400]),
        ("std", [0.0]),
        ("std", [float("inf")]),
        ("std", None),
        ("classes", []),
        ("classes", ["ant", "ant"]),
        ("classes", ["ant", ["cat"]]),
    ],
)
def test_an_impossible_schema_is_refused_with_its_field(folder, field, value):
    values = images.prepare(folder).schema.to_json()
    with pytest.raises(FileFormatError, match=f'impossible "{field}"'):
        images.ImageSchema.from_json({**values, field: value})


@pytest.mark.parametrize("values", [None, [], {}, {"kind": "table"}])
def test_what_is_no_schema_is_refused(values):
    with pytest.raises(FileFormatError, match="not a schema of images"):
        images.ImageSchema.from_json(values)


def test_pixels_of_another_shape_are_refused(folder):
    schema = images.prepare(folder).schema
    with pytest.raises(DataError, match=r"expected uint8 pixels of shape \(n, 4, 6\), but got uint8 of \(1, 6, 4\)"):
        schema.transform(np.zeros((1, 6, 4), np.uint8))
