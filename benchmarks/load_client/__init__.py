"""How exactly, and at what price, a load client sees what a server sends."""
