package op

// mlLinearDefs holds linear and support vector models of ai.onnx.ml.
var mlLinearDefs = []*Def{}
