"""The commands of `spineseg`, one thin function each: read options, call one function of the package."""
