"""Files as label tools write them, made here in their likeness, and as nobody should."""

import base64
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dnerf_jax.io import encoding, packs
from dnerf_jax.labelling import drawn, label_studio, sources, tools
from dnerf_jax.ops.labels import LabelMap

sys.path.insert(0, str(Path(__file__).parent.parent / "io"))
from random_pack import make_pack

SIZE = (10, 10)
HEAD = '<?xml version="1.0"?><annotations><version>1.1</version><meta><task><mode>annotation</mode></task></meta>'
LABELME = {"version": "5.2.1", "flags": {}, "imagePath": "0000.png", "imageData": "aGVsbG8=", "imageHeight": 10}
LABELME |= {"imageWidth": 10}


@pytest.fixture
def blank(tmp_path):
    """A pack of two views of 10 x 10 pixels without labels; its classes are a and b."""
    classes = LabelMap(("background", "a", "b"), ((0, 0, 0), (255, 0, 0), (0, 255, 0)))
    pack = make_pack(latents=2, views=1, size=10, masks=np.full((2, 10, 10), 255, np.uint8), label_map=classes)
    packs.save(tmp_path / "labels", pack, unlabelled=True)
    return tmp_path / "labels"


def box(mask, index, left, top, right, bottom):
    mask[top:bottom, left:right] = index


def imported(path, blank, content=None, **options):
    """The first view's mask after the import of a file with this content, or why it was refused."""
    if content is not None:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    report = tools.bring_in(path, blank, replace=True, **options)
    return next(iter(report.refused.values()), None) or packs.load(blank, unlabelled=True).masks[0]


def test_cvat_for_images(blank, tmp_path):
    """Boxes, polygons and masks by z_order, then in order; an ellipse; masks are runs in their box, outside first."""
    shapes = """
      <box label="b" xtl="2.0" ytl="1.0" xbr="5.0" ybr="4.0" z_order="2"><attribute name="x">1</attribute></box>
      <polygon label="a" points="0.00,0.00;9.00,0.00;9.00,5.00;0.00,5.00" z_order="1"/>
      <mask label="b" rle="1, 2, 2, 1" left="6" top="7" width="3" height="2" z_order="0"/>
      <ellipse label="a" cx="2.0" cy="8.0" rx="1.2" ry="1.2" z_order="0"/>"""
    text = f'{HEAD}<image id="0" name="x/0000.png" width="10" height="10">{shapes}</image></annotations>'
    expected = np.zeros(SIZE, np.uint8)
    box(expected, 1, 0, 0, 9, 5)
    box(expected, 2, 2, 1, 5, 4)
    box(expected, 1, 1, 7, 3, 9)
    expected[7, 7:9] = expected[8, 8] = 2
    np.testing.assert_array_equal(imported(tmp_path / "a.xml", blank, text), expected)
    lines = text.replace("</image>", '<polyline label="" points="1.0,2;3,4"/></image>')
    assert "polyline ''" in imported(tmp_path / "a.xml", blank, lines)
    np.testing.assert_array_equal(imported(tmp_path / "a.xml", blank, lines, skip_lines=True), expected)
    rest = imported(tmp_path / "a.xml", blank, text, ground="ignore")
    np.testing.assert_array_equal(rest, np.where(expected == 0, 255, expected))


def test_old_labelme(blank, tmp_path):
    """XML for a picture; a deleted object does not count; masks lie in Masks/, half transparent."""
    (tmp_path / "out/Masks").mkdir(parents=True)
    drawn_mask = np.zeros(SIZE, np.uint8)
    box(drawn_mask, 1, 6, 6, 9, 8)
    opacity = drawn_mask * np.uint8(153)
    opacity[6:8, 5] = 40  # a smoothed edge
    opaque = np.dstack([np.full((10, 10, 3), 9, np.uint8), opacity])
    Image.fromarray(opaque).save(tmp_path / "out/Masks/m.png")
    points = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in ((1, 1), (4, 1), (4, 5), (1, 5)))
    text = (
        "<annotation><filename>0000.png</filename>"
        f"<object><name>a</name><deleted>0</deleted><polygon>{points}</polygon></object>"
        f"<object><name>zzz</name><deleted>1</deleted><polygon>{points}</polygon></object>"
        "<imagesize><nrows>10</nrows><ncols>10</ncols></imagesize>"
        "<object><name>b</name><deleted>0</deleted><segm><mask>m.png</mask></segm></object></annotation>"
    )
    expected = 2 * drawn_mask
    box(expected, 1, 1, 1, 4, 5)
    np.testing.assert_array_equal(imported(tmp_path / "out/img.xml", blank, text), expected)
    escaped = text.replace("m.png", "../../../etc/passwd.png")
    assert "outside of" in imported(tmp_path / "out/img.xml", blank, escaped)


def test_labelme(blank, tmp_path):
    part = encoding.encode_png(np.array([[0, 1, 1], [1, 0, 1]], np.uint8))
    shapes = [
        {"label": "a", "points": [[0, 0], [8, 0], [8, 4], [0, 4]], "shape_type": "polygon", "group_id": None},
        {"label": "background", "points": [[5.0, 3.0], [2.0, 1.0]], "shape_type": "rectangle"},
        {"label": "b", "points": [[6, 7], [8, 8]], "shape_type": "mask", "mask": base64.b64encode(part).decode()},
        {"label": "a", "points": [[2, 8], [3, 8]], "shape_type": "circle"},
    ]
    expected = np.zeros(SIZE, np.uint8)
    box(expected, 1, 0, 0, 8, 4)
    box(expected, 0, 2, 1, 5, 3)
    box(expected, 1, 1, 7, 3, 9)
    expected[7, 7:9] = expected[8, 6] = expected[8, 8] = 2
    content = LABELME | {"shapes": shapes}
    np.testing.assert_array_equal(imported(tmp_path / "x.json", blank, content), expected)
    for shape, message in (
        ({"points": [[0, 0], [1, 1]]}, "2 points, expected 3"),
        ({"points": [[0, 0], [1e9, 1], [3, 3]]}, "far outside"),
        ({"points": [[0, 0], ["x", 1], [3, 3]]}, "no two numbers"),
        ({"points": [[0, 0], [9, 9]], "shape_type": "mask", "mask": "!"}, "no PNG in base64"),
        ({"points": [[9, 9], [11, 10]], "shape_type": "mask", "mask": shapes[2]["mask"]}, "not inside"),
        ({"points": [[0, 0], [1, 1]], "shape_type": "star"}, "no shape of LabelMe's"),
        ({"points": [[0, 0]], "shape_type": "point"}, "point 'a', which has no area"),
        ({"label": "c", "points": shapes[0]["points"]}, "'c', and there is no such class"),
        ({"label": 3}, "which has no label"),
    ):
        broken = LABELME | {"shapes": [{"label": "a"} | shape]}
        assert message in imported(tmp_path / "x.json", blank, broken), message


def studio(*results):
    """An export of one task, as Label Studio has it."""
    size = {"original_width": 10, "original_height": 10, "image_rotation": 0, "to_name": "image", "origin": "manual"}
    made = [size | {"id": f"r{i}"} | result for i, result in enumerate(results)]
    annotation = {"id": 211797, "completed_by": 1, "result": made, "was_cancelled": False, "ground_truth": False}
    return [
        {"id": 68501, "annotations": [annotation], "file_upload": "e97d4735-0000.jpg", "data": {"image": "/image2"}}
    ]


def test_label_studio(blank, tmp_path):
    """Percent of the picture; a brush whose bytes go beyond 255; a class that stands in an entry of its own."""
    square = [[10.0, 10.0], [50.0, 10.0], [50.0, 40.0], [10.0, 40.0]]
    painted = np.zeros(SIZE, bool)
    painted[6:9, 6:9] = True
    brush = label_studio._brush("r1", "b", painted, 10)
    brush["value"]["rle"] = [number + 256 * (number % 2) for number in brush["value"]["rle"]]
    content = studio(
        {"type": "polygonlabels", "value": {"points": square, "polygonlabels": ["a"]}},
        brush,
        {"type": "rectangle", "value": {"x": 0, "y": 80, "width": 20, "height": 20, "rotation": 0}},
        {"type": "labels", "id": "r2", "value": {"labels": ["b"]}},
        {"type": "ellipselabels", "value": {"x": 80, "y": 20, "radiusX": 12, "radiusY": 12, "ellipselabels": ["a"]}},
    )
    expected = np.where(painted, 2, 0).astype(np.uint8)
    box(expected, 1, 1, 1, 5, 4)
    box(expected, 2, 0, 8, 2, 10)
    box(expected, 1, 7, 1, 9, 3)
    np.testing.assert_array_equal(imported(tmp_path / "x.json", blank, content), expected)
    for change, message in (
        (studio({"type": "brushlabels", "value": {"rle": [1, 2], "brushlabels": ["a"]}}), "cut off"),
        (studio({"type": "brushlabels", "original_width": 99, "value": {"rle": [], "brushlabels": ["a"]}}), "99 x 10"),
        (studio({"type": "polygonlabels", "value": {"points": [[1]], "polygonlabels": ["a"]}}), "no two numbers"),
        (studio({"type": "polygonlabels", "value": {"points": square, "polygonlabels": ["a", "b"]}}), "'a + b'"),
        (studio({"type": "rectanglelabels", "image_rotation": 90, "value": {}}), "the picture was turned"),
        ([content[0] | {"annotations": content[0]["annotations"] * 2}], "2 annotations: keep one"),
        ([{"image": "0000.png", "label": []}], "no view"),
    ):
        assert message in imported(tmp_path / "x.json", blank, change), message


def coco(notes, **image):
    image = {"id": 5, "width": 10, "height": 10, "file_name": "0000.jpg"} | image
    return {"images": [image], "annotations": notes, "categories": [{"id": 1, "name": "a"}, {"id": 9, "name": "b"}]}


def test_coco_instances(blank, tmp_path):
    """Crowds lie below all others; runs begin with what is outside, column by column; polygons are one region."""
    square, other = [0, 0, 4, 0, 4, 3, 0, 3], [6.0, 6.0, 8.0, 6.0, 8.0, 8.0, 6.0, 8.0]
    notes = [
        {"id": 1, "image_id": 5, "category_id": 1, "segmentation": [square, other], "iscrowd": 0},
        {
            "id": 2,
            "image_id": 5,
            "category_id": 9,
            "iscrowd": 1,
            "segmentation": {"size": [10, 10], "counts": [0, 30, 70]},
        },
    ]
    expected = np.zeros(SIZE, np.uint8)
    box(expected, 2, 0, 0, 3, 10)
    box(expected, 1, 0, 0, 4, 3)
    box(expected, 1, 6, 6, 8, 8)
    np.testing.assert_array_equal(imported(tmp_path / "x.json", blank, coco(notes)), expected)
    for note, message in (
        ({"category_id": 3}, "the category 3, which the file does not name"),
        ({"segmentation": []}, "of boxes alone there is no mask"),
        ({"segmentation": {"size": [10**9, 10**9], "counts": [10**18]}}, "of the size"),
        ({"segmentation": {"size": [10, 10], "counts": [0, 10**12]}}, "run lengths are not whole"),
        ({"segmentation": {"size": [10, 10], "counts": "~~~"}}, "no compressed text"),
        ({"segmentation": {"size": [10, 10], "counts": [0, 30]}}, "sum to 30, expected 100"),
        ({"segmentation": [[1, 2, 3]]}, "odd number of coordinates"),
    ):
        assert message in imported(tmp_path / "x.json", blank, coco([notes[0] | note])), message
    assert "of 10 x 999999999 pixels" in imported(tmp_path / "x.json", blank, coco(notes, height=999999999))
    for broken, message in (
        (coco(notes) | {"images": ["ab"]}, "not of objects"),
        (coco(notes) | {"images": 3}, "other lists"),
        (coco(notes) | {"images": [{}]}, "an image or a category has no 'id'"),
        (coco([notes[0] | {"image_id": 4}]), r"images that are not there, \[4\]"),
        (coco([{"id": 7}]), r"no image_id, those of the ids \[7\]"),
    ):
        with pytest.raises(ValueError, match=rf"x\.json cannot be read as COCO: .*{message}"):
            imported(tmp_path / "x.json", blank, broken)


def test_coco_panoptic(blank, tmp_path):
    """Colours are ids, R + 256 G + 65536 B; black is void; two files of two splits are read together."""
    ids = np.zeros((*SIZE, 3), np.uint8)
    ids[0:4, 2:6], ids[6, 6] = (7, 7, 7), (20, 0, 0)
    segments = [{"id": 460551, "category_id": 1, "iscrowd": 0}, {"id": 20, "category_id": 9, "iscrowd": 1}]
    note = {"image_id": 5, "file_name": "a.png", "segments_info": segments}
    for split in ("train", "val"):
        (tmp_path / "out" / f"panoptic_{split}").mkdir(parents=True)
        Image.fromarray(ids).save(tmp_path / "out" / f"panoptic_{split}" / "a.png")
        name = "0000.jpg" if split == "train" else "0001.jpg"
        (tmp_path / "out" / f"panoptic_{split}.json").write_text(json.dumps(coco([note], file_name=name)))
    expected = np.full(SIZE, 255, np.uint8)
    box(expected, 1, 2, 0, 6, 4)
    expected[6, 6] = 2
    np.testing.assert_array_equal(imported(tmp_path / "out", blank), expected)
    np.testing.assert_array_equal(packs.load(blank, unlabelled=True).masks[1], expected)
    path = tmp_path / "out/panoptic_train.json"
    assert "segments that the JSON does not name" in imported(
        path, blank, coco([note | {"segments_info": segments[:1]}])
    )
    assert "outside of" in imported(path, blank, coco([note | {"file_name": "../../x.png"}]))


@pytest.mark.parametrize(
    "name, message",
    [
        ("../evil.png", "leads out of it"),
        ("/etc/x.png", "leads out"),
        ("a\\..\\..\\x.png", "leads out"),
        ("C:x.png", "out"),
    ],
)
def test_zips_that_lead_out_are_refused(name, message, blank, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("masks/0000.png", b"x")
        archive.writestr(name, b"x")
    with pytest.raises(ValueError, match=message) as caught:
        tools.bring_in(tmp_path / "x.zip", blank)
    assert str(tmp_path / "x.zip") in str(caught.value) and not list(tmp_path.rglob("evil.png"))


def test_other_zips_that_nobody_should_read(blank, tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        entry = zipfile.ZipInfo("masks/0000.png")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(ValueError, match="is a link"):
        tools.bring_in(path, blank)
    whole = path.read_bytes()
    for content in (b"PK", whole[:-9], b""):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"x\.zip cannot be read as a zip"):
            tools.bring_in(path, blank)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.md", "nothing")
    with pytest.raises(ValueError, match=r"x\.zip has no files of"):
        tools.bring_in(path, blank)


@pytest.mark.parametrize(
    "content, message",
    [
        ("<!DOCTYPE x [<!ENTITY a 'b'>]><annotations/>", "declares a document type"),
        ("<annotations><image", "cannot be read as XML"),
        ("<kml/>", "the root 'kml', expected CVAT's"),
        ("<annotations><track id='0'/></annotations>", "CVAT for video"),
        ('{"a": NaN}', "cannot be read as JSON of a label tool"),
        ('{"a": 1}', r"x\.json has labels in no form that is known"),
        ("", "it is empty"),
    ],
)
def test_what_is_no_export_is_refused(content, message, blank, tmp_path):
    path = tmp_path / ("x.xml" if content.startswith("<") else "x.json")
    with pytest.raises(ValueError, match=message):
        imported(path, blank, content)
    with pytest.raises(ValueError, match="does not exist"):
        tools.bring_in(tmp_path / "nothing.zip", blank)


@pytest.mark.parametrize("form, message", [("png", "its masks/ is empty"), ("labelme", "LabelMe, whose labels.txt")])
def test_what_was_given_out_and_not_drawn_on_has_no_labels(form, message, blank, tmp_path):
    tools.export(blank, form, tmp_path / "out")
    with pytest.raises(ValueError, match=f"has no labels yet: .*{message.split(maxsplit=1)[-1]}"):
        tools.bring_in(tmp_path / "out", blank)


@pytest.mark.parametrize(
    "element, message",
    [
        ('<polygon label="a" points="1,1;nan,2;3,3"/>', "far outside"),
        ('<polygon label="a" points="1,1;1e300,2;3,3"/>', "far outside"),
        ('<polygon label="a" points=""/>', "no two numbers"),
        ('<box label="a" xtl="1" ytl="1" xbr="inf" ybr="2"/>', "expected finite numbers"),
        ('<mask label="a" rle="0,4" left="0" top="0" width="1000000" height="1000000"/>', "larger than its picture"),
        ('<mask label="a" rle="0,9" left="0" top="0" width="2" height="2"/>', "run lengths are not whole"),
        ('<mask label="a" rle="x" left="0" top="0" width="2" height="2"/>', "is broken"),
        ('<mask label="a" rle="0,4" left="9" top="0" width="2" height="2"/>', "not inside"),
        ('<star label="a"/>', "no shape of CVAT's"),
    ],
)
def test_broken_shapes_of_cvat_are_told(element, message, blank, tmp_path):
    text = f'{HEAD}<image id="0" name="0000.png" width="10" height="10">{element}</image></annotations>'
    assert message in imported(tmp_path / "x.xml", blank, text)
    assert (packs.load(blank, unlabelled=True).masks == 255).all()


def test_paths_of_an_export_stay_within_it(tmp_path):
    assert sources.within(tmp_path, "a/b.png") == (tmp_path / "a/b.png").resolve()
    for name in ("../x", "/etc/passwd", "a/../../x"):
        with pytest.raises(ValueError, match="outside of"):
            sources.within(tmp_path, name)
    with pytest.raises(ValueError, match="cannot be one"):
        sources.within(tmp_path, "a\0b")


def test_turned_boxes_turn_clockwise():
    turned = drawn.box(0, 0, 4, 2, degrees=90, about=(4, 2))(SIZE)
    assert turned.sum() == 4 and turned[0:2, 4:6].all(), "half of it lies above the picture"
