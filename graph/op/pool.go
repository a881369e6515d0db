package op

// poolDefs holds pooling over windows.
var poolDefs = []*Def{}
