package op

// generatorDefs holds operators that make tensors from attributes and shapes.
var generatorDefs = []*Def{}
