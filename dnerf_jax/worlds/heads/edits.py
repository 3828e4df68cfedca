"""Five edits of the heads' masks, as data: what section 5.4's editing is shown and measured with.

They are meant for masks of faces that look at the camera within some 30 degrees, of any resolution, and for every head:
hair grows from where it is, a mouth that is open opens wider.
"""

from dnerf_jax.ops.mask_edits import Grow, Move, Operation, Scale

_BESIDE = ("background", "neck", "cloth", "ear")

EDITS: dict[str, tuple[Operation, ...]] = {
    "wider nose": (Scale("nose", 1.6, 1.0, only_over=("skin",)),),
    "larger eyes": (Scale("eye", 1.25, 1.7, only_over=("skin", "brow")),),
    "longer hair": (Grow("hair", 0.04, only_over=_BESIDE), Grow("hair", 0.5, only_over=_BESIDE, towards="down")),
    "open mouth": (Move("lower_lip", 0.0, 0.05, only_over=("skin", "mouth"), trail="mouth", bend=True),),
    "thicker brows": (Grow("brow", 0.011, only_over=("skin",)),),
}
