package quantize

import (
	"fmt"
	"strings"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/internal/opset"
)

// Static quantizes weights and activations to 8 bits with ranges observed on
// calibration data.
var Static = passes.Define(passes.Pass{
	Name: "quantize-static",
	Doc: `quantize weights and activations to 8 bits with ranges from calibration data

Convolutions and matrix products with constant weights get int8 weights,
symmetric, one scale for each output channel, uint8 inputs and results with a
zero point, and an int32 bias whose scale is the product of the two.
QuantizeLinear and DequantizeLinear stand where runtimes fuse them with the
operator between (QDQ form):

	y = Conv (x, W, b)      dx = DequantizeLinear (QuantizeLinear (x, …), …)
	z = Relu (y)        =>  dw = DequantizeLinear (Wq, …)  db = DequantizeLinear (bq, …)
	                        y = Conv (dx, dw, db)
	                        z = DequantizeLinear (QuantizeLinear (y, …), …)

A Relu or Clip is taken up by the range that it leaves. Operators that move,
join, add or average quantized values are quantized with them if a quantized
operator follows; all else stays float. Where pairs of products of uint8
and int8 saturate on the target, or it is not known, a channel's weights take
only as much of the range as keeps every pair that may meet within 16 bits, so
that results are the same on every CPU. Biases make up for the shift of means
that rounded weights cause (Nagel et al. 2019, arXiv 1906.04721).`,
	Kind:  passes.Lossy,
	Needs: passes.Calibration,
}, StaticOptions{
	Method: "mse", Percentile: 99.99, PerChannel: true, ReduceRange: "auto", BiasCorrection: true,
	Ops: []string{"Conv", "Gemm", "MatMul"},
}, runStatic)

// StaticOptions are the options of [Static].
type StaticOptions struct {
	Method      string  `opt:"method" oneof:"minmax|percentile|mse" help:"how the range of an activation is chosen"`
	Percentile  float64 `opt:"percentile" help:"percentage of numbers that lie below the upper bound, and above the lower one"`
	PerChannel  bool    `opt:"per-channel" help:"one weight scale for each output channel"`
	ReduceRange string  `opt:"reduce-range" oneof:"auto|true|false" help:"keep pairs of products within 16 bits; auto asks the target"`
	// BiasCorrection adds to each bias what quantizing the weights takes from
	// the mean of the result.
	BiasCorrection bool     `opt:"bias-correction" help:"make up for the shift of means that quantized weights cause"`
	Ops            []string `opt:"ops" help:"operators with weights that are quantized"`
	Include        []string `opt:"include" help:"nodes that are quantized, patterns with * and ?; all if empty"`
	Exclude        []string `opt:"exclude" help:"nodes that stay float, patterns with * and ?"`
}

// Validate reports an option out of range.
func (o StaticOptions) Validate() error {
	if o.Percentile <= 50 || o.Percentile > 100 {
		return fmt.Errorf("option \"percentile\": got %v, want more than 50 and at most 100", o.Percentile)
	}
	for _, op := range o.Ops {
		if !integerOps[op] {
			return fmt.Errorf("option \"ops\": got %q, want Conv, Gemm or MatMul", op)
		}
	}
	return nil
}

// saturates reports whether weights have to keep pairs of products within 16
// bits.
func (o StaticOptions) saturates(env *passes.Env) bool {
	if o.ReduceRange == "auto" {
		return env.Target == nil || env.Target.Saturates
	}
	return o.ReduceRange == "true"
}

// firstOpset is the version since which QuantizeLinear takes an axis.
const firstOpset = 13

func runStatic(j *passes.Job, o StaticOptions) error {
	p := newPlan(j, o)
	if len(p.cores) == 0 {
		j.Note("nothing to quantize: no %s with a constant float weight", strings.Join(o.Ops, ", "))
		return nil
	}
	if !raise(j, &o) {
		return nil
	}
	p = newPlan(j, o)
	if err := p.calibrate(); err != nil {
		return err
	}
	p.choose()
	e := &emitter{plan: p, saturates: o.saturates(j.Env), graph: j.Model.Graph}
	e.emit()
	j.Changed(len(p.cores))
	j.Figure("quantized nodes", float64(len(p.nodes)))
	return nil
}

// raise brings the model to the version that scales for each channel need, or,
// if it cannot follow, the options to one scale for each weight. It reports
// whether the model can be quantized at all.
func raise(j *passes.Job, o *StaticOptions) bool {
	first := int64(firstOpset)
	if !o.PerChannel {
		first = 10
	}
	m, err := opset.Raise(j.Model, first)
	switch {
	case err == nil:
		j.Model = m
	case j.Model.Opset("") >= 10:
		o.PerChannel = false
		j.Note("one scale for each weight: %v", err)
	default:
		j.SkipAt("the model", "quantized operators need opset %d: %v", first, err)
		return false
	}
	return true
}

// nameOf returns what patterns of node names are matched with.
func nameOf(n *graph.Node) string {
	if n.Name != "" || n.Out(0) == nil {
		return n.Name
	}
	return n.Out(0).Name()
}
