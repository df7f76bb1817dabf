"""pandas answers about mail: rates, causes, trends. The only room that imports pandas."""
