package op

// mlFeaturesDefs holds feature transforms of ai.onnx.ml.
var mlFeaturesDefs = []*Def{}
