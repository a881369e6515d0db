package nodeprune

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/targets/engine"
)

// Calls of operators by what they take. In each, OP stands for the operator.
const (
	unaryCall   = `(float[2,3,4] x) => (y) { y = OP(x) }`
	binaryCall  = `(float[2,3,4] x, float[3,1] z) => (y) { y = OP(x, z) }`
	logicalCall = `(bool[2,3] x, bool[3] z) => (y) { y = OP(x, z) }`
	wholeCall   = `(int32[2,3] x, int32[2,3] z) => (y) { y = OP(x, z) }`
	reducedCall = `(float[2,3,4] x) => (y) <int64[1] a = {1}> { y = OP(x, a) }`
	pooledCall  = `(float[2,3,4,4] x) => (y) { y = OP(x) }`
	alongCall   = `(float[2,3,4] x) => (y) { y = OP<axis = 1>(x) }`
)

// plainRows are operators with a call that suits them.
var plainRows = []struct {
	call  string
	opset int
	ops   string
}{
	{unaryCall, 21, `Abs Neg Sign Ceil Floor Round Reciprocal Sqrt Exp Log Erf Sin Cos Tan Asin Acos Atan Sinh Cosh
		Asinh Acosh Atanh Clip Relu Sigmoid Tanh LeakyRelu Elu Selu Celu Gelu Mish HardSigmoid HardSwish Softplus
		Softsign ThresholdedRelu Shrink Identity Dropout Affine ParametricSoftplus ScaledTanh LpNormalization`},
	{unaryCall, 28, `Swish`},
	{unaryCall, 10, `Dropout`},
	{binaryCall, 21, `Add Sub Mul Div Mod Pow Sum Mean Max Min PRelu Equal Greater GreaterOrEqual Less LessOrEqual`},
	{logicalCall, 21, `And Or Xor`},
	{wholeCall, 21, `BitwiseAnd BitwiseOr BitwiseXor`},
	{reducedCall, 21, `ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceSumSquare ReduceL1 ReduceL2
		ReduceLogSum ReduceLogSumExp`},
	{alongCall, 21, `Softmax LogSoftmax Hardmax ArgMax ArgMin`},
	{pooledCall, 21, `GlobalMaxPool GlobalAveragePool GlobalLpPool`},
}

// ownRows are calls of operators that take something of their own.
var ownRows = []string{
	`28 (float[2,3] x, float[2,3] z) => (y) { y = SwiGLU(x, z) }`,
	`(bool[2,3] x) => (y) { y = Not(x) }`,
	`(float[2,3] x) => (y) { y = Mod<fmod = 1>(x, x) }`,
	`(float[2,3] x, float[3,4] z) => (y) { y = MatMul(x, z) }`,
	`(float[2,3,4] x, float[2,4,5] z) => (y) { y = MatMul(x, z) }`,
	`(float[4] x, float[4,5] z) => (y) { y = MatMul(x, z) }`,
	`(float[4,3] x, float[5,4] z, float[5] b) => (y) { y = Gemm<transA = 1, transB = 1>(x, z, b) }`,
	`(float[2,3,4] x, float[2,4,5] z) => (y) { y = Einsum<equation = "bij,bjk->bik">(x, z) }`,
	`(float[2,3,4] x) => (y) <int64 a = {1}> { y = CumSum(x, a) }`,
	`28 (float[2,3,4] x) => (y) <int64 a = {1}> { y = CumProd(x, a) }`,
	`(float[2,5] x) => (y, i) <int64[1] k = {2}> { y, i = TopK(x, k) }`,
	`28 (float[2,3] x) => (y) { y = BitCast<to = 6>(x) }`,
	`(float[2,3] x) => (y) { y = Cast<to = 11>(x) }`,
	`(float[2,3] x, float[1] z) => (y) { y = CastLike(x, z) }`,
	`(float[2,3,4] x) => (y) { y = Transpose<perm = [2, 0, 1]>(x) }`,
	`(float[2,3] x, float[2,4] z) => (y) { y = Concat<axis = 1>(x, z) }`,
	`(float[2,7] x) => (y, z) <int64[2] s = {3, 4}> { y, z = Split<axis = 1>(x, s) }`,
	`(float[2,6] x) => (y) <int64[1] s = {2}, int64[1] e = {5}, int64[1] a = {1}> { y = Slice(x, s, e, a) }`,
	`(float[2,3,4] x) => (y) { y = Flatten<axis = 1>(x) }`,
	`(float[2,1,4] x) => (y) <int64[1] a = {1}> { y = Squeeze(x, a) }`,
	`(float[2,1,4] x) => (y) { y = Squeeze(x) }`,
	`(float[2,4] x) => (y) <int64[2] a = {0, 2}> { y = Unsqueeze(x, a) }`,
	`(bool[2,1,4] c, float[3,4] x, float[2,3,4] z) => (y) { y = Where(c, x, z) }`,
	`(float[5,3] x, int64[2,2] i) => (y) { y = Gather<axis = 1>(x, i) }`,
	`(float[3,1] x) => (y) <int64[2] s = {3, 4}> { y = Expand(x, s) }`,
	`(float[2,3] x) => (y) <int64[2] r = {2, 3}> { y = Tile(x, r) }`,
	`(float[2,3] x) => (y) <int64[4] p = {0, 1, 0, 2}> { y = Pad(x, p) }`,
	`(float[1,8,2,2] x) => (y) { y = DepthToSpace<blocksize = 2>(x) }`,
	`(float[1,8,2,2] x) => (y) { y = DepthToSpace<blocksize = 2, mode = "CRD">(x) }`,
	`(float[1,3,4,4] x) => (y) { y = SpaceToDepth<blocksize = 2>(x) }`,
	`(float[4,3,2] x) => (y) <int64[3] n = {4, 2, 3}> { y = ReverseSequence(x, n) }`,
	`(float[2,3,4] x) => (y) { y = Trilu(x) }`,
	`(float[6,3] x) => (y) <int64[3] s = {2, 3, 3}> { y = Reshape(x, s) }`,
	`(float[2,8,3] x) => (y) <int64[3] s = {2, 4, 6}> { y = Reshape(x, s) }`,
	`(float[2,3,5,5] x, float[4,3,3,3] w, float[4] b) => (y) { y = Conv(x, w, b) }`,
	`(float[1,6,5,5] x, float[4,3,3,3] w, float[4] b) => (y) { y = Conv<group = 2>(x, w, b) }`,
	`(float[1,4,5,5] x, float[4,1,3,3] w) => (y) { y = Conv<group = 4>(x, w) }`,
	`(float[2,3,5] x, float[3,4,2] w, float[4] b) => (y) { y = ConvTranspose(x, w, b) }`,
	`(float[1,6,5] x, float[6,2,2] w, float[4] b) => (y) { y = ConvTranspose<group = 2>(x, w, b) }`,
	`(uint8[1,3,5,5] x, uint8[4,3,3,3] w) => (y) { y = ConvInteger(x, w) }`,
	`(uint8[1,3,5,5] x, int8[4,3,3,3] w, int32[4] b) => (y)
		<float s = {0.1}, uint8 p = {0}, float[4] t = {0.1, 0.2, 0.3, 0.4}, int8[4] q = {0, 0, 0, 0}, float u = {3}>
		{ y = QLinearConv(x, s, p, w, t, q, u, p, b) }`,
	`(float[2,3,4,4] x) => (y) { y = MaxPool<kernel_shape = [2, 2]>(x) }`,
	`(float[2,3,4,4] x) => (y) { y = AveragePool<kernel_shape = [2, 2]>(x) }`,
	`(float[2,3,4,4] x) => (y) { y = LpPool<kernel_shape = [2, 2]>(x) }`,
	`(float[1,3,6,6] x) => (y) <float[2,5] r = {0, 0, 0, 3, 3, 0, 1, 1, 5, 5}> { y = MaxRoiPool<pooled_shape = [2, 2]>(x, r) }`,
	`(float[1,3,6,6] x) => (y) <float[2,4] r = {0, 0, 3, 3, 1, 1, 5, 5}, int64[2] b = {0, 0}>
		{ y = RoiAlign<output_height = 2, output_width = 2>(x, r, b) }`,
	`(float[2,3,4] x, float[3] s, float[3] b, float[3] m, float[3] v) => (y) { y = BatchNormalization(x, s, b, m, v) }`,
	`(float[2,3,4] x, float[3] s, float[3] b) => (y) { y = InstanceNormalization(x, s, b) }`,
	`(float[2,6,4] x, float[6] s, float[6] b) => (y) { y = GroupNormalization<num_groups = 3>(x, s, b) }`,
	`18 (float[2,6,4] x, float[3] s, float[3] b) => (y) { y = GroupNormalization<num_groups = 3>(x, s, b) }`,
	`(float[2,3,4] x, float[4] s, float[4] b) => (y) { y = LayerNormalization(x, s, b) }`,
	`28 (float[2,3,4] x, float[4] s) => (y) { y = RMSNormalization(x, s) }`,
	`(float[2,3,4] x, float[4] s) => (y) { y = SimplifiedLayerNormalization(x, s) }`,
	`(float[2,3,4,4] x) => (y) { y = MeanVarianceNormalization(x) }`,
	`(float[2,3,4,4] x) => (y) { y = LRN<size = 3>(x) }`,
	`(float[4,2,3] x, float[1,5,3] w, float[1,5,5] r, float[1,10] b) => (y, h) { y, h = RNN<hidden_size = 5>(x, w, r, b) }`,
	`(float[4,2,3] x, float[1,20,3] w, float[1,20,5] r, float[1,40] b, float[1,2,5] i) => (y, h)
		{ y, h = LSTM<hidden_size = 5>(x, w, r, b, , i) }`,
	`(float[4,2,3] x, float[2,15,3] w, float[2,15,5] r, float[2,30] b) => (y, h)
		{ y, h = GRU<hidden_size = 5, direction = "bidirectional">(x, w, r, b) }`,
	`28 (float[2,3,8] q, float[2,3,8] k, float[2,3,8] v) => (y)
		{ y = Attention<q_num_heads = 4, kv_num_heads = 4, scale = 0.5>(q, k, v) }`,
	`28 (float[2,4,3,2] q, float[2,2,3,2] k, float[2,2,3,2] v) => (y) { y = Attention(q, k, v) }`,
	`28 (float[2,3,8] q, float[2,3,4] k, float[2,3,4] v, float[2,2,5,2] pk, float[2,2,5,2] pv) => (y, ok, ov)
		{ y, ok, ov = Attention<q_num_heads = 4, kv_num_heads = 2>(q, k, v, , pk, pv) }`,
	`(float[1,3,4,4] x) => (y) <float[4] s = {1, 1, 2, 2}> { y = Resize(x, , s) }`,
	`9 (float[1,3,4,4] x) => (y) <float[4] s = {1, 1, 2, 2}> { y = Upsample(x, s) }`,
	`(float[1,3,4,4] x, float[1,2,2,2] g) => (y) { y = GridSample(x, g) }`,
	`9 (float[1,3,4,4] x) => (y) { y = Crop<border = [1, 1, 1, 1]>(x) }`,
	`9 (float[2,3,4,4] x) => (y) { y = ImageScaler<scale = 2.0, bias = [0.1, 0.2, 0.3]>(x) }`,
	`(float[2,3,4] x, float[3] s) => (y) <uint8[3] z = {1, 2, 3}> { y = QuantizeLinear<axis = 1>(x, s, z) }`,
	`(int8[2,3,4] x, float[3] s) => (y) { y = DequantizeLinear<axis = 1>(x, s) }`,
	`(uint8[2,3] x, uint8[3,4] w) => (y) { y = MatMulInteger(x, w) }`,
	`(uint8[2,3] x, int8[3,4] w) => (y)
		<float s = {0.1}, uint8 p = {0}, float[4] t = {0.1, 0.2, 0.3, 0.4}, int8[4] q = {0, 0, 0, 0}, float u = {3}>
		{ y = QLinearMatMul(x, s, p, w, t, q, u, p) }`,
	`(float[2,3,4] x, float[3] s) => (y) <uint8[3] z = {1, 2, 3}> { y = com.microsoft.QuantizeLinear<axis = 1>(x, s, z) }`,
	`(int8[2,3,4] x, float[3] s) => (y) <int8[3] z = {0, 0, 0}> { y = com.microsoft.DequantizeLinear<axis = 1>(x, s, z) }`,
	`(uint8[2,3] x, uint8[3] w) => (y) <float s = {0.1}, uint8 p = {0}> { y = com.microsoft.QLinearAdd(x, s, p, w, s, p, s, p) }`,
	`(uint8[2,3] x, uint8[3] w) => (y) <float s = {0.1}, uint8 p = {0}> { y = com.microsoft.QLinearMul(x, s, p, w, s, p, s, p) }`,
	`(uint8[2,3] x) => (y) <float s = {0.1}, uint8 p = {0}> { y = com.microsoft.QLinearSigmoid(x, s, p, s, p) }`,
	`(uint8[2,3] x) => (y) <float s = {0.1}, uint8 p = {0}> { y = com.microsoft.QLinearLeakyRelu(x, s, p, s, p) }`,
	`(uint8[2,3] x, int8[3,4] w, int32[4] c) => (y) <float s = {0.1}, uint8 p = {0}, float t = {0.1}, int8 q = {0}>
		{ y = com.microsoft.QGemm(x, s, p, w, t, q, c) }`,
	`(uint8[2,3] x, uint8[3,4] w) => (y) <float s = {0.1}> { y = com.microsoft.MatMulIntegerToFloat(x, w, s, s) }`,
	`(float[2,32] x, uint8[6,1,16] w, float[6] s) => (y) { y = com.microsoft.MatMulNBits<K = 32, N = 6, bits = 4, block_size = 32>(x, w, s) }`,
	`(float[2,3,4] x, float[4,12] w, float[12] b) => (y) { y = com.microsoft.Attention<num_heads = 2>(x, w, b) }`,
	`(float[2,3,4] x, float[4,12] w, float[12] b, float[2,2,2,5,2] p) => (y, o)
		{ y, o = com.microsoft.Attention<num_heads = 2>(x, w, b, , p) }`,
	`(float[2,3,8] q, float[2,3,8] k, float[2,3,8] v, float[24] b) => (y) { y = com.microsoft.MultiHeadAttention<num_heads = 4>(q, k, v, b) }`,
	`(float[2,3,8] q, float[2,3,4] k, float[2,3,4] v) => (y, ok, ov) <int32[2] l = {2, 2}, int32 t = {3}>
		{ y, ok, ov = com.microsoft.GroupQueryAttention<num_heads = 4, kv_num_heads = 2>(q, k, v, , , l, t) }`,
	`(float[2,3,5,5] x, float[4,3,3,3] w, float[4] b) => (y) { y = com.microsoft.FusedConv<activation = "Relu">(x, w, b) }`,
	`(float[1,5,5,3] x, float[4,3,3,3] w, float[4] b) => (y) { y = com.microsoft.NhwcConv(x, w, b) }`,
	`(float[2,3] x, float[3,4] w, float[4] b) => (y) { y = com.microsoft.FusedGemm<activation = "Relu">(x, w, b) }`,
	`(float[2,4,3] x, float[2,4,5] w) => (y) { y = com.microsoft.FusedMatMul<transA = 1>(x, w) }`,
	`(float[2,4,3] x, float[2,5,3] w) => (y) { y = com.microsoft.TransposeMatMul<transA = 0, transB = 1>(x, w) }`,
	`(float[2,3] x) => (y) { y = com.microsoft.Gelu(x) }`,
	`(float[2,3] x, float[3] b) => (y) { y = com.microsoft.BiasGelu(x, b) }`,
	`(float[2,3] x, float[3] b) => (y) { y = com.microsoft.FastGelu(x, b) }`,
	`(float[2,3] x) => (y) { y = com.microsoft.QuickGelu(x) }`,
	`(float[2,3,4] x, float[2,3,4] z, float[4] s) => (y) { y = com.microsoft.SkipLayerNormalization(x, z, s) }`,
	`(float[2,3,4] x, float[2,3,4] z, float[4] s) => (y) { y = com.microsoft.SkipSimplifiedLayerNormalization(x, z, s) }`,
	`(float[2,3,4] x, float[4] s) => (y) { y = com.microsoft.SimplifiedLayerNormalization(x, s) }`,
	`(float[6,4] w, float[6,4] p, float[4] s, float[4] b) => (y, m) <int32[2,3] i = {1, 2, 3, 3, 2, 1}>
		{ y, m = com.microsoft.EmbedLayerNormalization(i, , w, p, , s, b) }`,
	`(float[2,3] x) => (y) <int32 a = {1}> { y = com.microsoft.ExpandDims(x, a) }`,
}

// TestAxesLaw holds the rule of every operator that has one: what a call makes
// without some indices of its operands, and of all axes that go with them, is
// what it makes with zeros in their places, without the indices of the results
// that go. What the call holds in attributes and bounds follows.
func TestAxesLaw(t *testing.T) {
	seen := map[*op.Def]bool{}
	check := func(opset int, text string) {
		m := callOf(t, opset, text)
		n := m.Graph.First()
		seen[op.Find(n.Domain, n.Op, n.Opset())] = true
		t.Run(n.Op, func(t *testing.T) { holdLaw(t, m, n) })
	}
	for _, r := range plainRows {
		for _, name := range strings.Fields(r.ops) {
			check(r.opset, strings.Replace(r.call, "OP", name, 1))
		}
	}
	for _, row := range ownRows {
		opset := 21
		if !strings.HasPrefix(row, "(") {
			fmt.Sscan(row, &opset)
		}
		check(opset, row[strings.Index(row, "("):])
	}
	for d := range op.All() {
		if d.Axes != nil && !seen[d] {
			t.Errorf("%s %s (version %d) has a rule for axes and no row", d.Domain, d.Name, d.Since)
		}
	}
}

// callOf makes a model of one call whose operands are constants of random
// contents, and whose results are summed up.
func callOf(t *testing.T, opset int, text string) *graph.Model {
	t.Helper()
	m, err := graph.ParseModel(fmt.Sprintf(`<ir_version: 10, opset_import: ["": %d, "com.microsoft": 1]> g %s`, opset, text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	r := rand.New(rand.NewPCG(3, 5))
	g := m.Graph
	for _, v := range g.Inputs() {
		s, _ := v.Type.Shape.Static()
		g.SetInit(v, &graph.Literal{Tensor: randomTensor(r, v.Type.Elem, s)})
		g.DropInput(v)
	}
	op.InferModel(m, op.InferOptions{})
	outs := g.Outputs()
	for range outs {
		g.DropOutput(0)
	}
	for _, v := range outs {
		if _, ok := v.Type.Shape.Static(); !ok {
			t.Fatalf("%s: type of %v is %v, want a shape", text, v, v.Type)
		}
		b := graph.NewBuilder(g, nil)
		cast := b.OpAttrs("Cast", []*graph.Attr{graph.IntAttr("to", int64(tensor.Float32))}, v)
		g.AddOutput(sumAll(b, cast, opset, len(v.Type.Shape)))
	}
	return m
}

// sumAll adds the sum over all axes, which lets any index go.
func sumAll(b *graph.Builder, v *graph.Value, opset, rank int) *graph.Value {
	axes := make([]int64, rank)
	for i := range axes {
		axes[i] = int64(i)
	}
	if opset < 13 {
		return b.OpAttrs("ReduceSum", []*graph.Attr{graph.IntsAttr("axes", axes...)}, v)
	}
	return b.Op("ReduceSum", v, b.Const("axes", tensor.Vector(axes...)))
}

// randomTensor returns elements that suit most operators: reals between 0.1 and
// 0.9, integers 0 and 1.
func randomTensor(r *rand.Rand, d tensor.DType, s tensor.Shape) *tensor.Tensor {
	x := make([]float64, s.Len())
	for i := range x {
		x[i] = float64(r.IntN(2))
		if d.IsFloat() {
			x[i] = 0.1 + 0.8*r.Float64()
		}
	}
	return tensor.FromFloat64s(d, s, x)
}

// holdLaw cuts the first and the last index of every axis of a call.
func holdLaw(t *testing.T, m *graph.Model, n *graph.Node) {
	web := newWeb(m, op.InferModel(m, op.InferOptions{}), Rules{})
	held := 0
	for _, v := range slices.Concat(n.Ins(), n.Outs()) {
		for at := range dimsOfAny(v) {
			x := web.of(v, at)
			for _, i := range []int{0, x.n - 1} {
				if cuts := web.closure(index{x, i}); cuts != nil {
					held++
					compareCut(t, m, place{v, at}, i)
				}
			}
		}
	}
	if held == 0 && n.Op != "EmbedLayerNormalization" { // it takes means along the only axis that is not counted
		t.Errorf("no axis of %v can lose an index", n)
	}
}

// compareCut cuts one index from a copy of m and compares.
func compareCut(t *testing.T, m *graph.Model, p place, i int) {
	cut := m.Clone()
	facts := op.InferModel(cut, op.InferOptions{})
	g := &Groups{model: cut, facts: facts, web: newWeb(cut, facts, Rules{})}
	cuts := g.web.closure(index{g.web.of(cut.Graph.Value(p.value.Name()), p.at), i})
	byName := cutsByName(g, []*Unit{{cuts: cuts}})
	if _, err := g.Cut([]*Unit{{cuts: cuts}}); err != nil {
		t.Errorf("index %d of axis %d of %v: %v", i, p.at, p.value, err)
		return
	}
	zeroed := m.Clone()
	for _, v := range zeroed.Graph.Inits() {
		for at := range v.Init.Tensor.Shape() {
			if gone := byName[nameAxis{v.Name(), at}]; len(gone) > 0 {
				zeroed.Graph.SetInit(v, &graph.Literal{Tensor: withZeros(v.Init.Tensor, at, gone)})
			}
		}
	}
	for _, v := range m.Graph.First().Outs() {
		if v == nil {
			continue
		}
		got, want := contentsOf(t, cut, v.Name()), contentsOf(t, zeroed, v.Name())
		for at := range want.Shape() {
			if gone := byName[nameAxis{v.Name(), at}]; len(gone) > 0 {
				want = without(want, at, gone)
			}
		}
		if d := difference(want, got); !(d < 1e-5) {
			t.Errorf("without index %d of axis %d of %v, %v differs by %.3g: %v, want %v", i, p.at, p.value, v, d, got, want)
		}
	}
}

func withZeros(x *tensor.Tensor, at int, gone []int) *tensor.Tensor {
	s := x.Shape()
	n, inner := s[at], s[at+1:].Len()
	data := slices.Clone(tensor.Float64s(x))
	for k := range data {
		if slices.Contains(gone, k/inner%n) {
			data[k] = 0
		}
	}
	return tensor.FromFloat64s(x.DType(), s, data)
}

func contentsOf(t *testing.T, m *graph.Model, name string) *tensor.Tensor {
	t.Helper()
	ctx := context.Background()
	s, err := engine.Compile(ctx, m, engine.Options{Outputs: []string{name}, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Run(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	x, ok := out[name].(*tensor.Tensor)
	if !ok {
		t.Fatalf("%q is no tensor", name)
	}
	return x
}

// difference returns the greatest difference; what is no number in both counts
// as equal.
func difference(want, got *tensor.Tensor) float64 {
	if !want.Shape().Equal(got.Shape()) {
		return math.Inf(1)
	}
	worst := 0.0
	y := tensor.Float64s(got)
	for i, x := range tensor.Float64s(want) {
		if d := math.Abs(x - y[i]); !math.IsNaN(x) || !math.IsNaN(y[i]) {
			worst = max(worst, d)
		}
	}
	return worst
}
