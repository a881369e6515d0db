package op

// logicalDefs holds comparisons, and logic on bools and bits.
var logicalDefs = []*Def{}
