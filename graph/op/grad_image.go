package op

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// gradImageRules are the gradients of resampling.
var gradImageRules = map[opName]func(*Grad) error{
	std("Resize"): func(g *Grad) error {
		for _, i := range []int{1, 2} {
			if err := g.Refuse(i, "regions and scales say where the image is read"); err != nil {
				return err
			}
		}
		in := []*graph.Value{g.In[0], nil, nil, nil, g.DOut[0]}
		for i := 1; i < len(g.In); i++ {
			in[i] = g.In[i]
		}
		g.Set(0, g.Private("ResizeGrad", g.attrs(), in...))
		return nil
	},
	std("AffineGrid"): gradAffineGrid,
	std("GridSample"): gradGridSample,
	std("RoiAlign"):   gradRoiAlign,
	std("MaxRoiPool"): gradMaxRoiPool,
	std("Col2Im"): func(g *Grad) error {
		g.Set(0, g.Private("Col2ImGrad", g.attrs(), g.DOut[0], g.In[1], g.In[2]))
		return nil
	},
	std("RotaryEmbedding"): gradRotary,
}

func gradGridSample(g *Grad) error {
	n := g.B.Add(graph.NewNode(PrivateDomain, "GridSampleGrad", []*graph.Value{g.DOut[0], g.In[0], g.In[1]}, 2, g.attrs()...))
	g.Set(0, n.Out(0))
	g.Set(1, n.Out(1))
	return nil
}

func gradRoiAlign(g *Grad) error {
	if err := g.Refuse(1, "regions say where the image is read"); err != nil {
		return err
	}
	attrs := g.attrs()
	if g.Node.Attr("coordinate_transformation_mode") == nil {
		mode := "output_half_pixel"
		if g.Version >= 16 {
			mode = "half_pixel"
		}
		attrs = append(attrs, graph.StringAttr("coordinate_transformation_mode", mode))
	}
	g.Set(0, g.Private("RoiAlignGrad", attrs, g.DOut[0], g.In[1], g.In[2], g.In[0]))
	return nil
}

func gradMaxRoiPool(g *Grad) error {
	if err := g.Refuse(1, "regions say where the image is read"); err != nil {
		return err
	}
	g.Set(0, g.Private("MaxRoiPoolGrad", g.attrs(), g.DOut[0], g.In[1], g.In[0]))
	return nil
}

// gradDeformConv: the bias takes what that of a convolution does.
func gradDeformConv(g *Grad) error {
	in := []*graph.Value{g.DOut[0], g.In[0], g.In[1], g.In[2]}
	if g.Has(4) {
		in = append(in, g.In[4])
	}
	n := g.B.Add(graph.NewNode(PrivateDomain, "DeformConvGrad", in, len(in)-1, g.attrs()...))
	for i, slot := range []int{0, 1, 2, 4}[:len(in)-1] {
		g.Set(slot, n.Out(i))
	}
	if !g.Wanted(3) {
		return nil
	}
	db, err := g.sumChannels(g.DOut[0])
	g.Set(3, db)
	return err
}

// gradAffineGrid: a grid is theta times the coordinates of its points and a
// one, and these coordinates are the grid of the identity.
func gradAffineGrid(g *Grad) error {
	s := g.Shape(g.In[0])
	if len(s) != 3 || !s[1].IsKnown() {
		return fmt.Errorf("input 0 %v: the gradient needs its shape, which is not known", g.In[0].Type)
	}
	d := s[1].Size
	unit := make([]float64, d*(d+1))
	for i := range d {
		unit[i*(d+1)+i] = 1
	}
	theta := g.B.Const("c", tensor.FromFloat64s(g.Elem(0), tensor.Shape{1, d, d + 1}, unit))
	extents := g.Op("Slice", g.In[1], g.Int64s(1), g.Int64s(int64(d+2)))
	size := g.B.OpAttrs("Concat", []*graph.Attr{graph.IntAttr("axis", 0)}, g.Int64s(1), extents)
	points := g.B.OpAttrs("AffineGrid", g.attrs(), theta, size)
	points = g.Op("Reshape", points, g.Int64s(-1, int64(d)))
	count := g.Op("Slice", g.Op("Shape", points), g.Int64s(0), g.Int64s(1))
	column := g.B.OpAttrs("Concat", []*graph.Attr{graph.IntAttr("axis", 0)}, count, g.Int64s(1))
	points = g.B.OpAttrs("Concat", []*graph.Attr{graph.IntAttr("axis", 1)}, points, g.Op("Expand", g.Number(1), column))
	dy := g.Op("Reshape", g.DOut[0], g.Int64s(0, -1, int64(d)))
	g.Set(0, g.Op("MatMul", g.SwapLast(dy, 3), points))
	return nil
}

// gradRotary turns the gradient back by the angles that the input was turned
// by. The angles themselves are not learned.
func gradRotary(g *Grad) error {
	for _, i := range []int{1, 2} {
		if err := g.Refuse(i, "the angles of positions are not learned"); err != nil {
			return err
		}
	}
	in := []*graph.Value{g.DOut[0], g.In[1], g.Op("Neg", g.In[2])}
	g.Set(0, g.B.OpAttrs("RotaryEmbedding", g.attrs(), append(in, g.In[3:]...)...))
	return nil
}
