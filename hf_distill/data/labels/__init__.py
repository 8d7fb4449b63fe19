"""Label columns: what their cells say, which problem they make, and which classes there are."""
