"""Layers that PEFT has in another form, or another precision, than a method needs."""
