package op

// mathDefs holds arithmetic, elementary functions, matrix products, activations and signal transforms.
var mathDefs = []*Def{}
