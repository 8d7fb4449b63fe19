"""What models say, score and cost beside each other: the numbers of a report."""
