package op

// msQuantDefs holds quantized operators of com.microsoft.
var msQuantDefs = []*Def{}
