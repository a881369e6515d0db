// Package conformance runs tests in ONNX's layout and compares what an engine
// computes with the results that they hold.
//
// It is on floor 4. A test is a folder
//
//	test_abs/model.onnx
//	test_abs/test_data_set_0/input_0.pb   (TensorProto, SequenceProto, …)
//	test_abs/test_data_set_0/output_0.pb
//
// with an optional data.json that states a tolerance, or a pair of files
//
//	light_vgg19.onnx
//	light_vgg19_output_0.pb
//
// whose inputs are the ramp i/n over their n elements. Folders are searched
// at any depth.
package conformance
