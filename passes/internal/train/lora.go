package train

import (
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// lowRank is the update of a weight w of [out, in…] that trains in its place,
//
//	w' = w + Reshape (MatMul (b, a)),  b: [out, r], a: [r, in]
//
// with a random and b zero at first; in the end it is added to w (Hu et al.
// 2021, arXiv 2106.09685).
type lowRank struct {
	weight string
	a, b   *param
}

// addLowRank puts updates on the matrices among the parameters, and trains
// these alone. Weights too small for the rank are left as they are.
func (b *base) addLowRank() {
	g := b.model.Graph
	r := b.opts.LoRA
	var trained []*param
	for i, p := range b.params {
		shape := p.tensor.Shape()
		if !p.decays || len(shape) < 2 {
			continue
		}
		out, in := shape[0], shape.Len()/shape[0]
		if r >= out || r >= in {
			continue
		}
		v := g.Value(p.name)
		uses := v.Uses()
		l := &lowRank{weight: p.name}
		l.a = b.lowRankParam("lora/a/"+p.name, tensor.Shape{r, in}, i)
		l.b = b.lowRankParam("lora/b/"+p.name, tensor.Shape{out, r}, -1)
		emit := graph.NewBuilder(g, g.First()).Named("lora/")
		dims := make([]int64, len(shape))
		for k, d := range shape {
			dims[k] = int64(d)
		}
		update := emit.Op("MatMul", g.AddInit(l.b.name, l.b.tensor), g.AddInit(l.a.name, l.a.tensor))
		sum := emit.Op("Add", v, emit.Op("Reshape", update, emit.Const("shape", tensor.Vector(dims...))))
		for _, u := range uses {
			u.Node.SetIn(u.Index, sum)
		}
		b.lora = append(b.lora, l)
		trained = append(trained, l.a, l.b)
	}
	b.params = trained
}

// lowRankParam returns a factor: normal numbers from stream i, zeros if i is
// negative.
func (b *base) lowRankParam(name string, shape tensor.Shape, i int) *param {
	p := newParam(name, tensor.New(tensor.Float32, shape))
	if i >= 0 {
		rng, scale := stream(b.opts.Seed, forLoRA, i), 1/math.Sqrt(float64(shape[1]))
		for k := range p.w {
			p.w[k] = float32(rng.NormFloat64() * scale)
		}
	}
	b.extra[name] = p
	return p
}

// merge adds the update to the weight.
func (l *lowRank) merge(all map[string]*tensor.Tensor, before *tensor.Tensor) {
	out, r, in := l.b.tensor.Shape()[0], l.a.tensor.Shape()[0], l.a.tensor.Shape()[1]
	t := before.Clone()
	w := tensor.Data[float32](t)
	for o := range out {
		row := w[o*in : (o+1)*in]
		for k := range r {
			x := l.b.w[o*r+k]
			for i, a := range l.a.w[k*in : (k+1)*in] {
				row[i] += x * a
			}
		}
	}
	all[l.weight] = t
}
