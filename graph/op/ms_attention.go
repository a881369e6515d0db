package op

// msAttentionDefs holds attention and its companions in com.microsoft.
var msAttentionDefs = []*Def{}
