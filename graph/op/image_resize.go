package op

import (
	"fmt"
	"math"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// resize is a call of Resize or Upsample: each axis by itself is resampled.
type resize struct {
	axes      []int
	scales    []float64 // of each axis of the input
	sizes     []int     // of each axis of the result
	mode      string    // nearest, linear, cubic
	coords    string
	nearest   string
	antialias bool
	exclude   bool // leave out what lies outside of the input
	cubicA    float64
	roi       []float64 // starts and ends of every axis, for tf_crop_and_resize
	outside   float64
}

// resizeArgs says where a version of Resize or Upsample has its arguments: a
// slot is negative if there is none.
type resizeArgs struct{ roi, scales, sizes int }

func resizeSlots(c *Call) resizeArgs {
	switch {
	case c.Node.Op == "Upsample" && c.Version < 9:
		return resizeArgs{-1, -1, -1}
	case c.Node.Op == "Upsample" || c.Version < 11:
		return resizeArgs{-1, 1, -1}
	}
	return resizeArgs{1, 2, 3}
}

// attrScales returns the scales that Upsample has as attributes before version
// 9: scales, or in version 1 one for height and one for width.
func attrScales(c *Call) []float32 {
	if s := c.Node.Floats("scales"); len(s) > 0 {
		return s
	}
	return []float32{1, 1, c.Node.Float("height_scale", 1), c.Node.Float("width_scale", 1)}
}

// newResize reads the attributes.
func newResize(c *Call, rank int) (*resize, error) {
	r := &resize{
		mode:      c.Node.Str("mode", "nearest"),
		coords:    c.Node.Str("coordinate_transformation_mode", "half_pixel"),
		nearest:   c.Node.Str("nearest_mode", "round_prefer_floor"),
		antialias: c.Node.Int("antialias", 0) != 0,
		exclude:   c.Node.Int("exclude_outside", 0) != 0,
		cubicA:    float64(c.Node.Float("cubic_coeff_a", -0.75)),
		outside:   float64(c.Node.Float("extrapolation_value", 0)),
	}
	if resizeSlots(c).sizes < 0 {
		r.coords, r.nearest = "asymmetric", "simple"
	}
	if r.mode == "bilinear" {
		r.mode = "linear"
	}
	if !slices.Contains([]string{"nearest", "linear", "cubic"}, r.mode) {
		return nil, fmt.Errorf("attribute mode is %q, want nearest, linear or cubic", r.mode)
	}
	var err error
	if list := c.Node.Ints("axes"); len(list) > 0 {
		r.axes, err = axes(toInts(list), rank)
		return r, err
	}
	r.axes = make([]int, rank)
	for i := range r.axes {
		r.axes[i] = i
	}
	return r, nil
}

// setScales takes a scale for each of the axes.
func (r *resize) setScales(in tensor.Shape, scales []float32) error {
	if len(scales) != len(r.axes) {
		return fmt.Errorf("%d scales, want %d", len(scales), len(r.axes))
	}
	r.scales, r.sizes = ones(len(in)), in.Clone()
	for i, a := range r.axes {
		s := scales[i]
		if !(s > 0) || float64(s)*float64(in[a]) > 1<<31 {
			return fmt.Errorf("scale %v of axis %d is out of range", s, a)
		}
		r.scales[a], r.sizes[a] = float64(s), int(math.Floor(float64(s*float32(in[a]))))
	}
	return nil
}

func ones(n int) []float64 {
	s := make([]float64, n)
	fillWith(s, 1)
	return s
}

// setSizes takes a size for each of the axes, which a policy may bend to keep
// the aspect ratio.
func (r *resize) setSizes(in tensor.Shape, sizes []int, policy string) error {
	if len(sizes) != len(r.axes) {
		return fmt.Errorf("%d sizes, want %d", len(sizes), len(r.axes))
	}
	r.scales, r.sizes = ones(len(in)), in.Clone()
	for i, a := range r.axes {
		if sizes[i] < 0 || in[a] == 0 && sizes[i] > 0 {
			return fmt.Errorf("size %d of axis %d, which has %d", sizes[i], a, in[a])
		}
		r.sizes[a], r.scales[a] = sizes[i], float64(sizes[i])/float64(max(1, in[a]))
	}
	if policy == "stretch" {
		return nil
	}
	scale := r.scales[r.axes[0]]
	for _, a := range r.axes {
		switch policy {
		case "not_larger":
			scale = min(scale, r.scales[a])
		case "not_smaller":
			scale = max(scale, r.scales[a])
		default:
			return fmt.Errorf("attribute keep_aspect_ratio_policy is %q, want stretch, not_larger or not_smaller", policy)
		}
	}
	for _, a := range r.axes {
		r.scales[a], r.sizes[a] = scale, int(math.Floor(scale*float64(in[a])+0.5))
	}
	return nil
}

// inferResize types the result where scales or sizes are known.
func inferResize(c *Infer) error {
	x, slots := c.Shape(0), resizeSlots(&c.Call)
	if x == nil {
		c.SetOut(0, c.Elem(0), nil)
		return nil
	}
	r, err := newResize(&c.Call, len(x))
	if err != nil {
		return err
	}
	out := unknownDims(len(x))
	for i, d := range x {
		if !slices.Contains(r.axes, i) {
			out[i] = d
		}
	}
	if err := r.inferDims(c, out, x, slots); err != nil {
		return c.Errorf(0, "%w", err)
	}
	c.SetOut(0, c.Elem(0), out)
	return nil
}

func (r *resize) inferDims(c *Infer, out, in graph.Dims, slots resizeArgs) error {
	policy := c.Node.Str("keep_aspect_ratio_policy", "stretch")
	if sizes := c.Dims(slots.sizes); slots.sizes >= 0 && len(sizes) == len(r.axes) {
		known, ok := sizes.Static()
		if s, whole := in.Static(); ok && whole {
			if err := r.setSizes(s, known, policy); err != nil {
				return err
			}
			copy(out, graph.DimsOf(r.sizes))
			return nil
		}
		for i, a := range r.axes {
			if policy == "stretch" {
				out[a] = sizes[i]
			}
		}
		return nil
	}
	var scales []float32
	if slots.scales < 0 {
		scales = attrScales(&c.Call)
	} else if t := c.Const(slots.scales); t != nil {
		scales = tensor.Float32s(t)
	}
	if len(scales) == 0 {
		return nil
	}
	if len(scales) != len(r.axes) {
		return fmt.Errorf("%d scales, want %d", len(scales), len(r.axes))
	}
	for i, a := range r.axes {
		out[a] = scaleDim(in[a], scales[i])
	}
	return nil
}

// scaleDim returns d*scale, rounded down, as far as that is known.
func scaleDim(d graph.Dim, scale float32) graph.Dim {
	switch {
	case d.IsKnown():
		return graph.Known(int(math.Floor(float64(scale * float32(d.Size)))))
	case scale == float32(int(scale)) && scale > 0:
		return mulDim(d, int(scale))
	case 1/scale == float32(int(1/scale)):
		return divDim(d, int(1/scale))
	}
	return graph.Unknown()
}

// readResize reads the arguments of a call.
func readResize(e *Eval) (*resize, error) {
	in, slots := e.Tensor(0).Shape(), resizeSlots(&e.Call)
	r, err := newResize(&e.Call, len(in))
	if err != nil {
		return nil, err
	}
	if slots.sizes >= 0 && e.Tensor(slots.sizes) != nil && e.Tensor(slots.sizes).Len() > 0 {
		sizes, err := e.ints(slots.sizes)
		if err != nil {
			return nil, err
		}
		err = r.setSizes(in, sizes, e.Node.Str("keep_aspect_ratio_policy", "stretch"))
		if err != nil {
			return nil, e.Errorf(slots.sizes, "%w", err)
		}
	} else {
		scales := attrScales(&e.Call)
		if slots.scales >= 0 {
			t := e.Tensor(slots.scales)
			if t == nil {
				return nil, e.Errorf(slots.scales, "neither scales nor sizes are given")
			}
			scales = tensor.Float32s(t)
		}
		if err := r.setScales(in, scales); err != nil {
			return nil, e.Errorf(max(0, slots.scales), "%w", err)
		}
	}
	return r, r.readRegion(e, slots.roi, len(in))
}

// readRegion reads the region of tf_crop_and_resize.
func (r *resize) readRegion(e *Eval, slot, rank int) error {
	if r.coords != "tf_crop_and_resize" {
		return nil
	}
	r.roi = append(make([]float64, rank), ones(rank)...)
	if slot < 0 || e.Tensor(slot) == nil {
		return e.Errorf(max(slot, 0), "tf_crop_and_resize needs a region")
	}
	given := tensor.Float64s(e.Tensor(slot))
	if len(given) != 2*len(r.axes) {
		return e.Errorf(slot, "want %d numbers, starts and ends", 2*len(r.axes))
	}
	for i, a := range r.axes {
		r.roi[a], r.roi[rank+a] = given[i], given[len(r.axes)+i]
	}
	return nil
}

// source maps position x of the result along an axis of n input positions to
// a place between these.
func (r *resize) source(axis, n int, x float64) (float64, error) {
	scale := r.scales[axis]
	length := scale * float64(n)
	last := float64(n - 1)
	switch r.coords {
	case "half_pixel":
		return (x+0.5)/scale - 0.5, nil
	case "asymmetric":
		return x / scale, nil
	case "align_corners":
		if length == 1 {
			return 0, nil
		}
		return x * last / (length - 1), nil
	case "pytorch_half_pixel":
		if length == 1 {
			return -0.5, nil
		}
		return (x+0.5)/scale - 0.5, nil
	case "tf_half_pixel_for_nn":
		return (x + 0.5) / scale, nil
	case "half_pixel_symmetric":
		adjustment := float64(r.sizes[axis]) / length
		return float64(n)/2*(1-adjustment) + (x+0.5)/scale - 0.5, nil
	case "tf_crop_and_resize":
		start, end := r.roi[axis], r.roi[len(r.roi)/2+axis]
		if length == 1 {
			return 0.5 * (start + end) * last, nil
		}
		return start*last + x*(end-start)*last/(length-1), nil
	}
	return 0, fmt.Errorf("attribute coordinate_transformation_mode is %q, which ONNX does not define", r.coords)
}

// taps says which input positions of an axis make one position of the result,
// with what weights. No weights: it lies outside of the input.
type taps struct {
	at      []int
	weights []float64
}

// axisTaps returns the taps of every position of the result along an axis.
func (r *resize) axisTaps(axis, n int) ([]taps, error) {
	list := make([]taps, r.sizes[axis])
	for o := range list {
		x, err := r.source(axis, n, float64(o))
		if err != nil {
			return nil, err
		}
		if r.roi != nil && (x < 0 || x > float64(n-1)) {
			continue
		}
		if r.mode == "nearest" {
			i, err := r.nearestTo(x, r.scales[axis] < 1)
			if err != nil {
				return nil, err
			}
			list[o] = taps{[]int{min(max(i, 0), n-1)}, []float64{1}}
			continue
		}
		list[o] = r.between(x, n, r.scales[axis])
	}
	return list, nil
}

func (r *resize) nearestTo(x float64, shrinks bool) (int, error) {
	switch r.nearest {
	case "round_prefer_floor":
		return int(math.Ceil(x - 0.5)), nil
	case "round_prefer_ceil":
		return int(math.Floor(x + 0.5)), nil
	case "floor":
		return int(math.Floor(x)), nil
	case "ceil":
		return int(math.Ceil(x)), nil
	case "simple":
		if shrinks {
			return int(math.Ceil(x)), nil
		}
		return int(x), nil
	}
	return 0, fmt.Errorf("attribute nearest_mode is %q, which ONNX does not define", r.nearest)
}

// between returns the taps of place x by a kernel that reaches one position to
// each side (linear) or two (cubic); antialiasing widens it as it shrinks the
// image. Positions outside of the input repeat its edge, or are left out.
func (r *resize) between(x float64, n int, scale float64) taps {
	reach, weight := 1, linearWeight
	if r.mode == "cubic" {
		reach, weight = 2, func(d float64) float64 { return cubicWeight(d, r.cubicA) }
	}
	squeeze := 1.0
	if r.antialias {
		squeeze = min(scale, 1)
	}
	low := math.Floor(x)
	if low == x {
		low--
	}
	first := int(math.Floor(-float64(reach)/squeeze)) + 1
	var t taps
	sum := 0.0
	for i := first; i < 2-first; i++ {
		at := int(low) + i
		w := weight((float64(at) - x) * squeeze)
		if r.exclude && (at < 0 || at >= n) {
			w = 0
		}
		t.at = append(t.at, min(max(at, 0), n-1))
		t.weights = append(t.weights, w)
		sum += w
	}
	for i := range t.weights {
		if sum != 0 && (r.antialias || r.exclude) {
			t.weights[i] /= sum
		}
	}
	return t
}

func linearWeight(d float64) float64 { return max(0, 1-math.Abs(d)) }

// cubicWeight is the convolution kernel of Keys (1981) with parameter a.
func cubicWeight(d, a float64) float64 {
	d = math.Abs(d)
	switch {
	case d <= 1:
		return ((a+2)*d-(a+3))*d*d + 1
	case d < 2:
		return ((a*d-5*a)*d+8*a)*d - 4*a
	}
	return 0
}

// evalResize computes Resize and Upsample.
func evalResize(e *Eval) error {
	r, err := readResize(e)
	if err != nil {
		return err
	}
	x := e.Tensor(0)
	if r.mode == "nearest" {
		return r.pick(e, x)
	}
	switch d := x.DType(); {
	case d == tensor.Float64:
		return resample[float64](e, r, x)
	case d.IsFloat():
		return resample[float32](e, r, x)
	case d.IsInteger():
		return resample[float64](e, r, x)
	}
	return e.Errorf(0, "elements of type %v cannot be interpolated", x.DType())
}

// pick copies the nearest elements, whatever their type.
func (r *resize) pick(e *Eval, x *tensor.Tensor) error {
	shape := x.Shape().Clone()
	for _, a := range r.axes {
		list, err := r.axisTaps(a, shape[a])
		if err != nil {
			return err
		}
		from := shape[a]
		shape[a] = len(list)
		idx := make([]int, len(list))
		for o, t := range list {
			if idx[o] = -1; len(t.at) > 0 {
				idx[o] = t.at[0]
			}
		}
		y := e.New(x.DType(), shape)
		if slices.Contains(idx, -1) {
			value, err := tensor.Convert(tensor.Scalar(r.outside), x.DType(), true, tensor.RoundUp)
			if err != nil {
				return err
			}
			fill(y, value)
		}
		if y.Len() > 0 {
			e.pick(y, x, volume(shape[:a]), from, volume(shape[a+1:]), idx)
		}
		x = y
	}
	e.SetOut(0, x)
	return nil
}

// resample interpolates one axis after the other.
func resample[T real](e *Eval, r *resize, x *tensor.Tensor) error {
	data, shape := reals[T](x), x.Shape().Clone()
	for _, a := range r.axes {
		if r.scales[a] == 1 && r.sizes[a] == shape[a] && (r.roi == nil || r.roi[a] == 0 && r.roi[len(shape)+a] == 1) {
			continue
		}
		list, err := r.axisTaps(a, shape[a])
		if err != nil {
			return err
		}
		outer, n, inner := volume(shape[:a]), shape[a], volume(shape[a+1:])
		data = resampleAxis(e, data, list, outer, n, inner, T(r.outside))
		shape[a] = len(list)
	}
	if x.DType().IsInteger() {
		e.SetOut(0, roundTo(x.DType(), shape, data))
		return nil
	}
	y := newResult[T](e, x.DType(), shape)
	copy(y.Data, data)
	return setReal(e, 0, y)
}

// resampleAxis combines positions of the middle axis of [outer, n, inner].
func resampleAxis[T real](e *Eval, x []T, list []taps, outer, n, inner int, outside T) []T {
	y := make([]T, outer*len(list)*inner)
	e.Parallel(outer*len(list), max(1, grain/max(1, 4*inner)), func(lo, hi int) {
		for u := lo; u < hi; u++ {
			o, t := u/len(list), list[u%len(list)]
			dst := y[u*inner:][:inner]
			if len(t.at) == 0 {
				fillWith(dst, outside)
			}
			for k, at := range t.at {
				w := T(t.weights[k])
				for i, v := range x[(o*n+at)*inner:][:inner] {
					dst[i] += w * v
				}
			}
		}
	})
	return y
}

// roundTo returns the nearest integers of type d, saturated.
func roundTo[T real](d tensor.DType, s tensor.Shape, x []T) *tensor.Tensor {
	lo, hi := integerRange(d)
	q := make([]float64, len(x))
	for i, v := range x {
		q[i] = min(max(math.RoundToEven(float64(v)), lo), hi)
	}
	return tensor.FromFloat64s(d, s, q)
}
