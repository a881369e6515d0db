package op

// convDefs holds convolutions.
var convDefs = []*Def{}
