package engine

import (
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// combineFocus makes a convolution of x itself of one that reads every other
// pixel of x as channels of their own:
//
//	a = x[:, :, 0::2, 0::2]  b = x[:, :, 1::2, 0::2]  …  c = Concat(a, b, …)  y = Conv(c, w)
//
// Window and stride of the new one are twice as large. Each element of w stands
// where the pixels lie that its channel was made of:
//
//	w'[o, c, 2*y+dy, 2*x+dx] = w[o, part*C+c, y, x]
func (o *optimizer) combineFocus() {
	for n := range o.graph.Nodes() {
		if !n.Is("Conv") || n.In(0) == nil {
			continue
		}
		join := n.In(0).Producer()
		if join == nil || !join.Is("Concat") || join.Int("axis", 0) != 1 {
			continue
		}
		if reader, _ := next(join); reader != n {
			continue
		}
		if x, parts := o.everyOther(join); x != nil {
			o.focus(n, x, parts)
		}
	}
	o.dropDead()
}

// everyOther returns the image of known, even size of which all operands of a
// node are every other pixel along both axes, and the first row and column of
// each, or nil.
func (o *optimizer) everyOther(join *graph.Node) (*graph.Value, [][2]int) {
	var image *graph.Value
	var parts [][2]int
	for _, v := range join.Ins() {
		first, found := [2]int{}, [2]bool{}
		for {
			n := v.Producer()
			if n == nil || !n.Is("Slice") {
				break
			}
			axis, start, ok := o.slicesEveryOther(n)
			if !ok || found[axis] {
				break
			}
			first[axis], found[axis] = start, true
			v = n.In(0)
		}
		if !found[0] || !found[1] || image != nil && v != image || !o.isFloat32(v) || len(v.Type.Shape) != 4 {
			return nil, nil
		}
		image = v
		parts = append(parts, first)
	}
	for _, d := range image.Type.Shape[1:] {
		if !d.IsKnown() {
			return nil, nil
		}
	}
	if image.Type.Shape[2].Size%2 != 0 || image.Type.Shape[3].Size%2 != 0 {
		return nil, nil
	}
	return image, parts
}

// slicesEveryOther reports whether n takes every other row (axis 0) or column
// (axis 1) of an image to its end, from the first or the second on.
func (o *optimizer) slicesEveryOther(n *graph.Node) (axis, start int, ok bool) {
	var args [4]int64 // starts, ends, axes, steps
	for i := range args {
		t := o.constant(n.In(1 + i))
		if t == nil || t.Len() != 1 || t.DType() != tensor.Int64 {
			return 0, 0, false
		}
		args[i] = tensor.Data[int64](t)[0]
	}
	axis, start = int(args[2])-2, int(args[0])
	if axis != 0 && axis != 1 || start != 0 && start != 1 || args[3] != 2 || n.In(0).Type == nil || len(n.In(0).Type.Shape) != 4 {
		return 0, 0, false
	}
	size := n.In(0).Type.Shape[2+axis]
	return axis, start, size.IsKnown() && args[1] >= int64(size.Size)
}

// focus replaces a convolution of parts of x by one of x.
func (o *optimizer) focus(n *graph.Node, x *graph.Value, parts [][2]int) {
	w := o.constant(n.In(1))
	if w == nil || w.DType() != tensor.Float32 || w.Rank() != 4 || n.Int("group", 1) != 1 {
		return
	}
	window, err := windowOf(n, w.Shape()[2:]...)
	one := [2]int{1, 1}
	if err != nil || window.same != padExplicit || window.stride != one || window.dilation != one ||
		w.Shape()[1] != len(parts)*x.Type.Shape[1].Size {
		return
	}
	weights := focusWeights(w, parts)
	ins := append([]*graph.Value{x, o.graph.AddInit(n.In(1).Name()+"_focus", weights)}, n.Ins()[2:]...)
	conv := graph.NewNode("", "Conv", ins, 1,
		graph.IntsAttr("strides", 2, 2),
		graph.IntsAttr("pads", int64(2*window.before[0]), int64(2*window.before[1]), int64(2*window.after[0]), int64(2*window.after[1])))
	conv.Name = n.Name
	old := o.src.info[n]
	o.src.info[conv] = nodeInfo{origin: old.origin, def: old.def, version: old.version}
	o.graph.InsertBefore(n, conv)
	o.replace(conv, n)
}

// focusWeights spreads filters over the pixels that their channels stand for.
func focusWeights(w *tensor.Tensor, parts [][2]int) *tensor.Tensor {
	s := w.Shape()
	channels := s[1] / len(parts)
	wide := tensor.New(tensor.Float32, tensor.Shape{s[0], channels, 2 * s[2], 2 * s[3]})
	src, dst := tensor.Data[float32](w), tensor.Data[float32](wide)
	at := 0
	for f := range s[0] {
		for _, part := range parts {
			for c := range channels {
				plane := dst[(f*channels+c)*4*s[2]*s[3]:]
				for y := range s[2] {
					for x := range s[3] {
						plane[(2*y+part[0])*2*s[3]+2*x+part[1]] += src[at]
						at++
					}
				}
			}
		}
	}
	return wide
}
