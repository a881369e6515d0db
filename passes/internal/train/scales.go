package train

import (
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// scaleParam is a scale that is learned (LSQ, Esser et al. 2019, arXiv
// 1902.08153) by its logarithm, so that it stays positive and a step changes
// it in proportion:
//
//	y = QuantizeLinear (x, scale, zero)
//	=>
//	s = Exp (log)  y = QuantizeLinear (x, s, zero)
type scaleParam struct {
	scale string // its initializer
	log   *param
}

// learnScales makes parameters of the scales that quantize values and weights.
// The scale of an int32 bias follows those of the product it is added to.
func (b *base) learnScales() {
	g := b.model.Graph
	for _, v := range g.Inits() {
		if !isScale(v) || b.opts.Frozen != nil && b.opts.Frozen(v.Name()) {
			continue
		}
		t := tensor.New(tensor.Float32, v.Init.Shape())
		for i, x := range tensor.Float32s(v.Init.Tensor) {
			tensor.Data[float32](t)[i] = float32(math.Log(float64(x)))
		}
		p := newParam(g.Fresh(v.Name()+"/log"), t)
		p.decays = false
		uses := v.Uses()
		s := graph.NewBuilder(g, g.First()).Named("scale/").Op("Exp", g.AddInit(p.name, p.tensor))
		s.Type = v.Type
		for _, u := range uses {
			u.Node.SetIn(u.Index, s)
		}
		b.extra[p.name] = p
		b.params = append(b.params, p)
		b.scales = append(b.scales, &scaleParam{v.Name(), p})
	}
}

// isScale reports whether v is a scale of positive floats and nothing else.
func isScale(v *graph.Value) bool {
	if !isFloats(v) || !v.Used() || v.IsOutput() {
		return false
	}
	for _, u := range v.Uses() {
		if !u.Node.Is("QuantizeLinear", "DequantizeLinear") || u.Index != 1 || u.Node.Int("block_size", 0) != 0 {
			return false
		}
	}
	for _, x := range tensor.Float32s(v.Init.Tensor) {
		if !(x > 0) {
			return false
		}
	}
	return true
}

// biasFactors returns the names of the two scales whose product is the scale
// of the bias that n dequantizes, empty if they are not.
func biasFactors(n *graph.Node) [2]string {
	u, ok := n.Out(0).SoleUse()
	if !ok || u.Index != 2 || n.In(1).NumUses() != 1 {
		return [2]string{}
	}
	var factors [2]string
	product := tensor.Float64s(n.In(1).Init.Tensor)
	rest := append([]float64(nil), product...)
	for i := range factors {
		d := u.Node.In(i).Producer()
		if d == nil || !d.Is("DequantizeLinear") || !isFloats(d.In(1)) {
			return [2]string{}
		}
		s := tensor.Float64s(d.In(1).Init.Tensor)
		if len(s) != 1 && len(s) != len(rest) {
			return [2]string{}
		}
		for k := range rest {
			rest[k] /= s[k%len(s)]
		}
		factors[i] = d.In(1).Name()
	}
	for _, r := range rest {
		if math.Abs(r-1) > 1e-4 {
			return [2]string{}
		}
	}
	return factors
}

// learned returns the scales as they are now, by the names of their
// initializers, and gives them to the weights that are stored with them.
func (b *base) learned() map[string]*tensor.Tensor {
	all := map[string]*tensor.Tensor{}
	for _, s := range b.scales {
		t := tensor.New(tensor.Float32, s.log.tensor.Shape())
		for i, x := range s.log.w {
			tensor.Data[float32](t)[i] = float32(math.Exp(float64(x)))
		}
		all[s.scale] = t
	}
	for _, q := range b.quant {
		if f := q.factors; f[0] != "" && (all[f[0]] != nil || all[f[1]] != nil) {
			all[q.scaleName] = b.product(f, all, b.orig.Graph.Value(q.scaleName).Init.Shape())
		}
		if t := all[q.scaleName]; t != nil {
			q.scale = tensor.Float64s(t)
		}
	}
	return all
}

// product multiplies two scales, of which one may be for all channels; shape
// is that of the result.
func (b *base) product(factors [2]string, all map[string]*tensor.Tensor, shape tensor.Shape) *tensor.Tensor {
	out := make([]float32, shape.Len())
	for k := range out {
		out[k] = 1
	}
	for _, name := range factors {
		t := all[name]
		if t == nil {
			t = b.orig.Graph.Value(name).Init.Tensor
		}
		s := tensor.Float32s(t)
		for k := range out {
			out[k] *= s[k%len(s)]
		}
	}
	return tensor.Of(shape, out)
}
