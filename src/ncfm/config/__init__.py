"""Configuration: the schema, recipes, methods, and the objects built from them."""
