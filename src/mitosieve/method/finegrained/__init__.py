"""Fine-grained hard negative mining: a search over mining regimes."""
