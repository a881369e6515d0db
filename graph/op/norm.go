package op

import (
	"fmt"
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// normDefs holds normalizations and dropout.
var normDefs = []*Def{
	{
		Name: "BatchNormalization", Since: 1,
		Axes:  batchNormAxes,
		Infer: inferBatchNorm,
		Eval:  evalReal(0, evalBatchNorm[float32], evalBatchNorm[float64]),
		Cost:  perElement(2),
	},
	{
		Name: "InstanceNormalization", Since: 1,
		Axes:  instanceNormAxes,
		Infer: inferSame,
		Eval:  evalReal(0, evalInstanceNorm[float32], evalInstanceNorm[float64]),
		Cost:  perElement(6),
	},
	{
		Name: "GroupNormalization", Since: 18,
		Axes:  groupNormAxes,
		Infer: inferSame,
		Eval:  evalReal(0, evalGroupNorm[float32], evalGroupNorm[float64]),
		Cost:  perElement(6),
	},
	{
		Name: "LayerNormalization", Since: 1, // before version 17 as ONNX Runtime has it
		Axes:  rowNormAxes(oneAxis("axis", -1), []int{1, 2}),
		Infer: inferLayerNorm,
		Eval:  evalReal(0, evalLayerNorm[float32], evalLayerNorm[float64]),
		Cost:  perElement(8),
	},
	{
		Name: "RMSNormalization", Since: 23,
		Axes:  rowNormAxes(oneAxis("axis", -1), []int{1, 2}),
		Infer: func(c *Infer) error { return inferTyped(c, c.Elem(1)) },
		Eval:  evalReal(0, evalRMSNorm[float32], evalRMSNorm[float64]),
		Cost:  perElement(5),
	},
	{
		Name: "LpNormalization", Since: 1,
		Axes:  sameAxes, // zeros add nothing to the norm
		Infer: inferSame,
		Eval:  evalReal(0, evalLpNorm[float32], evalLpNorm[float64]),
		Cost:  perElement(3),
	},
	{
		Name: "MeanVarianceNormalization", Since: 1,
		Axes:  axesAlong(meanVarianceOver, normalized),
		Infer: inferSame,
		Eval:  evalReal(0, evalMeanVariance[float32], evalMeanVariance[float64]),
		Cost:  perElement(6),
	},
	{
		Name: "LRN", Since: 1,
		Axes:  axesAlong(channelAxis, normalized),
		Infer: inferSame,
		Eval:  evalReal(0, evalLRN[float32], evalLRN[float64]),
		Cost:  perElement(8),
	},
	{
		Name: "Dropout", Since: 1, Until: 11,
		Axes:  axesAlong(noAxis, ""),
		Infer: inferDropout,
		Eval:  evalDropoutFixed,
		Quant: &Quant{Class: QuantPass, Weight: -1, Bias: -1},
		Cost:  perElement(0),
	},
	{
		Name: "Dropout", Since: 12,
		Axes:  axesAlong(noAxis, ""),
		Infer: inferDropout,
		Eval:  evalDropout,
		Quant: &Quant{Class: QuantPass, Weight: -1, Bias: -1},
		Cost:  perElement(0),
	},
}

// inferTyped gives the first result the shape of the first input and the
// given elements.
func inferTyped(c *Infer, elem tensor.DType) error {
	c.SetOut(0, elem, c.Shape(0))
	return nil
}

func inferBatchNorm(c *Infer) error {
	x := c.Shape(0)
	if err := inferSame(c); err != nil {
		return err
	}
	var channels graph.Dims
	if len(x) > 1 {
		channels = graph.Dims{x[1]}
	}
	for i := 1; i < len(c.Out); i++ {
		c.SetOut(i, statElem(c, i), channels)
	}
	return nil
}

// statElem returns the element type of a statistic that BatchNormalization
// gives: that of its mean and variance.
func statElem(c *Infer, out int) tensor.DType {
	if d := c.Elem(3); d != tensor.Undefined && out < 3 {
		return d
	}
	return c.Elem(0)
}

// planes is a tensor [Batch, Channels, Pixels].
type planes struct{ Batch, Channels, Pixels int }

// newImage sees input 0 as an image; one with a single axis is a batch of
// pixels of one channel.
func newImage(e *Eval) (planes, error) {
	s := e.Tensor(0).Shape()
	switch len(s) {
	case 0:
		return planes{}, e.Errorf(0, "want a batch axis")
	case 1:
		return planes{s[0], 1, 1}, nil
	}
	return planes{s[0], s[1], volume(s[2:])}, nil
}

// each runs f for every channel of every image, in parallel.
func (m planes) each(e *Eval, f func(channel, from, to int)) {
	e.Parallel(m.Batch*m.Channels, max(1, 1<<14/max(1, m.Pixels)), func(lo, hi int) {
		for u := lo; u < hi; u++ {
			f(u%m.Channels, u*m.Pixels, (u+1)*m.Pixels)
		}
	})
}

// perChannel checks that inputs [first, last] have an element per channel.
func (m planes) perChannel(e *Eval, first, last int) error {
	for i := first; i <= last; i++ {
		if t := e.Tensor(i); t == nil || t.Len() != m.Channels {
			return e.Errorf(i, "want an element for each of %d channels", m.Channels)
		}
	}
	return nil
}

// evalBatchNorm computes BatchNormalization. In training form (is_test 0
// before version 7, extra results before version 14, training_mode after) the
// statistics are those of the batch, and the running ones are updated.
func evalBatchNorm[T real](e *Eval) error {
	m, err := newImage(e)
	if err != nil {
		return err
	}
	if e.Version < 9 && e.Node.Int("spatial", 1) == 0 {
		return batchNormElementwise[T](e, m)
	}
	if err := m.perChannel(e, 1, 4); err != nil {
		return err
	}
	x, scale, bias := realsOf[T](e, 0), realsOf[T](e, 1), realsOf[T](e, 2)
	mean, variance := realsOf[T](e, 3), realsOf[T](e, 4)
	if batchNormTrains(&e.Call) {
		batchMean, batchVar := channelMoments(e, m, x)
		if err := setRunning(e, m, mean, variance, batchMean, batchVar); err != nil {
			return err
		}
		mean, variance = batchMean, batchVar
	}
	eps, k := float64(e.Node.Float("epsilon", 1e-5)), e.kernels()
	y := newResult[T](e, e.Tensor(0).DType(), e.Tensor(0).Shape())
	m.each(e, func(c, from, to int) {
		a := T(float64(scale[c]) / math.Sqrt(float64(variance[c])+eps))
		dst := y.Data[from:to]
		addScalar(k, dst, x[from:to], -mean[c])
		mulScalar(k, dst, dst, a)
		addScalar(k, dst, dst, bias[c])
	})
	return setReal(e, 0, y)
}

func batchNormTrains(c *Call) bool {
	switch {
	case c.Version < 7:
		return c.Node.Int("is_test", 0) == 0 && c.Wants(1)
	case c.Version < 14:
		return c.Wants(1)
	}
	return c.Node.Int("training_mode", 0) != 0
}

// batchNormElementwise is the form spatial=0 of old versions: each element of
// an image has its own statistics.
func batchNormElementwise[T real](e *Eval, m planes) error {
	per := m.Channels * m.Pixels
	for i := 1; i <= 4; i++ {
		if t := e.Tensor(i); t == nil || t.Len() != per {
			return e.Errorf(i, "want an element for each of the %d of an image", per)
		}
	}
	x, scale, bias := realsOf[T](e, 0), realsOf[T](e, 1), realsOf[T](e, 2)
	mean, variance := realsOf[T](e, 3), realsOf[T](e, 4)
	eps := float64(e.Node.Float("epsilon", 1e-5))
	y := newResult[T](e, e.Tensor(0).DType(), e.Tensor(0).Shape())
	for i, v := range x {
		k := i % per
		y.Data[i] = T(float64(v-mean[k])/math.Sqrt(float64(variance[k])+eps))*scale[k] + bias[k]
	}
	return setReal(e, 0, y)
}

// channelMoments returns the mean and the variance of each channel over the
// batch.
func channelMoments[T real](e *Eval, m planes, x []T) (mean, variance []T) {
	mean, variance = make([]T, m.Channels), make([]T, m.Channels)
	k := e.kernels()
	e.Parallel(m.Channels, 1, func(lo, hi int) {
		scratch := make([]T, m.Pixels)
		for c := lo; c < hi; c++ {
			mean[c], variance[c] = momentsOf(k, m, x, c, scratch)
		}
	})
	return mean, variance
}

// planeOf returns channel c of image n of x.
func planeOf[T any](m planes, x []T, n, c int) []T {
	return x[(n*m.Channels+c)*m.Pixels:][:m.Pixels]
}

// momentsOf returns the mean and the variance of channel c of x over the
// batch, in two passes; scratch holds one plane.
func momentsOf[T real](k *kernel.Table, m planes, x []T, c int, scratch []T) (mean, variance T) {
	count := float64(max(1, m.Batch*m.Pixels))
	sum := 0.0
	for n := range m.Batch {
		sum += float64(rowSum(k, planeOf(m, x, n, c)))
	}
	mean = T(sum / count)
	squares := 0.0
	for n := range m.Batch {
		addScalar(k, scratch, planeOf(m, x, n, c), -mean)
		squares += float64(rowDot(k, scratch, scratch))
	}
	return mean, T(squares / count)
}

// moments accumulates mean and variance in one pass (Welford 1962).
type moments struct {
	n        int
	mean, m2 float64
}

func (s *moments) add(v float64) {
	s.n++
	d := v - s.mean
	s.mean += d / float64(s.n)
	s.m2 += d * (v - s.mean)
}

func (s *moments) variance() float64 {
	if s.n == 0 {
		return 0
	}
	return s.m2 / float64(s.n)
}

// setRunning hands over running*momentum + batch*(1-momentum), and the
// statistics of the batch where old versions ask for them.
func setRunning[T real](e *Eval, m planes, mean, variance, batchMean, batchVar []T) error {
	momentum := T(e.Node.Float("momentum", 0.9))
	results := [][]T{mix(mean, batchMean, momentum), mix(variance, batchVar, momentum), batchMean, batchVar}
	for i, data := range results {
		if !e.Wants(i + 1) {
			continue
		}
		r := newResult[T](e, e.Tensor(3).DType(), tensor.Shape{m.Channels})
		copy(r.Data, data)
		if err := setReal(e, i+1, r); err != nil {
			return err
		}
	}
	return nil
}

func mix[T real](a, b []T, weight T) []T {
	out := make([]T, len(a))
	for i := range out {
		out[i] = a[i]*weight + b[i]*(1-weight)
	}
	return out
}

// standardize sets dst to (src - mean) / sqrt(variance + eps).
func standardize[T real](dst, src []T, eps float64) (mean, inv float64) {
	sum := 0.0
	for _, v := range src {
		sum += float64(v)
	}
	mean = sum / float64(max(1, len(src)))
	squares := 0.0
	for _, v := range src {
		d := float64(v) - mean
		squares += d * d
	}
	inv = 1 / math.Sqrt(squares/float64(max(1, len(src)))+eps)
	for i, v := range src {
		dst[i] = T((float64(v) - mean) * inv)
	}
	return mean, inv
}

// scaleShift sets each element to x*scale + bias.
func scaleShift[T real](k *kernel.Table, s []T, scale, bias T) {
	mulScalar(k, s, s, scale)
	addScalar(k, s, s, bias)
}

func evalInstanceNorm[T real](e *Eval) error {
	m, err := newImage(e)
	if err != nil {
		return err
	}
	if err := m.perChannel(e, 1, 2); err != nil {
		return err
	}
	x, scale, bias := realsOf[T](e, 0), realsOf[T](e, 1), realsOf[T](e, 2)
	eps := float64(e.Node.Float("epsilon", 1e-5))
	y := newResult[T](e, e.Tensor(0).DType(), e.Tensor(0).Shape())
	m.each(e, func(c, from, to int) {
		standardizeRow(e.kernels(), y.Data[from:to], x[from:to], eps)
		scaleShift(e.kernels(), y.Data[from:to], scale[c], bias[c])
	})
	return setReal(e, 0, y)
}

// evalGroupNorm computes GroupNormalization. Scale and bias are given for each
// group in version 18, for each channel from version 21 on.
func evalGroupNorm[T real](e *Eval) error {
	m, err := newImage(e)
	if err != nil {
		return err
	}
	groups := int(e.Node.Int("num_groups", 0))
	if groups < 1 || m.Channels%groups != 0 {
		return fmt.Errorf("attribute num_groups is %d, want a divisor of the %d channels", groups, m.Channels)
	}
	perScale := planes{m.Batch, m.Channels, m.Pixels}
	if e.Version < 21 {
		perScale.Channels = groups
	}
	if err := perScale.perChannel(e, 1, 2); err != nil {
		return err
	}
	x, scale, bias := realsOf[T](e, 0), realsOf[T](e, 1), realsOf[T](e, 2)
	eps := float64(e.Node.Float("epsilon", 1e-5))
	y := newResult[T](e, e.Tensor(0).DType(), e.Tensor(0).Shape())
	perGroup := m.Channels / groups
	whole := planes{m.Batch, groups, perGroup * m.Pixels}
	whole.each(e, func(g, from, to int) {
		standardizeRow(e.kernels(), y.Data[from:to], x[from:to], eps)
		for c := range perGroup {
			k := g*perGroup + c
			if e.Version < 21 {
				k = g
			}
			scaleShift(e.kernels(), y.Data[from+c*m.Pixels:][:m.Pixels], scale[k], bias[k])
		}
	})
	return setReal(e, 0, y)
}

func inferLayerNorm(c *Infer) error {
	x := c.Shape(0)
	if err := inferTyped(c, c.Elem(1)); err != nil {
		return err
	}
	stash := tensor.DType(c.Node.Int("stash_type", int64(tensor.Float32)))
	if c.Elem(0) == tensor.Float64 {
		stash = tensor.Float64
	}
	var stats graph.Dims
	if x != nil {
		axis, err := tensor.Axis(int(c.Node.Int("axis", -1)), len(x))
		if err != nil {
			return c.Errorf(0, "%v", err)
		}
		stats = append(append(stats, x[:axis]...), unknownDims(len(x)-axis)...)
		for i := axis; i < len(x); i++ {
			stats[i] = graph.Known(1)
		}
	}
	c.SetOut(1, stash, stats)
	c.SetOut(2, stash, stats)
	return nil
}

// rows sees a tensor as rows over the axes from axis on, and an operand that
// broadcasts to a row, or to more than one, as a row for each.
type rows struct {
	N, Len int
	axis   int
	shape  tensor.Shape
}

func newRows(e *Eval) (rows, error) {
	s := e.Tensor(0).Shape()
	axis, err := tensor.Axis(int(e.Node.Int("axis", -1)), len(s))
	if err != nil {
		return rows{}, e.Errorf(0, "%v", err)
	}
	return rows{volume(s[:axis]), volume(s[axis:]), axis, s}, nil
}

// grain returns how many rows make a task of fair size.
func (r rows) grain() int { return max(1, grain/max(1, r.Len)) }

// operand returns input i broadcast to whole rows: a function of the row. It
// is nil if the input is omitted.
func operand[T real](e *Eval, r rows, i int) (func(row int) []T, error) {
	t := e.Tensor(i)
	if t == nil {
		return nil, nil
	}
	data := reals[T](t)
	if t.Len() == r.Len && (t.Rank() <= len(r.shape)-r.axis || leadingOnes(t.Shape(), r.axis)) {
		return func(int) []T { return data }, nil
	}
	full, err := tensor.Broadcast(t.Shape(), r.shape)
	if err != nil || !full.Equal(r.shape) {
		return nil, e.Errorf(i, "does not broadcast to %v", r.shape)
	}
	all := broadcastTo(data, t.Shape(), r.shape)
	return func(row int) []T { return all[row*r.Len:][:r.Len] }, nil
}

func leadingOnes(s tensor.Shape, n int) bool { return n <= len(s) && volume(s[:n]) == 1 }

// broadcastTo repeats elements of shape from until they have shape to.
func broadcastTo[T any](data []T, from, to tensor.Shape) []T {
	out := make([]T, to.Len())
	w := newBroadcast(to, from)
	step := w.step(0)
	w.runs(0, len(out), func(pos, n int, off []int) {
		for i := range n {
			out[pos+i] = data[off[0]+i*step]
		}
	})
	return out
}

// evalLayerNorm computes LayerNormalization over the axes from axis on, and
// the means and inverse deviations of its rows as results 1 and 2.
func evalLayerNorm[T real](e *Eval) error {
	r, err := newRows(e)
	if err != nil {
		return err
	}
	scale, err := operand[T](e, r, 1)
	if err != nil {
		return err
	}
	bias, err := operand[T](e, r, 2)
	if err != nil {
		return err
	}
	x := realsOf[T](e, 0)
	y := newResult[T](e, e.Tensor(1).DType(), r.shape)
	if e.Node.Out(1) == nil && e.Node.Out(2) == nil {
		layerNormRows(e, r, y.Data, x, scale, bias)
		return setReal(e, 0, y)
	}
	stats := append(tensor.Shape{}, r.shape...)
	fillWith(stats[r.axis:], 1)
	stash := tensor.DType(e.Node.Int("stash_type", int64(tensor.Float32)))
	if e.Tensor(0).DType() == tensor.Float64 {
		stash = tensor.Float64
	}
	mean, inv := newResult[T](e, stash, stats), newResult[T](e, stash, stats)
	eps := float64(e.Node.Float("epsilon", 1e-5))
	e.Parallel(r.N, r.grain(), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			dst := y.Data[i*r.Len:][:r.Len]
			m, v := standardize(dst, x[i*r.Len:][:r.Len], eps)
			mean.Data[i], inv.Data[i] = T(m), T(v)
			scaleShiftRow(dst, maybeRow(scale, i), maybeRow(bias, i))
		}
	})
	if err := setReal(e, 1, mean); err != nil {
		return err
	}
	if err := setReal(e, 2, inv); err != nil {
		return err
	}
	return setReal(e, 0, y)
}

// layerNormRows computes LayerNormalization without its statistics.
func layerNormRows[T real](e *Eval, r rows, y, x []T, scale, bias func(row int) []T) {
	k, eps := e.kernels(), e.Node.Float("epsilon", 1e-5)
	e.Parallel(r.N, r.grain(), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			dst, src := y[i*r.Len:][:r.Len], x[i*r.Len:][:r.Len]
			gamma, beta := maybeRow(scale, i), maybeRow(bias, i)
			if f, ok := any(dst).([]float32); ok {
				k.LayerNorm(f, any(src).([]float32), any(gamma).([]float32), any(beta).([]float32), eps)
				continue
			}
			standardize(dst, src, float64(eps))
			scaleShiftRow(dst, gamma, beta)
		}
	})
}

func maybeRow[T real](f func(int) []T, i int) []T {
	if f == nil {
		return nil
	}
	return f(i)
}

// scaleShiftRow multiplies by scale and adds bias, either of which may be nil.
func scaleShiftRow[T real](dst, scale, bias []T) {
	for i := range dst {
		if scale != nil {
			dst[i] *= scale[i]
		}
		if bias != nil {
			dst[i] += bias[i]
		}
	}
}

// evalRMSNorm computes RMSNormalization: x / sqrt(mean of x*x + epsilon) over
// the axes from axis on, times a scale whose type the result has.
func evalRMSNorm[T real](e *Eval) error {
	r, err := newRows(e)
	if err != nil {
		return err
	}
	scale, err := operand[T](e, r, 1)
	if err != nil {
		return err
	}
	x := realsOf[T](e, 0)
	y := newResult[T](e, e.Tensor(1).DType(), r.shape)
	eps := float64(e.Node.Float("epsilon", 1e-5))
	e.Parallel(r.N, r.grain(), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			dst := y.Data[i*r.Len:][:r.Len]
			rootMeanSquare(dst, x[i*r.Len:][:r.Len], eps)
			scaleShiftRow(dst, maybeRow(scale, i), nil)
		}
	})
	return setReal(e, 0, y)
}

// rootMeanSquare sets dst to src / sqrt(mean of squares + eps) and returns
// the factor.
func rootMeanSquare[T real](dst, src []T, eps float64) float64 {
	squares := 0.0
	for _, v := range src {
		squares += float64(v) * float64(v)
	}
	inv := 1 / math.Sqrt(squares/float64(max(1, len(src)))+eps)
	for i, v := range src {
		dst[i] = T(float64(v) * inv)
	}
	return inv
}
