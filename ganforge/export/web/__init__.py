"""Export to a web page that generates images in the visitor's browser."""
