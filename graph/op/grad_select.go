package op

import (
	"fmt"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// gradSelectRules are the gradients of operators whose results hold elements
// of their inputs, once, several times or not at all.
var gradSelectRules = map[opName]func(*Grad) error{
	std("Slice"):              moved(0),
	std("Pad"):                gradPad,
	std("Unique"):             gradUnique,
	std("Range"):              gradRange,
	std("MelWeightMatrix"):    noSlope,
	std("Optional"):           gradWrapped,
	std("OptionalGetElement"): gradWrapped,
	std("Tile"):               moved(0),
	std("Trilu"):              moved(0),
	std("Compress"):           moved(0),
	std("DepthToSpace"):       moved(0),
	std("SpaceToDepth"):       moved(0),
	std("ReverseSequence"):    moved(0),
	std("CenterCropPad"):      moved(0),
	std("GatherElements"):     moved(0),
	std("GatherND"):           moved(0),
	std("TensorScatter"):      moved(0, 1),
	std("ScatterElements"):    gradScatter,
	std("ScatterND"):          gradScatter,
	std("Gather"):             gradGather,
	std("TopK"):               gradTopK,
	std("CumSum"):             gradCumSum,
	std("CumProd"):            gradCumProd,
	std("CastLike"):           gradCastLike,
	std("OneHot"):             gradOneHot,
	std("ConstantOfShape"):    noSlope,
	std("EyeLike"):            noSlope,
	std("RandomNormalLike"):   noSlope,
	std("RandomUniformLike"):  noSlope,
	std("Bernoulli"):          noSlope,
	std("Hardmax"):            noSlope,
}

// moved makes the gradient of a call that moves elements of the given inputs,
// by the call itself: given in place of each element the place where it
// stands, it tells where the elements of the result come from.
func moved(inputs ...int) func(*Grad) error {
	return func(g *Grad) error {
		for _, i := range inputs {
			if g.Wanted(i) {
				g.Set(i, g.scatter(g.DOut[0], g.sources(i, inputs), g.In[i]))
			}
		}
		return nil
	}
}

// sources emits the call with places instead of the elements of input i, and
// zeros in place of those of the other moved inputs; padding is zero.
func (g *Grad) sources(i int, inputs []int) *graph.Value {
	ins := slices.Clone(g.In)
	for _, k := range inputs {
		ins[k] = g.zeroPlaces(g.In[k])
	}
	ins[i] = g.places(g.In[i])
	if g.Node.Op == "Pad" && len(ins) > 2 {
		ins[2] = nil
	}
	return g.B.Add(graph.NewNode(g.Node.Domain, g.Node.Op, ins, 1, g.attrs()...)).Out(0)
}

// places returns a tensor of the shape of v whose elements count from 1 in
// row-major order.
func (g *Grad) places(v *graph.Value) *graph.Value {
	one := g.B.Const("i", tensor.Of(tensor.Shape{}, []int64{1}))
	shape := g.ShapeOf(v)
	size := g.B.OpAttrs("ReduceProd", []*graph.Attr{graph.IntAttr("keepdims", 0)}, shape)
	return g.Op("Reshape", g.Op("Range", one, g.Op("Add", size, one), one), shape)
}

func (g *Grad) zeroPlaces(v *graph.Value) *graph.Value {
	zero := graph.TensorAttr("value", tensor.Vector[int64](0))
	return g.B.OpAttrs("ConstantOfShape", []*graph.Attr{zero}, g.ShapeOf(v))
}

// scatter adds each element of dy to the element of the gradient of v that
// places states.
func (g *Grad) scatter(dy, places, v *graph.Value) *graph.Value {
	return g.Private("ScatterSum", nil, dy, places, g.ShapeOf(v))
}

// gradScatter: results are updates in some places and data elsewhere. With a
// reduction both take part in a place.
func gradScatter(g *Grad) error {
	gather := func(v *graph.Value) *graph.Value {
		if g.Node.Op == "ScatterND" {
			return g.Op("GatherND", v, g.In[1])
		}
		axis := []*graph.Attr{graph.IntAttr("axis", g.Node.Int("axis", 0))}
		return g.B.OpAttrs("GatherElements", axis, v, g.In[1])
	}
	dy, y := g.DOut[0], g.Out[0]
	switch r := g.Node.Str("reduction", "none"); r {
	case "none":
		return moved(0, 2)(g)
	case "add":
		g.Set(0, dy)
		g.Set(2, gather(dy))
	case "mul":
		part := g.Op("Mul", dy, y)
		g.Set(0, g.Op("Div", part, g.In[0]))
		g.Set(2, g.Op("Div", gather(part), g.In[2]))
	case "max", "min":
		g.Set(0, g.Op("Mul", dy, g.Mask(g.Op("Equal", g.In[0], y))))
		g.Set(2, g.Op("Mul", gather(dy), g.Mask(g.Op("Equal", g.In[2], gather(y)))))
	default:
		return fmt.Errorf("attribute reduction is %q, want none, add, mul, max or min", r)
	}
	return nil
}

// gradPad gives the gradient of the elements that are no element of x to the
// value that pads.
func gradPad(g *Grad) error {
	if err := moved(0)(g); err != nil || !g.Wanted(2) {
		return err
	}
	padded := g.Op("Equal", g.sources(0, []int{0}), g.B.Const("i", tensor.Of(tensor.Shape{}, []int64{0})))
	d := g.Op("Where", padded, g.DOut[0], g.like(g.In[0], 0))
	g.Set(2, g.Private("ReduceTo", nil, d, g.ShapeOf(g.In[2])))
	return nil
}

// result returns result i of the node, which is made if the call leaves it out
// at its end.
func (g *Grad) result(i int) (*graph.Value, error) {
	for g.Node.NumOut() <= i {
		g.Node.AddOut()
	}
	v := g.Node.Out(i)
	if v == nil {
		return nil, fmt.Errorf("the gradient needs result %d, which is left out", i)
	}
	return v, nil
}

func gradUnique(g *Grad) error { return g.shares(2) }

// shares gives the gradient of each of the unique elements to all that are
// equal to it, in equal shares: the named result tells for each element which
// it is, the next one how many there are.
func (g *Grad) shares(groups int) error {
	group, err := g.result(groups)
	if err != nil {
		return err
	}
	counts, err := g.result(groups + 1)
	if err != nil {
		return err
	}
	dy, x := g.DOut[0], g.In[0]
	axis := int64(0)
	if g.Node.Attr("axis") != nil {
		rank, err := g.Rank(0)
		if err != nil {
			return err
		}
		at, err := tensor.Axis(int(g.Node.Int("axis", 0)), rank)
		if err != nil {
			return err
		}
		axis = int64(at)
		if at < rank-1 {
			counts = g.Unsqueeze(counts, axesFrom(1, rank-at)...)
		}
	}
	share := g.Op("Div", dy, g.castTo(counts, x))
	d := g.B.OpAttrs("Gather", []*graph.Attr{graph.IntAttr("axis", axis)}, share, group)
	g.Set(0, g.ReshapeTo(d, x))
	return nil
}

// gradRange: element i is start + i delta; the limit tells only how many there
// are.
func gradRange(g *Grad) error {
	dy := g.DOut[0]
	if g.Wanted(0) {
		g.Set(0, g.Private("ReduceTo", nil, dy, g.ShapeOf(g.In[0])))
	}
	if g.Wanted(2) {
		count := g.Op("Range", g.B.Const("i", tensor.Of(tensor.Shape{}, []int64{0})), g.Op("Size", dy), g.B.Const("i", tensor.Of(tensor.Shape{}, []int64{1})))
		g.Set(2, g.Private("ReduceTo", nil, g.Op("Mul", dy, g.castTo(count, g.In[0])), g.ShapeOf(g.In[2])))
	}
	return nil
}

// gradWrapped passes the gradient of an optional value on as that of what it
// holds.
func gradWrapped(g *Grad) error {
	g.Set(0, g.DOut[0])
	return nil
}

func gradGather(g *Grad) error {
	axis := graph.IntAttr("axis", g.Node.Int("axis", 0))
	g.Set(0, g.Private("GatherGrad", []*graph.Attr{axis}, g.DOut[0], g.In[1], g.ShapeOf(g.In[0])))
	return nil
}

// gradTopK gives the gradient of the values to the elements that they are.
func gradTopK(g *Grad) error {
	if g.DOut[0] == nil {
		return nil
	}
	indices, err := g.result(1)
	if err != nil {
		return err
	}
	axis := []*graph.Attr{graph.IntAttr("axis", g.Node.Int("axis", -1))}
	from := g.B.OpAttrs("GatherElements", axis, g.places(g.In[0]), indices)
	g.Set(0, g.scatter(g.DOut[0], from, g.In[0]))
	return nil
}

// sumBack sums dy from each place of the result over those that it is part of.
func (g *Grad) sumBack(dy *graph.Value) *graph.Value {
	attrs := []*graph.Attr{
		graph.IntAttr("exclusive", g.Node.Int("exclusive", 0)),
		graph.IntAttr("reverse", 1-g.Node.Int("reverse", 0)),
	}
	return g.B.OpAttrs("CumSum", attrs, dy, g.In[1])
}

func gradCumSum(g *Grad) error {
	g.Set(0, g.sumBack(g.DOut[0]))
	return nil
}

// gradCumProd: each result that x is a factor of changes by y/x.
func gradCumProd(g *Grad) error {
	g.Set(0, g.Op("Div", g.sumBack(g.Op("Mul", g.DOut[0], g.Out[0])), g.In[0]))
	return nil
}

func gradCastLike(g *Grad) error {
	g.Set(0, g.castTo(g.DOut[0], g.In[0]))
	return nil
}

// gradOneHot: the result is values[1] where the index is, values[0] elsewhere.
func gradOneHot(g *Grad) error {
	places := g.places(g.In[2])
	from := g.B.Add(graph.NewNode("", "OneHot", []*graph.Value{g.In[0], g.In[1], places}, 1, g.attrs()...)).Out(0)
	g.Set(2, g.scatter(g.DOut[0], from, g.In[2]))
	return nil
}
