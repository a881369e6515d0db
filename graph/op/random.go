package op

// randomDefs holds random operators.
var randomDefs = []*Def{}
