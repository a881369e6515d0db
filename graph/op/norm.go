package op

// normDefs holds normalizations over batches, instances, layers and groups.
var normDefs = []*Def{}
