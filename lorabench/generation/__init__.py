"""Text generation behind one interface: text in, text out, for the base or for merged weights."""
