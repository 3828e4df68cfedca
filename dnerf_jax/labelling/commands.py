"""The commands of `python -m dnerf_jax.label`: their signatures are its flags, see `cli`."""

from pathlib import Path

from dnerf_jax.io import checkpoints, configurations, files, folders, label_folders, label_maps
from dnerf_jax.labelling import drafts, label_pngs, proposing, server, tools
from dnerf_jax.labelling.repainting import Editor
from dnerf_jax.labelling.scene_session import SceneSession
from dnerf_jax.labelling.seeing import Eye
from dnerf_jax.labelling.session import Session
from dnerf_jax.labelling.teaching import Teacher
from dnerf_jax.labelling.workspace import Workspace
from dnerf_jax.ops.messages import count
from dnerf_jax.ops.ranges import Angle, Count, Port, Seed, Truncation
from dnerf_jax.training import branch, process
from dnerf_jax.training.editing import plan


def propose(
    checkpoint: str,
    out: str,
    labelmap: str = "",
    num: Count = 30,
    views: Count = 1,
    by: str = "",
    seed: Seed = 0,
    yaw: Angle = 30.0,
    truncation: Truncation | None = None,
    candidates: Count | None = None,
) -> None:
    """Writes views of a generator to label: a pack whose masks are all ignore, or more views into one.

    checkpoint: the generator, a folder or an embedded name; with a semantic branch its doubts can choose
    out: folder of the pack; one that is there gets more views, and its labels stay as they are
    labelmap: names of the classes: labelmap.json of a pack, labelmap.txt of CVAT, or a .txt of a name a line, the
      background first, without lines that begin with #; those of the folder or of the checkpoint, if it has any,
      without it
    num: latents
    views: of each; one view each of 30 latents teaches about as much as three of each (docs/experiments.md)
    by: latents, far from one another and from those that are there, or uncertainty: those of whose views the
      checkpoint's branch is most unsure; uncertainty where there is a branch, if it is left out
    seed: of candidates and cameras
    yaw: degrees from frontal, to either side, that cameras stand in (the paper: 30, frontal in all else)
    truncation: of all scenes of the folder, 0.7 for published EG3D models say; 1, or what the folder has, without it
    candidates: latents drawn to choose from; ten times num without it
    """
    with folders.claimed(out, known_by=[label_folders.NAME]) as folder:
        process.prepare()
        label_map = label_maps.read(labelmap) if labelmap else None
        model = checkpoints.load(checkpoint)
        how = by or ("latents" if model.semantic is None else "uncertainty")
        request = proposing.Request(num, views, how, seed, yaw, truncation, candidates)
        pack = proposing.propose(model, label_map, request, folder)
        done = int(label_folders.has_labels(pack).sum())
        print("classes: " + ", ".join(f"{index} {name}" for index, name in enumerate(pack.label_map.names)))
        try:
            label_pngs.require_cvat(pack.label_map)
        except ValueError as error:
            print(f"good to know before you paint: {error}")
        print(f"{folder}: {count(num * views, 'view')} by {how}, {len(pack)} in all, of which {done} are labelled")


def serve(
    labels: str = "",
    /,
    checkpoint: str = "",
    port: Port = 8765,
    workdir: str = "",
    training: str = "heads",
    scene: str = "",
    out: str = "",
    editing: str = "edit",
) -> None:
    """Opens a page on this machine to paint labels in a browser, until Ctrl-C; every stroke is saved at once.

    labels: folder of the pack, as propose makes it; or instead of it --scene
    checkpoint: the generator that it is of, a folder or an embedded name; by default the embedded one. A branch of the
      same classes predicts. Of a scene: where its model is now, if not where it was
    port: of this machine's own address 127.0.0.1, which no other machine reaches; 0 is any
    workdir: folder of the branches that "train now" trains, 000 and so on; by default beside the labels, LABELS_branch
    training: configuration of these trainings, a file or a packaged name
    scene: folder of a scene, which invert and edit write: its mask is painted, and the scene edited by it
    out: folder of what is painted over the scene and of its edits, 000 and so on; by default beside it, SCENE_edits.
      Named again it goes on
    editing: configuration of the edits, a file or a packaged name
    """
    if bool(labels) == bool(scene):
        raise ValueError("expected either the folder of a pack, serve LABELS, or that of a scene, serve --scene DIR")
    if labels and out:
        raise ValueError("--out is of edits, which --scene has; branches that are trained go to --workdir")
    if scene and workdir:
        raise ValueError("--workdir is of trainings, which a pack of labels has; edits of a scene go to --out")
    if scene:
        _serve_scene(Path(scene), Path(out or f"{Path(scene).resolve()}_edits"), checkpoint, editing, port)
    else:
        _serve_labels(labels, checkpoint, training, workdir, port)


def _serve_labels(labels: str, checkpoint: str, training: str, workdir: str, port: int) -> None:
    label_folders.require(Path(labels))
    with folders.claimed(labels, known_by=[label_folders.NAME]) as folder:
        process.prepare()
        settings = configurations.load_settings(training, branch.Settings)
        checkpoint = checkpoint or checkpoints.embedded_of(folder)
        space = Workspace(folder)
        model = checkpoints.load(checkpoint)
        Eye.require(model, space.pack)
        runs = Path(workdir or f"{folder.resolve()}_branch")
        _serve(Session(space, Eye(model), Teacher(checkpoint, settings, runs)), port)


def _serve_scene(scene: Path, out: Path, checkpoint: str, editing: str, port: int) -> None:
    with folders.claimed(out, known_by=[drafts.NAME]) as folder:
        process.prepare()
        editor = Editor(configurations.load_settings(editing, plan.Settings), folder, checkpoint or None)
        _serve(SceneSession(scene, folder, editor), port)


def _serve(session: Session | SceneSession, port: int) -> None:
    try:
        server.serve(session, port)
    except KeyboardInterrupt:
        print("\nended; all is saved")
    finally:
        session.close()


def export(labels: str, to: str, out: str) -> None:
    """Writes pictures and labels for a label tool.

    labels: folder of the pack
    to: the form: cvat (masks), cvat-xml (polygons), labelme, label-studio, coco, png
    out: new folder, which appears when it is whole
    """
    pack = tools.export(Path(labels), to, Path(out))
    done = int(label_folders.has_labels(pack).sum())
    print(f"{out}: {count(len(pack), 'picture')}, of which {done} are labelled. {tools.FORMS[to].text}")


def bring_in(
    file: str,
    /,
    labels: str,
    names: str = "",
    rest: str = "background",
    replace: bool = False,
    skip_lines: bool = False,
) -> int:
    """Reads what a label tool exported into a pack.

    file: what it exported, in whatever form of these: a file, a folder or a zip
    labels: folder of the pack, whose pictures keep the names that export gives them
    names: a JSON file of class names, or "ignore", by the tool's names, where they differ: {"Haar": "hair"}
    rest: what pixels are that nobody painted, background or ignore; pictures without any shape stay as they are
    replace: views that are labelled already may get other labels
    skip_lines: leaves out points, lines and tags, which have no area; a picture that has any is not taken otherwise
    """
    label_folders.require(Path(labels))
    with folders.claimed(labels, known_by=[label_folders.NAME]) as folder:
        told = files.read_json(names, "class names by a label tool's names") if names else {}
        report = tools.bring_in(Path(file), folder, told=told, ground=rest, replace=replace, skip_lines=skip_lines)
    return report.tell()
