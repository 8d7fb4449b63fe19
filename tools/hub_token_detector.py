"""A plugin for detect-secrets, which does not know the tokens of the Hub."""

import re

from detect_secrets.plugins.base import RegexBasedDetector


class HuggingFaceTokenDetector(RegexBasedDetector):
    """Finds `hf_` and 30 or more letters and digits."""

    # pragma: allowlist nextline secret
    secret_type = "Hugging Face token"
    denylist = (re.compile(r"\bhf_[A-Za-z0-9]{30,}"),)
