package op

// optionalDefs holds optionals.
var optionalDefs = []*Def{}
