package op

// nnDefs holds dropout, LRN and what else of ONNX's nn family has no file of its own.
var nnDefs = []*Def{}
