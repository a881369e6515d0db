package op

// trainingDefs holds operators of ai.onnx.preview.training.
var trainingDefs = []*Def{}
