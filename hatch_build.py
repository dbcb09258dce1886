"""The README as a package index shows it: its links and pictures have whole addresses."""

import pathlib
import re
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r'(\]\(|\b(?:href|src|srcset)=")(?![a-z]+:|#)([^)"\s]+)')
PICTURES = (".gif", ".jpg", ".png", ".svg", ".webp")


def with_whole_links(text: str, repository: str) -> str:
    """A file of the top folder with whole addresses in place of paths."""

    def whole(match: re.Match[str]) -> str:
        kind = "raw" if match[2].endswith(PICTURES) else "blob"
        return f"{match[1]}{repository}/{kind}/main/{match[2]}"

    return LINK.sub(whole, text)


class ReadmeHook(MetadataHookInterface):
    def update(self, metadata: dict[str, Any]) -> None:
        text = (pathlib.Path(self.root) / "README.md").read_text(encoding="utf-8")
        readme = with_whole_links(text, metadata["urls"]["Source"])
        metadata["readme"] = {"content-type": "text/markdown", "text": readme}
