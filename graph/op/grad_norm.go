package op

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// gradNormRules are the gradients of normalizations, dropout and losses.
var gradNormRules = map[opName]func(*Grad) error{
	std("BatchNormalization"):           gradBatchNorm,
	std("LayerNormalization"):           gradLayerNorm,
	std("InstanceNormalization"):        gradInstanceNorm,
	std("GroupNormalization"):           gradGroupNorm,
	std("RMSNormalization"):             gradRMSNorm,
	std("SimplifiedLayerNormalization"): gradRMSNorm,
	std("LpNormalization"):              gradLpNorm,
	std("MeanVarianceNormalization"):    gradMeanVariance,
	std("LRN"):                          gradLRN,
	std("Dropout"):                      gradDropout,
}

// gradBatchNorm: in training form by a private operator, since the statistics
// depend on the input too. In inference form, y = (x-mean) a + bias with
// a = scale / sqrt(var + eps).
func gradBatchNorm(g *Grad) error {
	if batchNormTrains(&g.Call) {
		return gradBatchStatistics(g)
	}
	inv := g.Op("Reciprocal", g.Op("Sqrt", g.Op("Add", g.In[4], g.like(g.In[4], float64(g.Node.Float("epsilon", 1e-5))))))
	inv = g.castTo(inv, g.In[0])
	a := g.Op("Mul", g.castTo(g.In[1], g.In[0]), inv)
	spread, err := g.perChannel(a)
	if err != nil {
		return err
	}
	dy := g.DOut[0]
	g.Set(0, g.Op("Mul", dy, spread))
	if !g.Wanted(1) && !g.Wanted(2) && !g.Wanted(3) && !g.Wanted(4) {
		return nil
	}
	return g.frozenParameters(dy, inv, a)
}

// gradBatchStatistics is the gradient of a BatchNormalization in training
// form. The running statistics, results 1 and 2, take a share of 1-momentum of
// the mean and the variance of the batch.
func gradBatchStatistics(g *Grad) error {
	var dx *graph.Value
	if g.DOut[0] != nil {
		n := g.B.Add(graph.NewNode(PrivateDomain, "BatchNormalizationGrad", []*graph.Value{g.DOut[0], g.In[0], g.In[1]}, 3,
			graph.FloatAttr("epsilon", g.Node.Float("epsilon", 1e-5))))
		dx = n.Out(0)
		for i := 1; i < 3; i++ {
			g.Set(i, n.Out(i))
		}
	}
	momentum := float64(g.Node.Float("momentum", 0.9))
	for i := 1; i < min(3, len(g.DOut)); i++ {
		d := g.DOut[i]
		if d == nil {
			continue
		}
		if g.Wanted(2 + i) {
			g.Set(2+i, g.castTo(g.Op("Mul", d, g.like(d, momentum)), g.In[2+i]))
		}
		part, err := g.throughRunning(g.castTo(d, g.In[0]), i == 2, 1-momentum)
		if err != nil {
			return err
		}
		dx = g.Plus(dx, part)
	}
	g.Set(0, dx)
	return nil
}

// throughRunning is the gradient by x through a running mean, d share/n, or
// variance, 2 d share (x-mean)/n, over the n elements of a channel.
func (g *Grad) throughRunning(d *graph.Value, variance bool, share float64) (*graph.Value, error) {
	x := g.In[0]
	rank, err := g.Rank(0)
	if err != nil {
		return nil, err
	}
	if d, err = g.perChannel(d); err != nil {
		return nil, err
	}
	over := append([]int64{0}, axesFrom(2, rank)...)
	ones := g.Op("Expand", g.Number(1), g.ShapeOf(x))
	d = g.Op("Div", g.Op("Mul", d, g.Number(share)), g.Sum(ones, true, over...))
	if !variance {
		return g.Op("Mul", ones, d), nil
	}
	centred := g.Op("Sub", x, g.mean(x, over))
	return g.Op("Mul", g.Op("Mul", centred, g.Number(2)), d), nil
}

// frozenParameters sets the gradients of the vectors of a BatchNormalization
// in inference form: inv is 1/sqrt(var + eps), a is scale times that.
func (g *Grad) frozenParameters(dy, inv, a *graph.Value) error {
	sum, err := g.sumChannels(dy)
	if err != nil {
		return err
	}
	mean, err := g.perChannel(g.castTo(g.In[3], g.In[0]))
	if err != nil {
		return err
	}
	weighted, err := g.sumChannels(g.Op("Mul", dy, g.Op("Sub", g.In[0], mean)))
	if err != nil {
		return err
	}
	set := func(i int, v *graph.Value) {
		if g.Wanted(i) {
			g.Set(i, g.castTo(v, g.In[i]))
		}
	}
	set(1, g.Op("Mul", weighted, inv))
	set(2, sum)
	set(3, g.Op("Neg", g.Op("Mul", sum, a)))
	set(4, g.Op("Mul", g.Op("Mul", weighted, a), g.Op("Mul", g.Number(-0.5), g.Op("Mul", inv, inv))))
	return nil
}

// like returns a constant of the element type of v.
func (g *Grad) like(v *graph.Value, x float64) *graph.Value {
	if v.Type == nil || v.Type.Elem == tensor.Undefined {
		return g.Op("CastLike", g.B.Const("c", tensor.Scalar(x)), v)
	}
	return g.B.Const("c", tensor.FromFloat64s(v.Type.Elem, tensor.Shape{}, []float64{x}))
}

// mean is the mean of x over axes, kept with size 1.
func (g *Grad) mean(x *graph.Value, axes []int64) *graph.Value {
	if g.B.Graph().Opset("") < 18 {
		return g.B.OpAttrs("ReduceMean", []*graph.Attr{graph.IntsAttr("axes", axes...)}, x)
	}
	return g.Op("ReduceMean", x, g.Int64s(axes...))
}

// standardized returns u = (x - mean) / sqrt(variance + eps) over axes, and a
// function that gives the gradient by x from that by u:
//
//	dx = (du - mean(du) - u mean(du u)) / sqrt(variance + eps)
func (g *Grad) standardized(x *graph.Value, axes []int64, eps float64) (u *graph.Value, back func(du *graph.Value) *graph.Value) {
	attrs := func() []*graph.Attr {
		return []*graph.Attr{graph.IntsAttr("axes", axes...), graph.FloatAttr("epsilon", float32(eps))}
	}
	u = g.Private("Standardize", attrs(), x)
	return u, func(du *graph.Value) *graph.Value { return g.Private("StandardizeGrad", attrs(), du, x) }
}

// axesFrom lists the axes from first on of a tensor of the given rank.
func axesFrom(first, rank int) []int64 {
	var list []int64
	for a := first; a < rank; a++ {
		list = append(list, int64(a))
	}
	return list
}

// rowAxes lists the axes over which a layer normalization runs.
func (g *Grad) rowAxes() ([]int64, error) {
	rank, err := g.Rank(0)
	if err != nil {
		return nil, err
	}
	axis, err := tensor.Axis(int(g.Node.Int("axis", -1)), rank)
	return axesFrom(axis, rank), err
}

// affine sets the gradients of y = u scale + bias for inputs 1 and 2, and
// returns that by u.
func (g *Grad) affine(u, dy, scale *graph.Value) *graph.Value {
	if g.Wanted(1) {
		g.Set(1, g.Like(g.Op("Mul", dy, u), g.In[1], g.Out[0]))
	}
	if g.Wanted(2) {
		g.Set(2, g.Like(dy, g.In[2], g.Out[0]))
	}
	return g.Op("Mul", dy, scale)
}

func gradLayerNorm(g *Grad) error {
	axes, err := g.rowAxes()
	if err != nil {
		return err
	}
	u, back := g.standardized(g.In[0], axes, float64(g.Node.Float("epsilon", 1e-5)))
	var dx *graph.Value
	if g.DOut[0] != nil {
		if du := g.affine(u, g.DOut[0], g.In[1]); g.Wanted(0) {
			dx = back(du)
		}
	}
	if g.Wanted(0) {
		g.Set(0, g.Plus(dx, g.throughStatistics(u, axes)))
	}
	return nil
}

// throughStatistics is the gradient by x through the results of a layer
// normalization that are the mean, dx = dmean/n, and the inverse deviation r,
// dx = -dr r^2 u/n, of each row of n elements.
func (g *Grad) throughStatistics(u *graph.Value, axes []int64) *graph.Value {
	var dx *graph.Value
	if len(g.DOut) > 1 && g.DOut[1] != nil {
		dx = g.castTo(g.DOut[1], g.In[0])
	}
	if len(g.DOut) > 2 && g.DOut[2] != nil {
		r := g.Out[2]
		d := g.castTo(g.Op("Neg", g.Op("Mul", g.DOut[2], g.Op("Mul", r, r))), g.In[0])
		dx = g.Plus(dx, g.Op("Mul", d, u))
	}
	if dx == nil {
		return nil
	}
	ones := g.Op("Expand", g.Number(1), g.ShapeOf(g.In[0]))
	return g.Op("Mul", ones, g.Op("Div", dx, g.Sum(ones, true, axes...)))
}

func gradInstanceNorm(g *Grad) error {
	rank, err := g.Rank(0)
	if err != nil {
		return err
	}
	u, back := g.standardized(g.In[0], axesFrom(2, rank), float64(g.Node.Float("epsilon", 1e-5)))
	return g.channelAffine(u, back)
}

// channelAffine sets the gradients of y = u scale + bias with an element of
// scale and bias for each channel.
func (g *Grad) channelAffine(u *graph.Value, back func(*graph.Value) *graph.Value) error {
	scale, err := g.perChannel(g.In[1])
	if err != nil {
		return err
	}
	dy := g.DOut[0]
	if g.Wanted(1) {
		d, err := g.sumChannels(g.Op("Mul", dy, u))
		if err != nil {
			return err
		}
		g.Set(1, d)
	}
	if g.Wanted(2) {
		d, err := g.sumChannels(dy)
		if err != nil {
			return err
		}
		g.Set(2, d)
	}
	if g.Wanted(0) {
		g.Set(0, back(g.Op("Mul", dy, scale)))
	}
	return nil
}

// gradGroupNorm sees the image as [N, groups, rest] to standardize it. Scale
// and bias belong to groups before version 21, to channels after.
func gradGroupNorm(g *Grad) error {
	groups := g.Node.Int("num_groups", 1)
	x := g.In[0]
	grouped := g.Op("Reshape", x, g.Int64s(0, groups, -1))
	u, back := g.standardized(grouped, []int64{2}, float64(g.Node.Float("epsilon", 1e-5)))
	if g.Version >= 21 {
		return g.channelAffine(g.ReshapeTo(u, x), func(du *graph.Value) *graph.Value {
			return g.ReshapeTo(back(g.Op("Reshape", du, g.Int64s(0, groups, -1))), x)
		})
	}
	dy := g.Op("Reshape", g.DOut[0], g.Int64s(0, groups, -1))
	if g.Wanted(1) {
		g.Set(1, g.Sum(g.Op("Mul", dy, u), false, 0, 2))
	}
	if g.Wanted(2) {
		g.Set(2, g.Sum(dy, false, 0, 2))
	}
	if g.Wanted(0) {
		g.Set(0, g.ReshapeTo(back(g.Op("Mul", dy, g.Unsqueeze(g.In[1], 1))), x))
	}
	return nil
}

// gradRMSNorm: u = x r with r = 1/sqrt(mean(x^2) + eps) gives
// dx = r (du - u mean(du u)).
func gradRMSNorm(g *Grad) error {
	axes, err := g.rowAxes()
	if err != nil {
		return err
	}
	x := g.In[0]
	square := g.mean(g.Op("Mul", x, x), axes)
	r := g.Op("Reciprocal", g.Op("Sqrt", g.Op("Add", square, g.Number(float64(g.Node.Float("epsilon", 1e-5))))))
	u := g.Op("Mul", x, r)
	var dx *graph.Value
	if g.DOut[0] != nil {
		dy, scale := g.castTo(g.DOut[0], x), g.castTo(g.In[1], x)
		if g.Wanted(1) {
			g.Set(1, g.castTo(g.Like(g.Op("Mul", dy, u), g.In[1], g.Out[0]), g.In[1]))
		}
		du := g.Op("Mul", dy, scale)
		dx = g.Op("Mul", r, g.Op("Sub", du, g.Op("Mul", u, g.mean(g.Op("Mul", du, u), axes))))
	}
	if len(g.DOut) > 1 && g.DOut[1] != nil { // by r: dx = -dr r^2 u/n
		ones := g.Op("Expand", g.Number(1), g.ShapeOf(x))
		d := g.Op("Mul", g.castTo(g.DOut[1], x), g.Op("Mul", r, r))
		dx = g.Plus(dx, g.Op("Neg", g.Op("Mul", u, g.Op("Div", d, g.Sum(ones, true, axes...)))))
	}
	g.Set(0, dx)
	return nil
}

// gradLpNorm: y = x / n, n = |x|_p along an axis, gives
// dx = (dy - d sum(dy y)) / n with d = sign(x), or y for p = 2, the derivative
// of n.
func gradLpNorm(g *Grad) error {
	axis, x, dy := g.Node.Int("axis", -1), g.In[0], g.DOut[0]
	along := g.Sum(g.Op("Mul", dy, g.Out[0]), true, axis)
	var norm, slope *graph.Value
	if g.Node.Int("p", 2) == 1 {
		norm, slope = g.Sum(g.Op("Abs", x), true, axis), g.Op("Sign", x)
	} else {
		norm, slope = g.Op("Sqrt", g.Sum(g.Op("Mul", x, x), true, axis)), g.Out[0]
	}
	g.Set(0, g.Op("Div", g.Op("Sub", dy, g.Op("Mul", slope, along)), norm))
	return nil
}

// gradMeanVariance: the operator adds 1e-9 to the deviation.
func gradMeanVariance(g *Grad) error {
	axes := g.Node.Ints("axes")
	if axes == nil {
		axes = []int64{0, 2, 3}
	}
	_, back := g.standardized(g.In[0], axes, 1e-18)
	g.Set(0, back(g.DOut[0]))
	return nil
}

// gradLRN: y = x s^-beta, s = bias + alpha/size * (sum of x^2 over the channels
// near by), gives dx = dy s^-beta - 2 alpha beta/size x (sum of dy y/s over the
// channels that x is near to). The sums are pools along the channels.
func gradLRN(g *Grad) error {
	n := g.Node
	size := n.Int("size", 1)
	alpha, beta, bias := float64(n.Float("alpha", 1e-4)), float64(n.Float("beta", 0.75)), float64(n.Float("bias", 1))
	before := (size - 1) / 2
	x, dy := g.In[0], g.DOut[0]
	near := func(v *graph.Value, before int64) *graph.Value {
		flat := g.Op("Reshape", v, g.Int64s(0, 1, g.channels(), -1))
		mean := g.B.OpAttrs("AveragePool", []*graph.Attr{
			graph.IntsAttr("kernel_shape", size, 1), graph.IntAttr("count_include_pad", 1),
			graph.IntsAttr("pads", before, 0, size-1-before, 0),
		}, flat)
		return g.ReshapeTo(g.Op("Mul", mean, g.Number(float64(size))), v)
	}
	if g.channels() == 0 {
		return fmt.Errorf("the gradient needs the number of channels, which is not known")
	}
	s := g.Op("Add", g.Number(bias), g.Op("Mul", g.Number(alpha/float64(size)), near(g.Op("Mul", x, x), before)))
	direct := g.Op("Mul", dy, g.Op("Pow", s, g.Number(-beta)))
	others := near(g.Op("Div", g.Op("Mul", dy, g.Out[0]), s), size-1-before)
	g.Set(0, g.Op("Sub", direct, g.Op("Mul", g.Op("Mul", x, others), g.Number(2*alpha*beta/float64(size)))))
	return nil
}

// channels is the size of axis 1 of input 0, 0 if it is not known.
func (g *Grad) channels() int64 {
	if s := g.Shape(g.In[0]); len(s) > 1 && s[1].IsKnown() {
		return int64(s[1].Size)
	}
	return 0
}

// gradDropout passes on, in training, what the mask kept, scaled as the
// elements were.
func gradDropout(g *Grad) error {
	dy := g.DOut[0]
	if err := g.Refuse(1, "the ratio steers a random choice"); err != nil {
		return err
	}
	if g.Version < 12 || len(g.In) < 3 || g.In[2] == nil {
		g.Set(0, dy)
		return nil
	}
	mask, err := g.result(1)
	if err != nil {
		return err
	}
	ratio := g.Number(0.5)
	if len(g.In) > 1 && g.In[1] != nil {
		ratio = g.castTo(g.In[1], g.In[0])
	}
	scaled := g.Op("Div", dy, g.Op("Sub", g.Number(1), ratio))
	kept := g.Op("Where", mask, scaled, g.like(g.In[0], 0))
	g.Set(0, g.Op("Where", g.In[2], kept, dy))
	return nil
}
