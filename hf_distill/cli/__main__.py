"""`python -m hf_distill.cli` is `hf-distill`, also from a checkout that is not installed."""

from hf_distill.cli import main

main()
