package engine

import (
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// dequantize writes what 8-bit numbers stand for.
func (q *quantized) dequantize(k *kernel.Table, dst []float32, src []uint8) {
	if q.typ == tensor.Int8 {
		k.DequantizeS8(dst, signed(src), q.scale, int8(q.zero))
		return
	}
	k.DequantizeU8(dst, src, q.scale, uint8(q.zero))
}

// quantize writes the 8-bit numbers nearest to what src holds.
func (q *quantized) quantize(k *kernel.Table, dst []uint8, src []float32) {
	if q.typ == tensor.Int8 {
		k.QuantizeS8(signed(dst), src, q.scale, int8(q.zero))
		return
	}
	k.QuantizeU8(dst, src, q.scale, uint8(q.zero))
}

// signed views bytes as int8.
func signed(b []uint8) []int8 {
	t := tensor.Of(tensor.Shape{len(b)}, b)
	return tensor.Data[int8](t.Bitcast(tensor.Int8))
}

// dequantizeImage makes a float32 image of an 8-bit one.
type dequantizeImage struct {
	q       quantized
	in, out halo
}

func (d *dequantizeImage) name() string { return "Dequantize" }

func (d *dequantizeImage) eval(e *op.Eval) error {
	x, err := imageOf[uint8](e.Tensor(0), d.in)
	if err != nil {
		return err
	}
	y, t := newImage[float32](e, tensor.Float32, x.n, x.h, x.w, x.c, d.out, 0)
	rows(e, &x, func(n, lo, hi int) {
		for i := lo; i < hi; i++ {
			d.q.dequantize(e.Kernels, y.row(n, i), x.row(n, i))
		}
	})
	e.SetOut(0, t)
	return nil
}

// quantizeImage makes an 8-bit image, with its zero point as halo, of a
// float32 one.
type quantizeImage struct {
	q       quantized
	in, out halo
}

func (d *quantizeImage) name() string { return "Quantize" }

func (d *quantizeImage) eval(e *op.Eval) error {
	x, err := imageOf[float32](e.Tensor(0), d.in)
	if err != nil {
		return err
	}
	y, t := newImage(e, d.q.typ, x.n, x.h, x.w, x.c, d.out, uint8(d.q.zero))
	rows(e, &x, func(n, lo, hi int) {
		for i := lo; i < hi; i++ {
			d.q.quantize(e.Kernels, y.row(n, i), x.row(n, i))
		}
	})
	e.SetOut(0, t)
	return nil
}
