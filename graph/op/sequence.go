package op

// sequenceDefs holds sequences.
var sequenceDefs = []*Def{}
