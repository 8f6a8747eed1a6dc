"""The README.md of a folder for the Hugging Face hub: YAML front matter, and the card of exported weights."""

from __future__ import annotations

from spcl.export.model_card import card_sections
from spcl.inference.embedding import Encoder

_FRONT_MATTER = """---
library_name: timm
pipeline_tag: image-feature-extraction
tags:
- timm
- image-feature-extraction
- re-identification
- spcl
---
"""


def hub_card(encoder: Encoder, name: str) -> str:
    """The card of an encoder's folder, Markdown with YAML front matter.

    Args:
        encoder: The encoder.
        name: The name of the folder, or the repository ``OWNER/NAME``.
    """
    return _FRONT_MATTER + card_sections(encoder, name.rpartition("/")[2], _loading(encoder, name))


def _loading(encoder: Encoder, name: str) -> str:
    short = name.rpartition("/")[2]
    on_hub = f"hf-hub:{name if '/' in name else 'OWNER/' + name}"
    return f"""With spcl: `spcl.load_encoder("{short}").embed("image.jpg")` from a folder, or `"{on_hub}"` from the hub.
With timm alone, whose classifier is then the batch norm neck:

```python
import timm
import torch
from PIL import Image

model = timm.create_model("local-dir:{short}", pretrained=True).eval()  # or "{on_hub}"
settings = timm.data.resolve_model_data_config(model)
prepare = timm.data.create_transform(**settings, is_training=False)
image = Image.open("image.jpg").convert("RGB")
with torch.no_grad():
    features = torch.nn.functional.normalize(model(prepare(image).unsqueeze(0)), dim=1)  # [1, {encoder.feature_dim}]
```
"""
