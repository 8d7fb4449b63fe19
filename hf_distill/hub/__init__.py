"""From a finished folder to the Hub: the files, the card, the upload."""
