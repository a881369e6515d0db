package op

// textDefs holds strings.
var textDefs = []*Def{}
