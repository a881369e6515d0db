package main

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// network builds a model with random weights, scaled so that activations
// keep their size from layer to layer (He et al. 2015).
type network struct {
	*graph.Builder
	rng *rand.Rand
	m   *graph.Model
}

func newNetwork(rng *rand.Rand, name string) *network {
	m := &graph.Model{IRVersion: 8, Producer: "onnxpack-testdata", Opsets: []graph.Opset{{Domain: "", Version: 17}}}
	m.Graph = graph.New(name)
	m.Graph.Attach(m)
	return &network{graph.NewBuilder(m.Graph, nil), rng, m}
}

// weight returns a constant of normal numbers with variance 2/fanIn.
func (n *network) weight(fanIn int, dims ...int) *graph.Value {
	shape := tensor.Shape(dims)
	xs := make([]float32, shape.Len())
	scale := math.Sqrt(2 / float64(fanIn))
	for i := range xs {
		xs[i] = float32(scale * n.rng.NormFloat64())
	}
	return n.Const("weight", tensor.Of(shape, xs))
}

// vector returns a constant vector of one number.
func (n *network) vector(size int, x float32) *graph.Value {
	xs := make([]float32, size)
	for i := range xs {
		xs[i] = x
	}
	return n.Const("vector", tensor.Vector(xs...))
}

func (n *network) output(v *graph.Value, name string, dims ...graph.Dim) *graph.Model {
	n.m.Graph.Rename(v, name)
	v.Type = graph.TensorOf(tensor.Float32, dims)
	n.m.Graph.AddOutput(v)
	return n.m
}

// conv is a square convolution with "same" padding and a bias, as folding
// batch normalisation leaves it.
func (n *network) conv(x *graph.Value, in, out, kernel, stride int) *graph.Value {
	k, s, p := int64(kernel), int64(stride), int64(kernel/2)
	attrs := []*graph.Attr{graph.IntsAttr("kernel_shape", k, k), graph.IntsAttr("strides", s, s), graph.IntsAttr("pads", p, p, p, p)}
	return n.OpAttrs("Conv", attrs, x, n.weight(in*kernel*kernel, out, in, kernel, kernel), n.vector(out, 0.01))
}

// resNet18 has the layers of ResNet-18 (He et al. 2016) on 224x224 pictures.
func resNet18(rng *rand.Rand) *graph.Model {
	n := newNetwork(rng, "resnet18")
	h := n.m.Graph.AddInput("image", graph.TensorOf(tensor.Float32, graph.Dims{graph.Symbol("N"), graph.Known(3), graph.Known(224), graph.Known(224)}))
	h = n.Op("Relu", n.conv(h, 3, 64, 7, 2))
	h = n.OpAttrs("MaxPool", []*graph.Attr{graph.IntsAttr("kernel_shape", 3, 3), graph.IntsAttr("strides", 2, 2), graph.IntsAttr("pads", 1, 1, 1, 1)}, h)
	in := 64
	for stage, out := range []int{64, 128, 256, 512} {
		for block := range 2 {
			stride := 1
			if stage > 0 && block == 0 {
				stride = 2
			}
			h = n.residual(h, in, out, stride)
			in = out
		}
	}
	h = n.OpAttrs("Flatten", nil, n.Op("GlobalAveragePool", h))
	h = n.Op("Gemm", h, n.weight(in, in, 1000), n.vector(1000, 0))
	return n.output(h, "logits", graph.Symbol("N"), graph.Known(1000))
}

func (n *network) residual(x *graph.Value, in, out, stride int) *graph.Value {
	h := n.Op("Relu", n.conv(x, in, out, 3, stride))
	h = n.conv(h, out, out, 3, 1)
	if in != out || stride != 1 {
		x = n.conv(x, in, out, 1, stride)
	}
	return n.Op("Relu", n.Op("Add", h, x))
}

const (
	bertLayers = 6
	bertWidth  = 384
	bertHeads  = 12
	bertTokens = 128
)

// bert has the shapes of MiniLM: 6 encoder layers of width 384 with 12 heads,
// on 128 embedded tokens (Wang et al. 2020).
func bert(rng *rand.Rand) *graph.Model {
	n := newNetwork(rng, "bert")
	h := n.m.Graph.AddInput("embeddings", graph.TensorOf(tensor.Float32, graph.Dims{graph.Known(1), graph.Known(bertTokens), graph.Known(bertWidth)}))
	for i := range bertLayers {
		l := &network{n.Named(fmt.Sprintf("layer%d/", i)), rng, n.m}
		h = l.norm(l.Op("Add", h, l.attention(h)))
		h = l.norm(l.Op("Add", h, l.feedForward(h)))
	}
	return n.output(h, "hidden", graph.Known(1), graph.Known(bertTokens), graph.Known(bertWidth))
}

func (n *network) dense(x *graph.Value, in, out int) *graph.Value {
	return n.Op("Add", n.Op("MatMul", x, n.weight(2*in, in, out)), n.vector(out, 0.01))
}

func (n *network) norm(x *graph.Value) *graph.Value {
	attrs := []*graph.Attr{graph.IntAttr("axis", -1), graph.FloatAttr("epsilon", 1e-12)}
	return n.OpAttrs("LayerNormalization", attrs, x, n.vector(bertWidth, 1), n.vector(bertWidth, 0))
}

// heads gives x [1,tokens,width] the shape [1,heads,tokens,width/heads], or
// with its last two axes exchanged where perm says so.
func (n *network) heads(x *graph.Value, perm ...int64) *graph.Value {
	shape := n.Const("heads", tensor.Vector[int64](1, bertTokens, bertHeads, bertWidth/bertHeads))
	return n.OpAttrs("Transpose", []*graph.Attr{graph.IntsAttr("perm", perm...)}, n.Op("Reshape", x, shape))
}

func (n *network) attention(x *graph.Value) *graph.Value {
	q := n.heads(n.dense(x, bertWidth, bertWidth), 0, 2, 1, 3)
	k := n.heads(n.dense(x, bertWidth, bertWidth), 0, 2, 3, 1)
	v := n.heads(n.dense(x, bertWidth, bertWidth), 0, 2, 1, 3)
	scale := n.Const("scale", tensor.Scalar(float32(math.Sqrt(bertWidth/bertHeads))))
	p := n.OpAttrs("Softmax", []*graph.Attr{graph.IntAttr("axis", -1)}, n.Op("Div", n.Op("MatMul", q, k), scale))
	c := n.OpAttrs("Transpose", []*graph.Attr{graph.IntsAttr("perm", 0, 2, 1, 3)}, n.Op("MatMul", p, v))
	c = n.Op("Reshape", c, n.Const("joined", tensor.Vector[int64](1, bertTokens, bertWidth)))
	return n.dense(c, bertWidth, bertWidth)
}

// feedForward is the block with GELU written out in Erf, as exporters do.
func (n *network) feedForward(x *graph.Value) *graph.Value {
	h := n.dense(x, bertWidth, 4*bertWidth)
	number := func(x float64) *graph.Value { return n.Const("c", tensor.Scalar(float32(x))) }
	e := n.Op("Erf", n.Op("Div", h, number(math.Sqrt2)))
	h = n.Op("Mul", n.Op("Mul", h, n.Op("Add", e, number(1))), number(0.5))
	return n.dense(h, 4*bertWidth, bertWidth)
}
