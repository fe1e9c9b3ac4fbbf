"""How well tags by nearest tagged queries match real ones."""
