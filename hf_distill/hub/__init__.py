"""Publishing a trained student on the Hub: files, model card and upload."""
