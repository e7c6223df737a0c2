"""What `make results` writes into pages: a module for each page, whose `tables` returns the parts by their place.

A place is the name between the markers of the page: ``<!-- NAME: made by `make results` -->``.
"""
