"""DASC: difficulty-aware supervised contrastive learning."""
