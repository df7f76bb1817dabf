"""The other half of a relay's contract: who may hand over what, what is refused at the door, what submitters hear."""
