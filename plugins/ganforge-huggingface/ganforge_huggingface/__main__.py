"""``python -m ganforge_huggingface`` is ``ganforge-hub``."""

from ganforge_huggingface.cli import main

if __name__ == "__main__":
    main()
