module github.com/onnxpack/onnxpack

go 1.26
