"""Hook of mkdocs: a page of the site for each notebook, with its stored outputs."""

from pathlib import PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Replace notebooks by pages, and add their pictures."""
    for notebook in [each for each in files if each.src_uri.endswith(".ipynb")]:
        path = PurePosixPath(notebook.src_uri)
        text, resources = MarkdownExporter().from_filename(notebook.abs_src_path, {"unique_key": path.stem})
        text = text.replace("![png](", "![Output of the code above](").replace(".ipynb)", ".md)")
        files.remove(notebook)
        files.append(File.generated(config, str(path.with_suffix(".md")), content=text))
        for name, picture in resources["outputs"].items():
            files.append(File.generated(config, str(path.with_name(name)), content=picture))
