"""Labels out and back in: every form gives back the same masks, and what comes in is right or left."""

import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dnerf_jax.io import label_folders, packs, png
from dnerf_jax.labelling import commands, label_pngs, naming, tools
from dnerf_jax.ops.labels import LabelMap

sys.path.insert(0, str(Path(__file__).parent.parent / "io"))
from random_pack import make_pack

FILES = {"coco": ("panoptic.json", "instances.json"), "cvat-xml": ("annotations.xml",), "label-studio": ("tasks.json",)}
RASTER = {"cvat", "png", "coco", "label-studio"}


def blobs(count, generator, size=16):
    """Masks of four classes and "ignore", with holes and islands, of noise too."""
    smooth = np.kron(generator.choice([0, 1, 2, 255], (count, 4, 4)), np.ones((1, 4, 4))).astype(np.uint8)
    smooth[:, 5:7, 5:7], smooth[:, 0, 0] = 1, 2
    smooth[0] = generator.choice([0, 1, 2, 255], (size, size))
    return smooth


@pytest.fixture
def pack(generator):
    """Six views, of which two are not labelled, and one is background all over."""
    masks = blobs(6, generator)
    masks[3:5], masks[5] = 255, 0
    return make_pack(masks=masks)


@pytest.fixture
def labels(pack, tmp_path):
    """The pack's folder."""
    packs.save(tmp_path / "labels", pack, unlabelled=True)
    return tmp_path / "labels"


@pytest.fixture
def blank(pack, tmp_path):
    """The same pack without labels, in a folder."""
    packs.save(tmp_path / "blank", make_pack(masks=np.full_like(pack.masks, 255)), unlabelled=True)
    return tmp_path / "blank"


def masks_of(folder):
    return packs.load(folder, unlabelled=True).masks


@pytest.mark.parametrize("form", tools.FORMS)
def test_every_form_gives_back_every_pixel(form, labels, blank, pack, tmp_path):
    out = tmp_path / "out"
    tools.export(labels, form, out)
    assert len(list(out.rglob("00*.png"))) >= 6
    for source in [out / name for name in FILES.get(form, ("",))]:
        report = tools.bring_in(source, blank, replace=True)
        assert not report.refused, report.refused
        expected = pack.masks.copy()
        if form == "cvat":  # in whose masks the background is what nobody labelled
            expected[5] = 255
            assert report.imported == (0, 1, 2) and len(report.empty) == 1
        np.testing.assert_array_equal(masks_of(blank), expected)
        assert any(line.endswith("-> 2 hair") for line in report.names)
    again = tools.bring_in(source, blank)
    assert not again.imported and not again.refused and 0 in again.same


def test_a_zip_is_read_as_its_folder(labels, blank, pack, tmp_path):
    tools.export(labels, "cvat", tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "out.zip", "w") as archive:
        for path in (tmp_path / "out").rglob("*.*"):
            archive.write(path, path.relative_to(tmp_path / "out"))
    assert commands.bring_in(str(tmp_path / "out.zip"), str(blank)) == 0
    np.testing.assert_array_equal(masks_of(blank)[:3], pack.masks[:3])
    assert not list(blank.rglob(".*"))


def test_what_is_labelled_is_replaced_only_when_told(labels, pack, generator, tmp_path, capsys):
    other = make_pack(masks=blobs(6, generator))
    packs.save(tmp_path / "other", other)
    tools.export(tmp_path / "other", "png", tmp_path / "out")
    before = {path: path.read_bytes() for path in labels.rglob("*.*")}
    assert commands.bring_in(str(tmp_path / "out"), str(labels)) == 1
    out = capsys.readouterr().out
    assert out.count("has other labels already: give --replace") == 4
    assert "labelled anew: 2 views, not imported: 4 pictures" in out
    kept = [path for path in before if path.parent.name != "masks" or path.stem not in ("0003", "0004")]
    assert all(path.read_bytes() == before[path] for path in kept)
    assert commands.bring_in(str(tmp_path / "out"), str(labels), replace=True) == 0
    np.testing.assert_array_equal(masks_of(labels), other.masks)


def test_views_are_all_or_nothing(labels, blank, pack, tmp_path):
    """Of another pack, of another size, of no view, twice, smoothed, of no class: each is told, the others come in."""
    tools.export(labels, "png", tmp_path / "out")
    masks = tmp_path / "out/masks"
    keys = [naming.key(pack, index) for index in range(6)]
    mask = Image.open(masks / f"{keys[0]}.png")
    mask.resize((8, 8)).save(masks / f"{keys[0]}.png")
    colors = pack.label_map.colorize(pack.masks[1])
    Image.fromarray(colors).resize((64, 64), Image.BILINEAR).resize((16, 16)).save(masks / f"{keys[1]}.png")
    shutil.copy(masks / f"{keys[2]}.png", masks / "0002.png")
    shutil.copy(masks / f"{keys[2]}.png", masks / "0003_00000000.png")
    shutil.copy(masks / f"{keys[2]}.png", masks / "cat.png")
    Image.fromarray(np.full((16, 16), 7, np.uint8)).save(masks / "0004.png")
    report = tools.bring_in(tmp_path / "out", blank)
    assert report.imported == (5,)
    reasons = {name.removesuffix(".png"): reason for name, reason in report.refused.items()}
    assert "of 8 x 8 pixels, the view of 16 x 16" in reasons[keys[0]]
    assert "which the label map does not know: export without smoothing" in reasons[keys[1]]
    assert "the same view, 2: neither" in reasons[keys[2]] and "the same view, 2: neither" in reasons["0002"]
    assert "view 3 of another pack" in reasons["0003_00000000"] and "of no view" in reasons["cat"]
    assert "unknown ids [7]" in reasons["0004"]
    assert not label_folders.has_labels(packs.load(blank, unlabelled=True))[:5].any()


@pytest.mark.parametrize("mode", ["P", "RGB", "L", "RGBA"])
def test_colors_say_the_classes_whatever_their_numbers(mode, blank, pack, tmp_path):
    """Palettes that a tool numbered by its own list, which labelmap.txt explains; greys are numbers of its lines."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/labelmap.txt").write_text("hair:0,255,0::\nbackground:0,0,0::\nSkin:255,0,0::\n")
    number = np.select([pack.masks[0] == 2, pack.masks[0] == 0, pack.masks[0] == 1], [0, 1, 2], 255).astype(np.uint8)
    palette = np.full((256, 3), (224, 224, 192), np.uint8)
    palette[:3] = (0, 255, 0), (0, 0, 0), (255, 0, 0)
    image = Image.fromarray(number if mode in "PL" else palette[number])
    if mode == "P":
        image.putpalette(palette.tobytes())
    (image.convert("RGBA") if mode == "RGBA" else image).save(tmp_path / "out/0000.png")
    report = tools.bring_in(tmp_path / "out", blank)
    assert report.imported == (0,) and "Skin -> 1 skin" in report.names
    np.testing.assert_array_equal(masks_of(blank)[0], pack.masks[0])


def test_names_are_found_and_told(pack):
    classes = LabelMap(("background", "left eye", "Hair"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))
    names = naming.Names(classes, {"Haar": "Hair", "dirt": "ignore"})
    found = [names(name) for name in ("Haar", "hair", "Left_Eye", "_background_", "__ignore__", "dirt")]
    assert found == [2, 2, 1, 0, 255, 255]
    assert "Left_Eye -> 1 left eye" in names.told() and "dirt -> 255 ignore" in names.told()
    with pytest.raises(ValueError, match=r"'hairs'.*did you mean 'Hair'.*--names"):
        names("hairs")
    with pytest.raises(ValueError, match="no such class"):
        naming.Names(classes, {"Haar": "fur"})
    taken = LabelMap(("sky", "ignore", "Void"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))
    assert naming.Names(taken)("ignore") == 1 and naming.Names(taken)(naming.ignore_name(taken)) == 255
    mask = np.array([[0, 1], [2, 255]], np.uint8)
    for shape in label_pngs._shapes(mask, None, taken, None):  # what is not labelled is not the class of that name
        assert set(mask[shape.region((2, 2))]) == {naming.Names(taken)(shape.label)}
    twins = LabelMap(("a", "B b", "b_b"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))
    assert naming.Names(twins)("b_b") == 2
    with pytest.raises(ValueError, match="no such class"):
        naming.Names(twins)("b b")


def test_views_are_known_by_their_keys(pack):
    key = naming.key(pack, 2)
    for name in (f"{key}.png", f"e97d4735-{key}.jpg", "/data/local-files/?d=images/0002.png", "a\\0002.png", "0002"):
        assert naming.index_of(pack, name) == 2, name
    for name in ("0006.png", "2.png", "img0.jpg", f"{key}x.png", ""):
        with pytest.raises(ValueError, match="of no view"):
            naming.index_of(pack, name)


def test_what_cannot_be_given_out_is_refused(labels, tmp_path):
    with pytest.raises(ValueError, match=r"no form 'voc': known are\n  cvat "):
        tools.export(labels, "voc", tmp_path / "out")
    with pytest.raises(ValueError, match="name a folder elsewhere"):
        tools.export(labels, "png", labels / "out")
    with pytest.raises(ValueError, match="expected one of background, ignore"):
        tools.bring_in(labels, labels, ground="sky")
    assert png.load_label_map(labels / "labelmap.json") and not (tmp_path / "out").exists()
