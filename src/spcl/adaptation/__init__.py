"""An encoder learns a user's own cameras without labels; the old encoder is kept where the new one is not better."""
