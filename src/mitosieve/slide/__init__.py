"""Images of any scale behind one interface: ask in level-0 px, get px at the asked mpp."""
