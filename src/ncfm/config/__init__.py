"""Configuration: the schema, recipes, how both are resolved, methods by name, and what is built from them."""
