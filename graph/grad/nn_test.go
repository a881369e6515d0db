package grad_test

import (
	"testing"

	"github.com/onnxpack/onnxpack/graph"
)

// nnModels are losses over convolutions, pools and normalizations.
var nnModels = map[string]string{
	"conv": `g (double[2,3,5,6] x, double[4,3,3,2] w, double[4] b) => (double loss) {
		y = Conv <pads = [1,0,2,1]> (x, w, b)  z = Mul (y, y)  loss = ReduceSum <keepdims = 0> (z)
	}`,
	"conv strided": `g (double[2,2,7,6] x, double[4,2,3,3] w) => (double loss) {
		y = Conv <strides = [2,3], dilations = [2,1], pads = [1,1,1,1]> (x, w)  z = Mul (y, y)  loss = ReduceSum <keepdims = 0> (z)
	}`,
	"conv groups": `g (double[2,4,5] x, double[6,2,3] w) => (double loss) {
		y = Conv <group = 2, auto_pad = "SAME_UPPER", strides = [2]> (x, w)  z = Mul (y, y)  loss = ReduceSum <keepdims = 0> (z)
	}`,
	"conv depthwise": `g (double[2,3,5,4] x, double[3,1,3,3] w) => (double loss) {
		y = Conv <group = 3, auto_pad = "SAME_LOWER"> (x, w)  z = Mul (y, y)  loss = ReduceSum <keepdims = 0> (z)
	}`,
	"conv pointwise": `g (double[2,3,4,4] x, double[5,3,1,1] w) => (double loss) {
		y = Conv <strides = [2,2]> (x, w)  z = Mul (y, y)  loss = ReduceSum <keepdims = 0> (z)
	}`,
	"conv solid": `g (double[1,2,3,4,3] x, double[3,2,2,2,2] w) => (double loss) {
		y = Conv <pads = [0,1,0,1,0,1]> (x, w)  z = Mul (y, y)  loss = ReduceSum <keepdims = 0> (z)
	}`,
	"conv transpose": `g (double[2,4,3,3] x, double[4,2,3,2] w, double[4] b) => (double loss) {
		y = ConvTranspose <group = 2, strides = [2,1], pads = [1,0,0,1], output_padding = [1,0]> (x, w, b)
		z = Mul (y, y)  loss = ReduceSum <keepdims = 0> (z)
	}`,
	"max pool": `g (double[2,2,5,5] x) => (double loss) {
		y = MaxPool <kernel_shape = [3,2], strides = [2,2], pads = [1,1,0,0], ceil_mode = 1> (x)  z = Mul (y, y)  loss = ReduceSum <keepdims = 0> (z)
	}`,
	"average pool": `g (double[2,2,5,5] x) => (double loss) {
		y = AveragePool <kernel_shape = [3,2], strides = [2,2], pads = [1,1,0,0]> (x)  z = Mul (y, y)  loss = ReduceSum <keepdims = 0> (z)
	}`,
	"lp pool": `g (double[2,2,5,5] x) => (double loss) {
		y = LpPool <kernel_shape = [3,2], p = 3> (x)  z = Mul (y, y)  loss = ReduceSum <keepdims = 0> (z)
	}`,
	"global pools": `g (double[2,3,4,5] x) => (double loss) {
		a = GlobalAveragePool (x)  b = GlobalMaxPool (x)  c = GlobalLpPool <p = 3> (x)
		d = Mul (a, b)  y = Mul (c, d)  loss = ReduceSum <keepdims = 0> (y)
	}`,
	"batch norm": `g (double[3,2,3,2] x, double[2] s, double[2] b, double[2] m, double[2] v) => (double loss) {
		y = BatchNormalization (x, s, b, m, v)  z = Mul (y, y)  loss = ReduceSum <keepdims = 0> (z)
	}`,
	"batch norm training": `g (double[3,2,3,2] x, double[2] s, double[2] b, double[2] m, double[2] v) => (double loss) {
		y, rm, rv = BatchNormalization <training_mode = 1> (x, s, b, m, v)  e = Exp (y)  z = Mul (e, x)  loss = ReduceSum <keepdims = 0> (z)
	}`,
	"layer norm": `g (double[3,2,4] x, double[4] s, double[4] b) => (double loss) {
		y = LayerNormalization (x, s, b)  e = Exp (y)  loss = ReduceSum <keepdims = 0> (e)
	}`,
	"layer norm over two axes": `g (double[3,2,4] x, double[2,4] s) => (double loss) {
		y = LayerNormalization <axis = 1> (x, s)  e = Exp (y)  loss = ReduceSum <keepdims = 0> (e)
	}`,
	"instance norm": `g (double[2,3,4,2] x, double[3] s, double[3] b) => (double loss) {
		y = InstanceNormalization (x, s, b)  e = Exp (y)  loss = ReduceSum <keepdims = 0> (e)
	}`,
	"group norm": `g (double[2,4,3] x, double[2] s, double[2] b) => (double loss) {
		y = GroupNormalization <num_groups = 2> (x, s, b)  e = Exp (y)  loss = ReduceSum <keepdims = 0> (e)
	}`,
	"lp norm": `g (double[2,4,3] x) => (double loss) {
		y = LpNormalization <axis = 1> (x)  z = LpNormalization <axis = 2, p = 1> (x)  a = Exp (y)  b = Mul (a, z)  loss = ReduceSum <keepdims = 0> (b)
	}`,
	"lrn": `g (double[2,5,3,2] x) => (double loss) {
		y = LRN <size = 4, alpha = 0.5, beta = 0.75> (x)  e = Exp (y)  loss = ReduceSum <keepdims = 0> (e)
	}`,
	"mean variance": `g (double[2,5,3,2] x) => (double loss) {
		y = MeanVarianceNormalization (x)  e = Exp (y)  loss = ReduceSum <keepdims = 0> (e)
	}`,
	"dropout": `g (double[2,5] x) => (double loss) <bool t = {1}, double r = {0.4}> {
		y = Dropout <seed = 3> (x, r, t)  e = Exp (y)  loss = ReduceSum <keepdims = 0> (e)
	}`,
	"cross entropy": `g (double[4,3,2] x) => (double loss) <int64[4,2] t = {0,1,2,2,1,0,0,1}> {
		loss = SoftmaxCrossEntropyLoss <ignore_index = 0> (x, t)
	}`,
	"likelihood": `g (double[4,3] x, double[4] k) => (double loss) <int64[4] t = {0,1,2,2}, double[3] w = {1,2,3}> {
		p = LogSoftmax (x)  y = NegativeLogLikelihoodLoss <reduction = "none"> (p, t, w)  z = Mul (y, k)  loss = ReduceSum <keepdims = 0> (z)
	}`,
}

func TestNetworkGradients(t *testing.T) {
	for name, text := range nnModels {
		t.Run(name, func(t *testing.T) {
			m, err := graph.ParseModel(header + text)
			if err != nil {
				t.Fatal(err)
			}
			checkGradients(t, m)
		})
	}
}
