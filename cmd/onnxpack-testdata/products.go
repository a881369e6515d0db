package main

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// productShapes are the rows, the columns and the depth of matrix products in
// well-known networks.
var productShapes = [][3]int{{512, 512, 512}, {49, 512, 512}, {128, 3072, 768}, {3136, 64, 64}}

// makeProducts writes models of one product each: of float32, of 8-bit integers
// with requantization, and of a vector with a matrix of 4-bit integers.
func makeProducts(dir string) error {
	rng := rand.New(rand.NewPCG(seed, 6))
	for _, s := range productShapes {
		name := fmt.Sprintf("%dx%dx%d", s[0], s[1], s[2])
		if err := save(filepath.Join(dir, "gemm_f32_"+name+".onnx"), floatProduct(rng, s[0], s[1], s[2])); err != nil {
			return err
		}
		if err := save(filepath.Join(dir, "gemm_u8s8_"+name+".onnx"), integerProduct(rng, s[0], s[1], s[2])); err != nil {
			return err
		}
	}
	return save(filepath.Join(dir, "gemv_q4_4096x4096.onnx"), narrowProduct(rng, 4096, 4096))
}

func floatProduct(rng *rand.Rand, m, n, k int) *graph.Model {
	net := newNetwork(rng, "product")
	x := net.m.Graph.AddInput("x", graph.TensorOf(tensor.Float32, graph.DimsOf(tensor.Shape{m, k})))
	return net.firstRow(net.Op("MatMul", x, net.weight(2*k, k, n)), n)
}

// firstRow makes the first row of a product the output, so that the product
// itself is a value within a network, whose memory runs share.
func (n *network) firstRow(y *graph.Value, columns int) *graph.Model {
	zero, one := n.Const("zero", tensor.Vector[int64](0)), n.Const("one", tensor.Vector[int64](1))
	return n.output(n.Op("Slice", y, zero, one), "y", graph.Known(1), graph.Known(columns))
}

// integerProduct is y = Quantize(MatMul(Dequantize(x), Dequantize(w))).
func integerProduct(rng *rand.Rand, m, n, k int) *graph.Model {
	net := newNetwork(rng, "product")
	x := net.m.Graph.AddInput("x", graph.TensorOf(tensor.Uint8, graph.DimsOf(tensor.Shape{m, k})))
	weights, scales := make([]int8, k*n), make([]float32, n)
	for i := range weights {
		weights[i] = int8(rng.IntN(255) - 127)
	}
	for i := range scales {
		scales[i] = 1.0 / 127 * (1 + rng.Float32())
	}
	zero := net.Const("zero", tensor.Scalar[uint8](128))
	in, out := net.Const("scale", tensor.Scalar[float32](0.02)), net.Const("scale", tensor.Scalar[float32](0.5))
	w := net.OpAttrs("DequantizeLinear", []*graph.Attr{graph.IntAttr("axis", 1)},
		net.Const("weight", tensor.Of(tensor.Shape{k, n}, weights)), net.Const("scales", tensor.Vector(scales...)))
	y := net.Op("QuantizeLinear", net.Op("MatMul", net.Op("DequantizeLinear", x, in, zero), w), out, zero)
	net.firstRow(y, n)
	net.m.Graph.Outputs()[0].Type.Elem = tensor.Uint8
	return net.m
}

// narrowProduct multiplies a vector by a matrix of n columns of k numbers of 4
// bits, with a scale for each 32 of them.
func narrowProduct(rng *rand.Rand, n, k int) *graph.Model {
	const block = 32
	net := newNetwork(rng, "product")
	net.m.Opsets = append(net.m.Opsets, graph.Opset{Domain: "com.microsoft", Version: 1})
	x := net.m.Graph.AddInput("x", graph.TensorOf(tensor.Float32, graph.DimsOf(tensor.Shape{1, k})))
	packed, scales := make([]uint8, n*k/2), make([]float32, n*k/block)
	for i := range packed {
		packed[i] = uint8(rng.Uint32())
	}
	for i := range scales {
		scales[i] = rng.Float32() / 64
	}
	node := graph.NewNode("com.microsoft", "MatMulNBits", []*graph.Value{
		x, net.Const("weight", tensor.Of(tensor.Shape{n, k / block, block / 2}, packed)), net.Const("scales", tensor.Vector(scales...)),
	}, 1, graph.IntAttr("K", int64(k)), graph.IntAttr("N", int64(n)), graph.IntAttr("bits", 4), graph.IntAttr("block_size", block))
	return net.output(net.Add(node).Out(0), "y", graph.Known(1), graph.Known(n))
}
