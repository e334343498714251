"""Stream records in every shape in which AWS delivers them."""
