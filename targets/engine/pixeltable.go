package engine

import (
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// pixelTable lists the pixels of float32 images one after the other, as a tensor
// [N, pixels of all, C]. That is what detectors make of their results:
//
//	r = Reshape(a, [n,c,-1])  s = Reshape(b, [n,c,-1])
//	j = Concat<axis = 2>(r, s)  y = Transpose<perm = [0,2,1]>(j)
type pixelTable struct{ halos []halo }

func (p *pixelTable) name() string             { return "PixelTable" }
func (p *pixelTable) border(int) halo          { return halo{} }
func (p *pixelTable) place(ins []halo, _ halo) { p.halos = ins }

func (p *pixelTable) eval(e *op.Eval) error {
	parts := make([]image[float32], len(e.In))
	total := 0
	for i := range parts {
		im, err := imageOf[float32](e.Tensor(i), p.halos[i])
		if err != nil {
			return err
		}
		if first := &parts[0]; i > 0 && (im.n != first.n || im.c != first.c) {
			return e.Errorf(i, "%v cannot be listed behind %v", &im, first)
		}
		parts[i] = im
		total += im.h * im.w
	}
	c := parts[0].c
	y := e.New(tensor.Float32, tensor.Shape{parts[0].n, total, c})
	dst, at := tensor.Data[float32](y), 0
	for i := range parts {
		im := &parts[i]
		rows(e, im, func(n, lo, hi int) {
			for k := lo; k < hi; k++ {
				copy(dst[(n*total+at+k*im.w)*c:], im.row(n, k))
			}
		})
		at += im.h * im.w
	}
	e.SetOut(0, y)
	return nil
}

// listPixels puts a pixelTable in the place of n, a Transpose, and reports
// whether it could.
func (l *layout) listPixels(n *graph.Node) bool {
	if !n.Is("Transpose") || !slices.Equal(n.Ints("perm"), []int64{0, 2, 1}) {
		return false
	}
	last := n.In(0).Producer()
	if last == nil {
		return false
	}
	stands, tables := []*graph.Node{n}, []*graph.Value{n.In(0)}
	if last.Is("Concat") && modulo(int(last.Int("axis", 1)), 3) == 2 {
		stands, tables = []*graph.Node{last, n}, last.Ins()
	}
	var images []*graph.Value
	for _, v := range tables {
		r := v.Producer()
		if r == nil || !l.mergesPixels(r) {
			return false
		}
		images = append(images, l.images[r.In(0)])
		stands = append([]*graph.Node{r}, stands...)
	}
	for _, s := range stands[:len(stands)-1] {
		if reader, _ := next(s); reader == nil {
			stands = []*graph.Node{n} // others read what is between
			break
		}
	}
	return l.replace(l.insert(n, &pixelTable{}, n, images...), stands...)
}

// mergesPixels reports whether n reshapes the plain form of a float32 image to
// three axes: images, channels, pixels.
func (l *layout) mergesPixels(n *graph.Node) bool {
	v := n.In(0)
	if !n.Is("Reshape") || l.images[v] == nil || l.bytes[v] || v.Type == nil || n.Out(0).Type == nil {
		return false
	}
	in, out := v.Type.Shape, n.Out(0).Type.Shape
	if len(in) < 3 || len(out) != 3 {
		return false
	}
	for i := range 2 {
		if in[i].Sym != out[i].Sym || in[i].Size != out[i].Size || in[i].Sym == "" && in[i].Size < 0 {
			return false
		}
	}
	return true
}
