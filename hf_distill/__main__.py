"""`python -m hf_distill`, and so `accelerate launch -m hf_distill`: the command line."""

from hf_distill.cli import main

main()
