package op

// attentionDefs holds attention and positional embeddings.
var attentionDefs = []*Def{}
