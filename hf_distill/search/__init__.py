"""`hf-distill search`: find the smallest student that is good enough."""
