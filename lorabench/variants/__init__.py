"""LoRA variants: one file and one yaml each; the yaml's ``_target_`` is the registry."""
