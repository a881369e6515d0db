package op

// rnnDefs holds recurrent networks.
var rnnDefs = []*Def{}
