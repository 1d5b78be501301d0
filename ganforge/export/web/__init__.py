"""A trained generator as a web page, which draws its pictures on the visitor's own device."""
