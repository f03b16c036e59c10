"""The embedded model: a 0.9M-parameter Llama pretrained on text that the project generates itself."""
