package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio"
)

// imageNets are small graphs over x, float[N,8,9,7], with weights from init.
var imageNets = []struct{ name, body string }{
	{"direct", `{ y = Conv<pads = [1,1,1,1]>(x, w3, b) }`},
	{"valid stride", `{ y = Conv<strides = [2,2]>(x, w3) }`},
	{"same upper", `{ y = Conv<auto_pad = "SAME_UPPER", strides = [2,2]>(x, w3, b) }`},
	{"same lower", `{ y = Conv<auto_pad = "SAME_LOWER", strides = [2,1]>(x, w3, b) }`},
	{"uneven pads", `{ y = Conv<pads = [2,0,1,3]>(x, w3, b) }`},
	{"dilated", `{ y = Conv<pads = [2,2,2,2], dilations = [2,2]>(x, w3, b) }`},
	{"dilated height", `{ y = Conv<pads = [2,1,2,1], dilations = [2,1]>(x, w3, b) }`},
	{"pointwise", `{ y = Conv(x, w1, b) }`},
	{"pointwise stride pad", `{ y = Conv<strides = [2,2], pads = [1,1,1,1]>(x, w1, b) }`},
	{"groups", `{ y = Conv<group = 2, pads = [1,1,1,1]>(x, wg, b) }`},
	{"depthwise", `{ y = Conv<group = 8, pads = [1,1,1,1]>(x, wd, bd) }`},
	{"depthwise stride", `{ y = Conv<group = 8, pads = [1,0,1,2], strides = [2,2]>(x, wd) }`},
	{"depthwise dilated", `{ y = Conv<group = 8, pads = [2,2,2,2], dilations = [2,2]>(x, wd) }`},
	{"relu", `{ c = Conv<pads = [1,1,1,1]>(x, w3, b) y = Relu(c) }`},
	{"clip", `{ c = Conv<pads = [1,1,1,1]>(x, w3, b) y = Clip(c, lo, hi) }`},
	{"leaky", `{ c = Conv(x, w1, b) y = LeakyRelu<alpha = 0.3>(c) }`},
	{"silu", `{ c = Conv<pads = [1,1,1,1]>(x, w3, b) s = Sigmoid(c) y = Mul(c, s) }`},
	{"hard swish", `{ c = Conv(x, w1, b) s = HardSigmoid<alpha = 0.16666667, beta = 0.5>(c) y = Mul(s, c) }`},
	{"norm", `{ c = Conv(x, w1, b) n = BatchNormalization(c, gamma, beta, mean, variance) y = Relu(n) }`},
	{"norm alone", `{ c = Conv(x, w1, b) p = MaxPool<kernel_shape = [2,2]>(c) n = BatchNormalization(p, gamma, beta, mean, variance) y = Relu(n) }`},
	{"constant factors", `{ c = Conv(x, w1) s = Mul(c, k) a = Add(k1, s) y = Tanh(a) }`},
	{"residual", `{ c = Conv<pads = [1,1,1,1]>(x, w3, b) d = Conv<pads = [1,1,1,1]>(c, w3s, b) a = Add(d, c) y = Relu(a) }`},
	{"residual of conv", `{ c = Conv<pads = [1,1,1,1]>(x, w3, b) d = Conv(x, w1) y = Add(c, d) }`},
	{"broadcast residual", `{ c = Conv(x, w1, b) p = GlobalAveragePool(c) d = Conv(p, ws) y = Add(d, c) }`},
	{"squeeze excite", `{ c = Conv<pads = [1,1,1,1]>(x, w3, b) p = GlobalAveragePool(c) d = Conv(p, ws, b) s = HardSigmoid(d) y = Mul(c, s) }`},
	{"squeeze excite and itself", `{ c = Conv<pads = [1,1,1,1]>(x, w3, b) p = GlobalAveragePool(c) d = Conv(p, ws, b) s = HardSigmoid(d) m = Mul(c, s) a = Add(c, m) r = Relu(a) y = Conv<pads = [1,1,1,1]>(r, w3s) }`},
	{"sum of a product", `{ c = Conv(x, w1, b) d = Conv(x, w1) m = Mul(c, d) a = Add(m, d) y = Sub(a, c) }`},
	{"max pool", `{ c = Conv(x, w1, b) y = MaxPool<kernel_shape = [3,3], strides = [2,2], pads = [1,1,1,1]>(c) }`},
	{"max pool ceil", `{ c = Conv(x, w1, b) y = MaxPool<kernel_shape = [3,2], strides = [2,3], ceil_mode = 1>(c) }`},
	{"max pool of wide windows", `{ c = Conv(x, w1, b) y = MaxPool<kernel_shape = [9,5], pads = [4,2,4,2]>(c) }`},
	{"max pool dilated", `{ c = Conv<pads = [1,1,1,1]>(x, w3, b) p = MaxPool<kernel_shape = [3,2], dilations = [2,3], strides = [1,2], auto_pad = "SAME_LOWER">(c) y = Conv<pads = [1,1,1,1]>(p, w3s) }`},
	{"mean pool", `{ c = Conv(x, w1, b) y = AveragePool<kernel_shape = [3,3], pads = [1,1,1,1]>(c) }`},
	{"mean pool whole", `{ c = Conv(x, w1, b) y = AveragePool<kernel_shape = [3,3], pads = [1,1,1,1], count_include_pad = 1>(c) }`},
	{"global max", `{ c = Conv(x, w1, b) y = GlobalMaxPool(c) }`},
	{"reduce mean", `{ c = Conv(x, w1, b) y = ReduceMean<axes = [-1,2]>(c) }`},
	{"concat", `{ c = Conv<pads = [1,1,1,1]>(x, w3, b) d = Conv(x, w1) e = Concat<axis = 1>(c, d, x) y = Conv<pads = [1,1,1,1]>(e, wc) }`},
	{"concat in place", `{ c = Conv<pads = [1,1,1,1]>(x, w3, b) p = MaxPool<kernel_shape = [3,3], pads = [1,1,1,1]>(c) d = Conv(x, w1) r = Relu(d) y = Concat<axis = 1>(r, p) }`},
	{"residual behind an activation", `{ c = Conv<pads = [1,1,1,1]>(x, w3, b) d = Conv<pads = [1,1,1,1]>(c, w3s, b) s = Sigmoid(d) m = Mul(d, s) a = Add(m, c) y = Conv(a, ws) }`},
	{"residual behind a clamp", `{ c = Conv<pads = [1,1,1,1]>(x, w3, b) d = Conv(c, ws, b) r = Relu(d) y = Add(c, r) }`},
	{"residual behind, broadcast", `{ c = Conv(x, w1, b) p = GlobalAveragePool(c) r = Conv(p, ws) d = Tanh(c) y = Add(d, r) }`},
	{"tiles, residual behind", `{ c = Conv<pads = [1,1,1,1]>(x, w32) d = Conv<pads = [1,1,1,1]>(c, wt, b40) e = Conv<pads = [1,1,1,1]>(c, wt) f = Tanh(d) g = Add(e, f) y = Relu(g) }`},
	{"concat of activated in place", `{ c = Conv<pads = [1,1,1,1]>(x, w32) d = Conv<pads = [1,1,1,1]>(c, wt, b40) s = Sigmoid(d) m = Mul(d, s) e = Conv(x, w1, b) f = Tanh(e) g = Conv(f, ws) h = HardSwish(g) i = Add(h, f) j = Concat<axis = 1>(i, m, x) y = Conv(j, w60) }`},
	{"concat of some in place", `{ c = Conv<group = 2, pads = [1,1,1,1]>(x, wg, b) d = Conv(x, w1, b) t = Tanh(d) e = Concat<axis = 1>(t, c, x) y = Conv<pads = [1,1,1,1]>(e, wc) }`},
	{"concat of one twice", `{ c = Conv(x, w1, b) d = Conv(x, w1) y = Concat<axis = 1>(c, d, c) }`},
	{"concat of tiles and resized", `{ c = Conv<pads = [1,1,1,1]>(x, w32) d = Conv<pads = [1,1,1,1]>(c, wt, b40) m = MaxPool<kernel_shape = [3,1], strides = [3,1]>(c) u = Resize<coordinate_transformation_mode = "asymmetric", nearest_mode = "floor">(m, , threefold) y = Concat<axis = 1>(u, d) }`},
	{"pixels listed", `{ c = Conv<pads = [1,1,1,1]>(x, w3, b) d = MaxPool<kernel_shape = [3,3], strides = [2,2]>(c) e = Conv<pads = [1,1,1,1]>(d, w3s) r = Reshape(c, merged) s = Reshape(e, merged) t = Reshape(d, merged) j = Concat<axis = -1>(r, s, t) y = Transpose<perm = [0,2,1]>(j) }`},
	{"plain reader", `{ c = Conv<pads = [1,1,1,1]>(x, w3, b) d = Conv<pads = [1,1,1,1]>(c, w3s) t = Transpose<perm = [0,2,3,1]>(c) u = Transpose<perm = [0,3,1,2]>(t) y = Sub(d, u) }`},
	{"subgraph reader", `{ c = Conv(x, w1, b) one = Constant<value = bool {1}>() y = If(one) <then_branch = t () => (float[N,12,9,7] a) { a = Neg(c) }, else_branch = e () => (float[N,12,9,7] z) { z = Identity(c) }> }`},
	{"tiles", `{ c = Conv<pads = [1,1,1,1]>(x, w32) y = Conv<pads = [1,1,1,1]>(c, wt) }`},
	{"tiles residual", `{ c = Conv<pads = [1,1,1,1]>(x, w32) d = Conv<pads = [1,1,1,1]>(c, wt, b40) e = Conv<pads = [1,1,1,1]>(c, wt) f = Add(e, d) y = Relu(f) }`},
	{"tiles valid", `{ c = Conv<pads = [1,1,1,1]>(x, w32) d = Conv(c, wt, b40) y = HardSwish(d) }`},
	{"tiles uneven", `{ c = Conv<pads = [1,1,1,1]>(x, w32) y = Conv<pads = [2,0,1,3]>(c, wt, b40) }`},
	{"several outputs", `{ c = Conv(x, w1, b) r = Relu(c) y = Add(c, r) }`},
	{"transposed", `{ c = ConvTranspose<pads = [1,2,1,1]>(x, wu, bu) y = Relu(c) }`},
	{"transposed, dilated and depthwise", `{ y = ConvTranspose<group = 8, dilations = [3,1], pads = [2,1,2,1]>(x, wud, bd) }`},
	{"transposed, grouped", `{ c = ConvTranspose<group = 2, pads = [1,1,1,1]>(x, wug, bu) y = Sigmoid(c) }`},
	{"transposed with strides", `{ c = ConvTranspose<strides = [2,3], pads = [1,2,0,1]>(x, wu, bu) m = MaxPool<kernel_shape = [2,2]>(c) y = Conv<pads = [1,1,1,1]>(m, wn) }`},
	{"transposed, windows that touch", `{ c = ConvTranspose<strides = [2,5], pads = [1,0,0,0]>(x, wu, bu) m = Sigmoid(c) y = Conv<pads = [1,1,1,1]>(m, wn) }`},
	{"transposed with strides, grouped", `{ y = ConvTranspose<group = 2, strides = [1,2], output_padding = [0,1], pads = [2,0,3,1]>(x, wug) }`},
	{"transposed with a stride, depthwise", `{ c = ConvTranspose<group = 8, strides = [2,2], pads = [0,1,1,1]>(x, wud, bd) y = Conv(c, w1) }`},
}

// init holds the weights of imageNets.
func imageWeights() map[string]*tensor.Tensor {
	positive := random(30, 12)
	for i, v := range tensor.Data[float32](positive) {
		tensor.Data[float32](positive)[i] = v*v + 0.5
	}
	return map[string]*tensor.Tensor{
		"w3": random(2, 12, 8, 3, 3), "w3s": random(3, 12, 12, 3, 3), "w1": random(4, 12, 8, 1, 1), "ws": random(5, 12, 12, 1, 1),
		"wg": random(6, 12, 4, 3, 3), "wd": random(7, 8, 1, 3, 3), "wc": random(8, 5, 32, 3, 3),
		"b": random(9, 12), "bd": random(10, 8), "k": random(11, 12, 1, 1), "k1": random(12, 1, 12, 1, 1),
		"gamma": random(13, 12), "beta": random(14, 12), "mean": random(15, 12), "variance": positive,
		"w32": random(16, 32, 8, 3, 3), "wt": random(17, 40, 32, 3, 3), "b40": random(18, 40), "w60": random(24, 3, 60, 1, 1),
		"wu": random(19, 8, 6, 4, 5), "bu": random(20, 6), "wn": random(23, 4, 6, 3, 3), "wug": random(21, 8, 3, 3, 3), "wud": random(22, 8, 1, 3, 3),
		"merged":    tensor.Vector[int64](0, 12, -1),
		"threefold": tensor.Vector[float32](1, 1, 3, 1),
		"lo":        tensor.Scalar[float32](-0.5), "hi": tensor.Scalar[float32](3),
	}
}

func imageNet(t *testing.T, body string) *graph.Model {
	t.Helper()
	weights := ""
	for name, w := range imageWeights() {
		weights += fmt.Sprintf(", %v%v %s", w.DType(), w.Shape(), name)
	}
	return parseWith(t, `<ir_version: 8, opset_import: ["": 17]> g (float[N,8,9,7] x`+weights+`) => (y) `+body, imageWeights())
}

// rowNets are graphs over x, float[N,8,30]: images of one row.
var rowNets = []struct{ name, body string }{
	{"conv", `{ y = Conv<pads = [1,2]>(x, w, b) }`},
	{"conv strided, no padding", `{ c = Conv<strides = [2]>(x, w) y = Relu(c) }`},
	{"conv dilated", `{ c = Conv<dilations = [3], auto_pad = "SAME_UPPER">(x, w, b) y = Sigmoid(c) }`},
	{"depthwise", `{ y = Conv<group = 8, pads = [1,1]>(x, wd, bd) }`},
	{"grouped", `{ y = Conv<group = 2, pads = [1,1]>(x, wg, b) }`},
	{"residual and pool", `{ c = Conv<pads = [1,1]>(x, w, b) d = Conv<pads = [1,1]>(c, w2) s = Add(d, c) r = Relu(s) y = MaxPool<kernel_shape = [3], strides = [2]>(r) }`},
	{"average", `{ c = Conv<pads = [1,1]>(x, w, b) y = AveragePool<kernel_shape = [2], strides = [2]>(c) }`},
	{"means", `{ c = Conv(x, w, b) m = ReduceMean<axes = [-1]>(c) s = Sub(c, m) g = GlobalAveragePool(s) y = Add(s, g) }`},
	{"constants", `{ c = Conv(x, w, b) m = Mul(c, k) a = Add(m, row) n = Div(a, one) r = LeakyRelu(n) y = Add(r, k) }`},
	{"concat", `{ c = Conv<pads = [1,1]>(x, w, b) y = Concat<axis = -2>(c, x, c) }`},
	{"normalized", `{ c = Conv(x, w) n = BatchNormalization(c, gamma, beta, mean, variance) p = MaxPool<kernel_shape = [2]>(n) y = BatchNormalization(p, gamma, beta, mean, variance) }`},
	{"transposed", `{ y = ConvTranspose<pads = [1,0]>(x, wt, bt) }`},
	{"transposed with stride", `{ c = ConvTranspose<strides = [2], output_padding = [1]>(x, wt, bt) y = Relu(c) }`},
	{"two ranks", `{ c = Conv(x, w, b) f = Unsqueeze(c, last) i = Conv(f, wi) p = Relu(i) s = Squeeze(p, last) y = Add(s, c) }`},
}

func TestImagesOfOneRow(t *testing.T) {
	weights := map[string]*tensor.Tensor{
		"w": random(2, 12, 8, 3), "w2": random(3, 12, 12, 3), "wd": random(4, 8, 1, 3), "wg": random(5, 12, 4, 3), "wi": random(6, 12, 12, 1, 1),
		"b": random(7, 12), "bd": random(8, 8), "k": random(9, 12, 1), "row": random(10, 28), "one": tensor.Of(tensor.Shape{1, 1, 1}, []float32{3}),
		"gamma": random(13, 12), "beta": random(14, 12), "mean": random(15, 12), "variance": imageWeights()["variance"],
		"last": tensor.Vector[int64](3), "wt": random(15, 8, 6, 3), "bt": random(16, 6),
	}
	inputs := ""
	for name, w := range weights {
		inputs += fmt.Sprintf(", %v%v %s", w.DType(), w.Shape(), name)
	}
	for _, net := range rowNets {
		t.Run(net.name, func(t *testing.T) {
			m := parseWith(t, `<ir_version: 8, opset_import: ["": 17]> g (float[N,8,30] x`+inputs+`) => (y) `+net.body, weights)
			in := feeds{"x": random(1, 2, 8, 30)}
			want := runModel(t, m, Options{Plain: true, Threads: 1}, in)["y"].(*tensor.Tensor)
			for threads := 1; threads <= 2; threads++ {
				got := runModel(t, m, Options{Threads: threads}, in)["y"].(*tensor.Tensor)
				if !got.Shape().Equal(want.Shape()) || !near(floats(t, got), floats(t, want)) {
					t.Errorf("%d threads: fused %v differs from plain %v", threads, got, want)
				}
			}
			s, err := Compile(t.Context(), m, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if slices.ContainsFunc(s.main.steps, func(st step) bool { return st.node.Is("Conv", "ConvTranspose") }) {
				t.Errorf("a convolution is left: %q", s.Explain())
			}
		})
	}
}

// Sessions run more than once, since later runs find in their buffers what
// earlier ones left.
func TestImages(t *testing.T) {
	for _, net := range imageNets {
		t.Run(net.name, func(t *testing.T) {
			m := imageNet(t, net.body)
			var ins, wants []feeds
			for i, batch := range []int{1, 3, 3, 1} {
				in := feeds{"x": random(uint64(100+i), batch, 8, 9, 7)}
				ins, wants = append(ins, in), append(wants, runModel(t, m, Options{Plain: true, Threads: 1}, in))
			}
			for threads := 1; threads <= 2; threads++ {
				s, err := Compile(t.Context(), m, Options{Threads: threads})
				if err != nil {
					t.Fatal(err)
				}
				for i, in := range ins {
					outs, err := s.Run(t.Context(), in)
					if err != nil {
						t.Fatal(err)
					}
					got, want := outs["y"].(*tensor.Tensor), wants[i]["y"].(*tensor.Tensor)
					if !got.Shape().Equal(want.Shape()) || !near(floats(t, got), floats(t, want)) {
						t.Errorf("run %d, %d threads: fused %v differs from plain %v", i, threads, got, want)
					}
				}
			}
		})
	}
}

// Every net above is fused: none keeps its convolution.
func TestImagesAreFused(t *testing.T) {
	for _, net := range imageNets {
		s, err := Compile(t.Context(), imageNet(t, net.body), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(s.main.steps, func(st step) bool { return st.node.Is("Conv", "ConvTranspose") }) {
			t.Errorf("%s: a convolution is left: %q", net.name, s.Explain())
		}
	}
}

// sharedModel opens a model of the shared folder, or skips.
func sharedModel(t testing.TB, name string) *onnxio.File {
	t.Helper()
	shared := os.Getenv("ONNXPACK_SHARED")
	if shared == "" {
		t.Skip("ONNXPACK_SHARED names no folder of models")
	}
	f, err := onnxio.Open(filepath.Join(shared, "models", name), onnxio.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestSharedImageNets(t *testing.T) {
	for _, name := range []string{
		"cifar10_resnet20.onnx", "lenet_openvino.onnx", "mlperftiny_resnet8_large_f32.onnx", "mnist_cntk.onnx",
		"mobilenetv2_tv.onnx", "squeezenet1.1.onnx", "ultraface_slim320.onnx", "wonnx_opt_mnist.onnx",
	} {
		t.Run(name, func(t *testing.T) {
			m := sharedModel(t, name).Model
			in := feeds{}
			for i, v := range m.Graph.Feeds() {
				shape := tensor.Shape{}
				for _, d := range v.Type.Shape {
					shape = append(shape, max(d.Size, 1))
				}
				in[v.Name()] = random(uint64(i), shape...)
			}
			want := runModel(t, m, Options{Plain: true}, in)
			one, two := runModel(t, m, Options{Threads: 1}, in), runModel(t, m, Options{Threads: 2}, in)
			for name, w := range want {
				if !near(floats(t, one[name]), floats(t, w)) {
					t.Errorf("output %q: fused differs from plain", name)
				}
				if !one[name].(*tensor.Tensor).Equal(two[name].(*tensor.Tensor)) {
					t.Errorf("output %q depends on the number of threads", name)
				}
			}
		})
	}
}

// A convolution of a constant sees zeros around it.
func TestConstantImage(t *testing.T) {
	weights := map[string]*tensor.Tensor{"x": random(1, 2, 3, 5), "w": random(2, 3, 3, 2), "b": random(3, 3)}
	for _, call := range []string{"Conv<pads = [1, 1]>(x, w, b)", "ConvTranspose(x, w, b)", "ConvTranspose<strides = [2]>(x, w, b)"} {
		m := parseWith(t, `<ir_version: 8, opset_import: ["": 20]>
			g (float[1] z, float[2,3,5] x, float[3,3,2] w, float[3] b) => (float y) { c = `+call+` y = Add(c, z) }`, weights)
		in := feeds{"z": tensor.Vector[float32](1)}
		want := runModel(t, m, Options{Plain: true}, in)["y"].(*tensor.Tensor)
		got := runModel(t, m, Options{}, in)["y"].(*tensor.Tensor)
		if !got.Shape().Equal(want.Shape()) || !near(tensor.Data[float32](got), tensor.Data[float32](want)) {
			t.Errorf("%s: got %v, want %v", call, tensor.Data[float32](got), tensor.Data[float32](want))
		}
	}
}

// Pixels that a Transpose lists are copied once.
func TestPixelTable(t *testing.T) {
	i := slices.IndexFunc(imageNets, func(net struct{ name, body string }) bool { return net.name == "pixels listed" })
	s, err := Compile(t.Context(), imageNet(t, imageNets[i].body), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(s.main.steps, func(st step) bool { return st.node.Is("Reshape", "Concat", "Transpose") }) {
		t.Errorf("a movement of pixels is left: %q", s.Explain())
	}
}

// The operands of a Concat are computed where it would copy them to.
func TestConcatInPlace(t *testing.T) {
	for _, c := range []struct {
		name   string
		copied int // operands that the Concat copies; 0 if there is none left
	}{{"concat in place", 0}, {"concat of tiles and resized", 0}, {"concat of activated in place", 1}, {"concat of some in place", 1}} {
		i := slices.IndexFunc(imageNets, func(net struct{ name, body string }) bool { return net.name == c.name })
		s, err := Compile(t.Context(), imageNet(t, imageNets[i].body), Options{})
		if err != nil {
			t.Fatal(err)
		}
		copied := 0
		for _, st := range s.main.steps {
			if m, ok := st.info.machine.(*concatImage); ok {
				copied += len(m.into)
			}
		}
		if copied != c.copied {
			t.Errorf("%s: %d operands are copied, want %d", c.name, copied, c.copied)
		}
	}
}

// A product of images and the addition of another are one pass over them.
func TestProductAndSum(t *testing.T) {
	for _, name := range []string{"squeeze excite and itself", "sum of a product"} {
		i := slices.IndexFunc(imageNets, func(net struct{ name, body string }) bool { return net.name == name })
		s, err := Compile(t.Context(), imageNet(t, imageNets[i].body), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(s.main.steps, func(st step) bool {
			m, ok := st.info.machine.(*binaryImage)
			return ok && m.adds
		}) {
			t.Errorf("%s: the addition stands alone: %q", name, s.Explain())
		}
	}
}
