package simplify

import (
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/passes"
)

// FusePadConv lets convolutions and pools pad for themselves.
var FusePadConv = passes.Define(passes.Pass{
	Name: "fuse-pad-conv",
	Doc: `let convolutions and pools pad for themselves

	t = Pad (x, [0,0,1,1,0,0,1,1])      y = Conv <pads = [1,1,1,1]> (x, W)
	y = Conv (t, W)                 =>

The padding is zero for Conv and AveragePool, which then counts it; for
MaxPool it is minus infinity, or zero where nothing is negative.`,
	Kind: passes.Exact,
}, struct{}{}, func(j *passes.Job, _ struct{}) error {
	eachNode(j, func(n *graph.Node) {
		if !n.Is("Conv", "MaxPool", "AveragePool") {
			return
		}
		p := soleProducer(n, n.In(0), "Pad")
		if p == nil {
			return
		}
		if why := takePads(n, p); why != "" {
			j.Skip(p, "%v cannot pad instead: %s", n, why)
			return
		}
		n.SetIn(0, p.In(0))
		p.Graph().Remove(p)
		j.Changed(1)
	})
	return nil
})

// takePads adds the padding of p to that of n, or says why it cannot.
func takePads(n, p *graph.Node) string {
	pad, ok := padOf(p)
	rank := len(pad.pads) / 2
	spatial := rank - 2
	switch {
	case !ok:
		return "the padding is not constant"
	case pad.cuts():
		return "it cuts"
	case spatial < 1 || !all(append(pad.pads[:2:2], pad.pads[rank:rank+2]...), 0):
		return "batch or channels are padded"
	case n.Str("auto_pad", "NOTSET") != "NOTSET" && n.Str("auto_pad", "") != "VALID":
		return "its own padding depends on the size"
	case n.Is("MaxPool") && !isLow(p, pad.value) || !n.Is("MaxPool") && pad.value != 0:
		return "the value padded with is not its own"
	case n.Is("AveragePool") && (n.Opset() < 7 || n.Int("count_include_pad", 0) == 0 && !all(n.Ints("pads"), 0) || n.Int("ceil_mode", 0) != 0):
		return "it does not count what it pads"
	}
	sum := make([]int64, 2*spatial)
	copy(sum, n.Ints("pads"))
	for i := range spatial {
		before, after := pad.sides(i + 2)
		sum[i] += before
		sum[i+spatial] += after
	}
	if !n.Is("Conv") && !underKernel(n, sum) {
		return "there is more padding than its window has room for"
	}
	n.DropAttr("auto_pad")
	n.SetAttr(graph.IntsAttr("pads", sum...))
	if n.Is("AveragePool") {
		n.SetAttr(graph.IntAttr("count_include_pad", 1))
	}
	return ""
}

// isLow reports whether no element of p's input is less than x.
func isLow(p *graph.Node, x float64) bool {
	if math.IsInf(x, -1) || x <= -math.MaxFloat32 {
		return true
	}
	return x == 0 && producer(p, p.In(0), "Relu", "Sigmoid") != nil
}

// underKernel reports whether each side is padded by less than the window.
func underKernel(n *graph.Node, pads []int64) bool {
	kernel := n.Ints("kernel_shape")
	for i, x := range pads {
		if len(kernel)*2 != len(pads) || x >= kernel[i%len(kernel)] {
			return false
		}
	}
	return true
}
