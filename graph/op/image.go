package op

// imageDefs holds image operators.
var imageDefs = []*Def{}
