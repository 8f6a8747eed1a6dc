"""How the built-in objects and scenes are drawn; ``spcl.data.synthetic`` puts them together."""
