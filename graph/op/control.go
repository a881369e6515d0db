package op

// controlDefs holds control flow.
var controlDefs = []*Def{}
