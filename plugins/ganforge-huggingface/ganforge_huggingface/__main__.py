"""Entry point of ``python -m ganforge_huggingface``, the same as ``ganforge-hub``."""

from ganforge_huggingface.cli import main

if __name__ == "__main__":
    main()
