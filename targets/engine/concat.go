package engine

import (
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// concatImage joins images along their channels.
type concatImage struct {
	bytes bool  // of uint8 or int8, not float32
	zero  uint8 // in the halo of an 8-bit result
	ins   []halo
	out   halo
}

func (c *concatImage) name() string { return "Concat" }

func (c *concatImage) eval(e *op.Eval) error {
	if c.bytes {
		return join(e, c, c.zero)
	}
	return join[float32](e, c, 0)
}

func join[T tensor.Elem](e *op.Eval, c *concatImage, border T) error {
	parts := make([]image[T], len(e.In))
	channels := 0
	for i := range parts {
		p, err := imageOf[T](e.Tensor(i), c.ins[i])
		if err != nil {
			return err
		}
		if f := &parts[0]; i > 0 && (p.n != f.n || p.h != f.h || p.w != f.w) {
			return e.Errorf(i, "%v cannot be joined to %v", &p, f)
		}
		parts[i] = p
		channels += p.c
	}
	first := &parts[0]
	y, t := newImage(e, e.Tensor(0).DType(), first.n, first.h, first.w, channels, c.out, border)
	rows(e, &y, func(n, lo, hi int) {
		for i := lo; i < hi; i++ {
			joinRow(y.row(n, i), channels, parts, n, i)
		}
	})
	e.SetOut(0, t)
	return nil
}

func joinRow[T tensor.Elem](dst []T, channels int, parts []image[T], n, y int) {
	at := 0
	for k := range parts {
		p := &parts[k]
		src := p.row(n, y)
		for x := range p.w {
			copy(dst[x*channels+at:], src[x*p.c:(x+1)*p.c])
		}
		at += p.c
	}
}
