"""Everything that waits or must not be lost, in one database. Statements are functions of a synchronous Connection."""
