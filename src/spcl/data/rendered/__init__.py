"""Drawing of the built-in objects and scenes, of which ``spcl.data.synthetic`` makes data sets."""
