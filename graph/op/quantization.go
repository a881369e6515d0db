package op

// quantizationDefs holds quantization, and arithmetic on quantized values.
var quantizationDefs = []*Def{}
