package grad_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/grad"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/targets/engine"
)

// models are losses in float64 whose gradients by all inputs are compared
// with central differences.
var models = map[string]string{
	"elementwise": `g (double[3,4] x, double[4] y) => (double loss) <double e2 = {2}> {
		a = Mul (x, y)  b = Sigmoid (a)  c = Div (b, y)  d = Tanh (x)  e = Sub (c, d)  f = Pow (e, e2)
		loss = ReduceSum <keepdims = 0> (f)
	}`,
	"matmul": `g (double[2,3,4] x, double[4,5] y) => (double loss) {
		a = MatMul (x, y)  b = Softmax <axis = -1> (a)  c = Mul (b, a)  loss = ReduceMean <keepdims = 0> (c)
	}`,
	"gemm": `g (double[4,3] x, double[5,4] y, double[5] z) => (double loss) {
		a = Gemm <transA = 1, transB = 1, alpha = 0.5, beta = 2.0> (x, y, z)  b = Elu (a)  loss = ReduceL2 <keepdims = 0> (b)
	}`,
	"moves": `g (double[4,3] x, double[2,3] y) => (double loss) {
		a = Concat <axis = 0> (x, y)  b = Transpose (a)  p, q = Split <axis = 1, num_outputs = 2> (b)
		c = Mul (p, q)  d = Flatten (c)  e = LogSoftmax (d)  loss = ReduceSum <keepdims = 0> (e)
	}`,
}

const header = `<ir_version: 9, opset_import: ["": 18]> `

func TestGradients(t *testing.T) {
	for name, text := range models {
		t.Run(name, func(t *testing.T) {
			m, err := graph.ParseModel(header + text)
			if err != nil {
				t.Fatal(err)
			}
			checkGradients(t, m)
		})
	}
}

// checkGradients compares every gradient of m's loss with central differences.
func checkGradients(t *testing.T, m *graph.Model) {
	feeds, names := randomFeeds(m)
	d, err := grad.Build(m, grad.Options{Loss: "loss", By: names})
	if err != nil {
		t.Fatal(err)
	}
	if err := graph.Check(d); err != nil {
		t.Fatal(err)
	}
	got := runModel(t, d, feeds)
	for _, name := range names {
		x := tensor.Data[float64](feeds[name].(*tensor.Tensor))
		dx := tensor.Data[float64](got[grad.Name(name)].(*tensor.Tensor))
		for i := range x {
			want := slopeAt(t, m, feeds, x, i)
			if math.Abs(dx[i]-want) > 1e-6*(1+math.Abs(want)) {
				t.Errorf("d loss / d %s[%d] is %v, central difference %v", name, i, dx[i], want)
			}
		}
	}
}

// randomFeeds returns values for all inputs of m, the same on every call.
func randomFeeds(m *graph.Model) (feeds map[string]tensor.Value, names []string) {
	feeds = map[string]tensor.Value{}
	rng := rand.New(rand.NewPCG(1, 2))
	for _, v := range m.Graph.Feeds() {
		shape, _ := v.Type.Shape.Static()
		x := make([]float64, shape.Len())
		for i := range x {
			x[i] = 0.3 + rng.Float64()
		}
		feeds[v.Name()] = tensor.Of(shape, x)
		names = append(names, v.Name())
	}
	return feeds, names
}

// slopeAt is the central difference of the loss by element i of a feed.
func slopeAt(t *testing.T, m *graph.Model, feeds map[string]tensor.Value, x []float64, i int) float64 {
	const h = 1e-5
	at := func(v float64) float64 {
		old := x[i]
		x[i] = v
		defer func() { x[i] = old }()
		return tensor.Float64s(runModel(t, m, feeds)["loss"].(*tensor.Tensor))[0]
	}
	return (at(x[i]+h) - at(x[i]-h)) / (2 * h)
}

func runModel(t *testing.T, m *graph.Model, feeds map[string]tensor.Value) map[string]tensor.Value {
	t.Helper()
	s, err := engine.Compile(t.Context(), m, engine.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Run(t.Context(), feeds)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
