package grad_test

import (
	"testing"

	"github.com/onnxpack/onnxpack/graph"
)

// layerModels are losses over operators that select elements, resample, or
// have bodies.
var layerModels = map[string]string{
	"selection": `g (double[3,4] x, double[2,3] y) => (double loss)
		<int64[2] s = {0,3}, int64[2] e = {3,-5}, int64[2] ax = {0,1}, int64[2] st = {2,-1}, int64[4] pads = {1,0,0,2}, int64[2] r = {2,1}, int64[2] i = {1,1}> {
		a = Slice (x, s, e, ax, st)  b = Pad <mode = "reflect"> (x, pads)  c = Tile (x, r)  d = Trilu (x)  f = Gather <axis = 1> (x, i)
		a2 = Mul (a, a)  b2 = Mul (b, b)  c2 = Mul (c, c)  d2 = Mul (d, d)  f2 = Mul (f, f)
		sa = ReduceSum <keepdims = 0> (a2)  sb = ReduceSum <keepdims = 0> (b2)  sc = ReduceSum <keepdims = 0> (c2)
		sd = ReduceSum <keepdims = 0> (d2)  sf = ReduceSum <keepdims = 0> (f2)  y2 = ReduceSum <keepdims = 0> (y)
		loss = Sum (sa, sb, sc, sd, sf, y2)
	}`,
	"scatter": `g (double[3,4] x, double[2,4] u, double[2,4] v) => (double loss) <int64[2,4] i = {0,1,2,0,1,2,0,1}, int64[2,1] j = {2,0}> {
		a = ScatterElements (x, i, u)  b = ScatterElements <reduction = "add"> (x, i, v)  c = ScatterND <reduction = "mul"> (x, j, u)
		d = ScatterND (x, j, v)  e = Mul (a, b)  f = Mul (c, d)  z = Mul (e, f)  loss = ReduceSum <keepdims = 0> (z)
	}`,
	"gather": `g (double[3,4] x) => (double loss) <int64[2,4] i = {0,1,2,0,1,2,0,1}, int64[2,2] j = {2,0,1,1}> {
		a = GatherElements (x, i)  b = GatherND (x, j)  c = Mul (a, a)  d = Mul (b, b)
		e = ReduceSum <keepdims = 0> (c)  f = ReduceSum <keepdims = 0> (d)  loss = Add (e, f)
	}`,
	"top": `g (double[3,4] x) => (double loss) <int64[1] k = {2}, int64 ax = {1}> {
		v, i = TopK (x, k)  c = CumSum <exclusive = 1> (x, ax)  a = Mul (v, v)  b = Mul (c, c)
		d = ReduceSum <keepdims = 0> (a)  e = ReduceSum <keepdims = 0> (b)  loss = Add (d, e)
	}`,
	"einsum": `g (double[2,3,4] x, double[2,4,5] y, double[4,4] z) => (double loss) {
		a = Einsum <equation = "bij,bjk->bik"> (x, y)  t = Einsum <equation = "ii"> (z)  s = Einsum <equation = "...j->..."> (x)
		d = Einsum <equation = "ii->i"> (z)
		aa = Mul (a, a)  ss = Mul (s, s)  dd = Mul (d, d)
		la = ReduceSum <keepdims = 0> (aa)  ls = ReduceSum <keepdims = 0> (ss)  ld = ReduceSum <keepdims = 0> (dd)
		loss = Sum (la, ls, ld, t)
	}`,
	"resize": `g (double[1,2,4,3] x) => (double loss) <int64[4] up = {1,2,7,5}, float[4] half = {1,1,0.5,2}> {
		a = Resize <mode = "linear"> (x, , , up)  b = Resize <mode = "cubic", antialias = 1> (x, , half)  c = Resize (x, , half)
		aa = Mul (a, a)  bb = Mul (b, b)  cc = Mul (c, c)
		la = ReduceSum <keepdims = 0> (aa)  lb = ReduceSum <keepdims = 0> (bb)  lc = ReduceSum <keepdims = 0> (cc)
		loss = Sum (la, lb, lc)
	}`,
	"rnn": `g (double[3,2,3] x, double[1,2,3] w, double[1,2,2] r, double[1,4] b) => (double loss) {
		y, h = RNN <hidden_size = 2, direction = "reverse"> (x, w, r, b)  a = Mul (y, y)  loss = ReduceSum <keepdims = 0> (a)
	}`,
	"lstm": `g (double[3,2,3] x, double[2,8,3] w, double[2,8,2] r, double[2,16] b, double[2,2,2] h, double[2,2,2] c, double[2,6] p) => (double loss) <int32[2] n = {2,3}> {
		y, yh, yc = LSTM <hidden_size = 2, direction = "bidirectional"> (x, w, r, b, n, h, c, p)
		a = Mul (y, y)  d = Mul (yh, yc)  e = ReduceSum <keepdims = 0> (a)  f = ReduceSum <keepdims = 0> (d)  loss = Add (e, f)
	}`,
	"gru": `g (double[3,2,3] x, double[1,6,3] w, double[1,6,2] r, double[1,12] b) => (double loss) {
		y = GRU <hidden_size = 2> (x, w, r, b)  z, h = GRU <hidden_size = 2, linear_before_reset = 1> (x, w, r, b)
		a = Mul (y, z)  d = ReduceSum <keepdims = 0> (a)  e = ReduceSum <keepdims = 0> (h)  loss = Add (d, e)
	}`,
}

// attentionModels need a newer opset.
var attentionModels = map[string]string{
	"attention": `g (double[2,3,8] q, double[2,4,4] k, double[2,4,4] v, double[3,4] m) => (double loss) {
		y = Attention <q_num_heads = 4, kv_num_heads = 2, softcap = 2.0> (q, k, v, m)  a = Mul (y, y)  loss = ReduceSum <keepdims = 0> (a)
	}`,
	"attention causal": `g (double[1,2,3,4] q, double[1,2,3,4] k, double[1,2,3,4] v, double[1,2,2,4] pk, double[1,2,2,4] pv) => (double loss) {
		y, kk, vv = Attention <is_causal = 1> (q, k, v, , pk, pv)  a = Mul (y, y)  loss = ReduceSum <keepdims = 0> (a)
	}`,
	"affine grid": `g (double[2,2,3] x) => (double loss) <int64[4] n = {2,1,3,4}> {
		y = AffineGrid (x, n)  a = Exp (y)  loss = ReduceSum <keepdims = 0> (a)
	}`,
	"rms norm": `g (double[3,2,4] x, double[4] s) => (double loss) {
		y = RMSNormalization (x, s)  e = Exp (y)  loss = ReduceSum <keepdims = 0> (e)
	}`,
	"group norm": `g (double[2,4,3] x, double[4] s, double[4] b) => (double loss) {
		y = GroupNormalization <num_groups = 2> (x, s, b)  e = Exp (y)  loss = ReduceSum <keepdims = 0> (e)
	}`,
}

func TestLayerGradients(t *testing.T) {
	for opset, models := range map[string]map[string]string{header: layerModels, newer: attentionModels} {
		for name, text := range models {
			t.Run(name, func(t *testing.T) {
				m, err := graph.ParseModel(opset + text)
				if err != nil {
					t.Fatal(err)
				}
				checkGradients(t, m)
			})
		}
	}
}

const newer = `<ir_version: 10, opset_import: ["": 23]> `
