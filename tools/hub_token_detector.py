"""A plugin for detect-secrets that finds Hub tokens, which its own plugins do not find."""

import re

from detect_secrets.plugins.base import RegexBasedDetector


class HuggingFaceTokenDetector(RegexBasedDetector):
    """Finds `hf_` followed by 30 or more letters and digits."""

    # pragma: allowlist nextline secret
    secret_type = "Hugging Face token"
    denylist = (re.compile(r"\bhf_[A-Za-z0-9]{30,}"),)
