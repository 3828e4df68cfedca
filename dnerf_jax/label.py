"""Labels by hand, from views to label to a labelled pack: python -m dnerf_jax.label COMMAND

python -m dnerf_jax.label propose --checkpoint DIR --labelmap FILE --num 30 --out labels
python -m dnerf_jax.label serve labels            (or --scene DIR: an inverted scene, edited by its mask)
python -m dnerf_jax.label export --labels labels --to cvat --out for_cvat
python -m dnerf_jax.label import exported.zip --labels labels
"""

from dnerf_jax import cli
from dnerf_jax.labelling import commands

main = {"propose": commands.propose, "serve": commands.serve, "export": commands.export, "import": commands.bring_in}

if __name__ == "__main__":
    cli.door(main)
