package op

// tensorDefs holds operators that move, select and reshape elements.
var tensorDefs = []*Def{}
