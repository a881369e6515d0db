package main

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/mat"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// A classifier is three convolutions with normalisation, ReLU and pooling,
// and a linear readout. The filters are patches of the training pictures (of
// their features, deeper in), centred and scaled to unit norm; the readout is
// the ridge regression of the classes on the features (Coates, Lee and Ng,
// "An Analysis of Single-Layer Networks in Unsupervised Feature Learning",
// 2011).
type classifier struct {
	stages  []stage
	readout *mat.Dense // [features, classes]
	bias    []float64
}

// stage is a 3x3 convolution, batch normalisation, ReLU and 2x2 max pooling.
type stage struct {
	in, out   int
	weight    []float64 // [out][in][3][3]
	mean, std []float64 // of the convolution's results, per channel
}

var widths = []int{24, 48, 96}

const (
	classes = 10
	ridge   = 30.0
	taps    = 9
)

// maps is a stack of square feature maps.
type maps struct {
	chans, side int
	v           []float64
}

func (m maps) at(c, y, x int) float64 {
	if y < 0 || x < 0 || y >= m.side || x >= m.side {
		return 0
	}
	return m.v[(c*m.side+y)*m.side+x]
}

func fit(rng *rand.Rand, train []glyph) *classifier {
	c := &classifier{}
	xs := make([]maps, len(train))
	for i, g := range train {
		xs[i] = input(g)
	}
	for _, width := range widths {
		s := newStage(rng, xs, width)
		for i := range xs {
			xs[i] = s.apply(xs[i])
		}
		c.stages = append(c.stages, s)
	}
	c.fitReadout(xs, train)
	return c
}

// input returns a picture as one map of 0..1.
func input(g glyph) maps {
	m := maps{1, side, make([]float64, side*side)}
	for i, p := range g.pix {
		m.v[i] = float64(p) / 255
	}
	return m
}

// newStage picks the filters from random places of xs and measures the mean
// and deviation of what they give on a part of xs.
func newStage(rng *rand.Rand, xs []maps, width int) stage {
	s := stage{in: xs[0].chans, out: width}
	for range width {
		s.weight = append(s.weight, randomPatch(rng, xs)...)
	}
	sum, sq := make([]float64, width), make([]float64, width)
	const sample = 300
	for _, x := range xs[:sample] {
		for c := range width {
			for _, v := range s.convolve(x, c) {
				sum[c] += v
				sq[c] += v * v
			}
		}
	}
	n := float64(sample * xs[0].side * xs[0].side)
	for c := range width {
		mean := sum[c] / n
		s.mean = append(s.mean, mean)
		s.std = append(s.std, math.Sqrt(sq[c]/n-mean*mean))
	}
	return s
}

// randomPatch returns a centred patch of unit norm, from a place with some
// contrast.
func randomPatch(rng *rand.Rand, xs []maps) []float64 {
	for {
		x := xs[rng.IntN(len(xs))]
		cy, cx := 1+rng.IntN(x.side-2), 1+rng.IntN(x.side-2)
		patch := make([]float64, 0, taps*x.chans)
		var sum float64
		for c := range x.chans {
			for k := range taps {
				v := x.at(c, cy+k/3-1, cx+k%3-1)
				patch = append(patch, v)
				sum += v
			}
		}
		var norm float64
		for i := range patch {
			patch[i] -= sum / float64(len(patch))
			norm += patch[i] * patch[i]
		}
		if norm = math.Sqrt(norm); norm > 0.5 {
			for i := range patch {
				patch[i] /= norm
			}
			return patch
		}
	}
}

// convolve returns output channel c before normalisation, with zeros around.
func (s *stage) convolve(x maps, c int) []float64 {
	out := make([]float64, x.side*x.side)
	for ch := range s.in {
		for k, w := range s.weight[(c*s.in+ch)*taps:][:taps] {
			x.addShifted(out, ch, k/3-1, k%3-1, w)
		}
	}
	return out
}

// addShifted adds w times channel c, moved by (dy, dx), to out.
func (m maps) addShifted(out []float64, c, dy, dx int, w float64) {
	lo, hi := max(0, -dx), min(m.side, m.side-dx)
	for y := max(0, -dy); y < min(m.side, m.side-dy); y++ {
		src := m.v[(c*m.side+y+dy)*m.side+lo+dx:][:hi-lo]
		dst := out[y*m.side+lo:][:hi-lo]
		for i, v := range src {
			dst[i] += w * v
		}
	}
}

func (s *stage) apply(x maps) maps {
	half := x.side / 2
	y := maps{s.out, half, make([]float64, s.out*half*half)}
	for c := range s.out {
		v := s.convolve(x, c)
		for i := range half * half {
			at := (i/half*2)*x.side + i%half*2
			best := math.Max(math.Max(v[at], v[at+1]), math.Max(v[at+x.side], v[at+x.side+1]))
			y.v[c*half*half+i] = math.Max(0, (best-s.mean[c])/s.std[c])
		}
	}
	return y
}

// fitReadout solves (X'X + ridge I) W = X'Y by Cholesky decomposition, Y
// being +1 for the class and -1 for the others, centred.
func (c *classifier) fitReadout(xs []maps, train []glyph) {
	n, f := len(xs), len(xs[0].v)
	x, y := mat.NewDense(n, f, nil), mat.NewDense(n, classes, nil)
	center := make([]float64, f)
	for i, m := range xs {
		x.SetRow(i, m.v)
		for k := range classes {
			y.Set(i, k, -0.8)
		}
		y.Set(i, train[i].class, 7.2) // the classes are equally many, so columns have mean 0
		for j, v := range m.v {
			center[j] += v / float64(n)
		}
	}
	for i := range n {
		row := x.RawRowView(i)
		for j := range row {
			row[j] -= center[j]
		}
	}
	var gram mat.SymDense
	gram.SymOuterK(1, x.T())
	for j := range f {
		gram.SetSym(j, j, gram.At(j, j)+ridge)
	}
	var chol mat.Cholesky
	if !chol.Factorize(&gram) {
		panic("the features' Gram matrix is not positive definite")
	}
	var xty mat.Dense
	xty.Mul(x.T(), y)
	c.readout = new(mat.Dense)
	if err := chol.SolveTo(c.readout, &xty); err != nil {
		panic(err)
	}
	c.bias = make([]float64, classes)
	for k := range classes {
		for j := range f {
			c.bias[k] -= center[j] * c.readout.At(j, k)
		}
	}
}

func (c *classifier) classify(g glyph) int {
	x := input(g)
	for i := range c.stages {
		x = c.stages[i].apply(x)
	}
	best, bestScore := 0, math.Inf(-1)
	for k := range classes {
		score := c.bias[k]
		for j, v := range x.v {
			score += v * c.readout.At(j, k)
		}
		if score > bestScore {
			best, bestScore = k, score
		}
	}
	return best
}

// model returns the classifier as a training framework would export it:
// nothing folded, the flattening computed from the shape, dropout left in.
func (c *classifier) model() *graph.Model {
	m := &graph.Model{IRVersion: 8, Producer: "onnxpack-testdata", Opsets: []graph.Opset{{Domain: "", Version: 17}}}
	m.Graph = graph.New("digits")
	m.Graph.Attach(m)
	b := graph.NewBuilder(m.Graph, nil)
	d := graph.Symbol("N")
	x := m.Graph.AddInput("image", graph.TensorOf(tensor.Float32, graph.Dims{d, graph.Known(1), graph.Known(side), graph.Known(side)}))
	h := b.Op("Div", x, b.Const("white", tensor.Scalar[float32](255)))
	for i := range c.stages {
		h = c.stages[i].build(b.Named("stage"+string(rune('1'+i))+"/"), h)
	}
	h = b.Op("Dropout", h)
	batch := b.Op("Gather", b.Op("Shape", h), b.Const("zero", tensor.Scalar[int64](0)))
	shape := b.OpAttrs("Concat", []*graph.Attr{graph.IntAttr("axis", 0)},
		b.Op("Unsqueeze", batch, b.Const("axes", tensor.Vector[int64](0))), b.Const("rest", tensor.Vector[int64](-1)))
	h = b.Op("Reshape", h, shape)
	rows, cols := c.readout.Dims()
	h = b.Op("MatMul", h, b.Const("readout/weight", floats(tensor.Shape{rows, cols}, c.readout.RawMatrix().Data)))
	h = b.Op("Add", h, b.Const("readout/bias", floats(tensor.Shape{cols}, c.bias)))
	y := b.OpAttrs("Softmax", []*graph.Attr{graph.IntAttr("axis", -1)}, h)
	m.Graph.Rename(y, "probabilities")
	y.Type = graph.TensorOf(tensor.Float32, graph.Dims{d, graph.Known(classes)})
	m.Graph.AddOutput(y)
	return m
}

func (s *stage) build(b *graph.Builder, x *graph.Value) *graph.Value {
	w := b.Const("weight", floats(tensor.Shape{s.out, s.in, 3, 3}, s.weight))
	h := b.OpAttrs("Conv", []*graph.Attr{graph.IntsAttr("kernel_shape", 3, 3), graph.IntsAttr("pads", 1, 1, 1, 1)}, x, w)
	gain, shift, variance := make([]float64, s.out), make([]float64, s.out), make([]float64, s.out)
	for c := range s.out {
		gain[c], variance[c] = 1, s.std[c]*s.std[c]
	}
	shape := tensor.Shape{s.out}
	h = b.OpAttrs("BatchNormalization", []*graph.Attr{graph.FloatAttr("epsilon", 1e-5)}, h,
		b.Const("scale", floats(shape, gain)), b.Const("shift", floats(shape, shift)),
		b.Const("mean", floats(shape, s.mean)), b.Const("var", floats(shape, variance)))
	h = b.Op("Relu", h)
	return b.OpAttrs("MaxPool", []*graph.Attr{graph.IntsAttr("kernel_shape", 2, 2), graph.IntsAttr("strides", 2, 2)}, h)
}

func floats(shape tensor.Shape, xs []float64) *tensor.Tensor {
	fs := make([]float32, len(xs))
	for i, x := range xs {
		fs[i] = float32(x)
	}
	return tensor.Of(shape, fs)
}
