"""Changes to the site that no option of mkdocs makes."""

import os
import pathlib
import re

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files, InclusionLevel

RESULTS = pathlib.Path(__file__).parent.parent.parent / "benchmarks" / "results"
LOADER = re.compile(r"<script data-mkdocs-jupyter-mathjax=.*?</script>", re.S)


# Where a machine is slow, the compiler says so in the output of an example.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Pictures of `../benchmarks/results`, which guides link to, are files of the site."""
    for path in sorted(RESULTS.glob("*.png")):
        picture = File.generated(
            config, f"../benchmarks/results/{path.name}", abs_src_path=str(path)
        )
        picture.inclusion = InclusionLevel.INCLUDED  # although the path begins with a dot
        picture.dest_uri = f"figures/results/{path.name}"
        files.append(picture)
    return files


@event_priority(-100)  # after the plugin that adds it
def on_post_page(output: str, **kwargs) -> str:
    """Pages load nothing from elsewhere: the loader of MathJax, which none needs, is removed."""
    return LOADER.sub("", output)
