package op

// mlTreesDefs holds tree ensembles of ai.onnx.ml.
var mlTreesDefs = []*Def{}
