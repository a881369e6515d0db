package op

// reductionDefs holds reductions over axes.
var reductionDefs = []*Def{}
