// Package onnxgo runs models of github.com/owulveryck/onnx-go on this
// project's engine, and converts between its tensors, which are those of
// gorgonia.org/tensor, and ours.
//
// It is on floor 3. It refuses to know passes; no program of this project
// links it.
//
//	b := onnxgo.NewBackend()
//	model := onnx.NewModel(b)
//	err := model.UnmarshalBinary(data)
//	err = model.SetInput(0, x)
//	err = b.Run()
//	y, err := model.GetOutputTensors()
//
// onnx-go reads the model, so its limits hold: no subgraphs, functions or
// external data, and weights of a few types. onnxio.Open has none of these.
package onnxgo
