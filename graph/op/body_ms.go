package op

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/onnxpack/onnxpack/graph"
)

// copied writes attributes of the call that another operator has too.
func copied(c *Call, names ...string) string {
	var parts []string
	for _, name := range names {
		a := c.Node.Attr(name)
		switch {
		case a == nil:
		case a.Kind == graph.AttrInts:
			parts = append(parts, attr(name, intsText(toInts(a.Ints)...)))
		case a.Kind == graph.AttrString:
			parts = append(parts, attr(name, strconv.Quote(c.Node.Str(name, ""))))
		case a.Kind == graph.AttrInt:
			parts = append(parts, attr(name, c.Node.Int(name, 0)))
		}
	}
	return strings.Join(parts, ", ")
}

const convAttrs = "auto_pad dilations group kernel_shape pads strides"

// fusedActivation writes the activation that a fused operator names.
func (w *bodyWriter) fusedActivation(c *Call, x string, params []float32) (string, error) {
	name := strings.ToLower(c.Node.Str("activation", ""))
	param := func(i int, def float32) float64 {
		if i < len(params) {
			return float64(params[i])
		}
		return float64(def)
	}
	switch name {
	case "":
		return x, nil
	case "clip":
		return w.op("Clip", "", x, w.number(param(0, -math.MaxFloat32)), w.number(param(1, math.MaxFloat32))), nil
	case "hardswish":
		return w.op("HardSwish", "", x), nil
	}
	info, ok := activationParams[name]
	if !ok {
		return "", fmt.Errorf("attribute activation is %q, which is not known", name)
	}
	return w.activation(name, param(0, info.alpha), param(1, info.beta), x), nil
}

// bodyFusedConv writes activation(Conv(X, W, B) + Z).
func bodyFusedConv(c *Call) (string, error) {
	var b bodyWriter
	b.like = "X"
	in := []string{"X", "W", "B", "Z"}[:c.Node.NumIn()]
	operands := in[:2]
	if c.Has(2) {
		operands = in[:3]
	}
	y := b.op("Conv", copied(c, strings.Fields(convAttrs)...), operands...)
	if c.Has(3) {
		y = b.op("Add", "", y, "Z")
	}
	y, err := b.fusedActivation(c, y, c.Node.Floats("activation_params"))
	b.name("Y", y)
	return b.function(c.Node.Domain, c.Node.Op, in, []string{"Y"}), err
}

// bodyNhwcConv writes a convolution between transpositions.
func bodyNhwcConv(c *Call) (string, error) {
	var b bodyWriter
	in := []string{"X", "W", "B"}[:c.Node.NumIn()]
	operands := []string{b.op("Transpose", "perm = [0, 3, 1, 2]", "X"), b.op("Transpose", "perm = [0, 3, 1, 2]", "W")}
	if c.Has(2) {
		operands = append(operands, "B")
	}
	y := b.op("Conv", copied(c, strings.Fields(convAttrs)...), operands...)
	b.name("Y", b.op("Transpose", "perm = [0, 2, 3, 1]", y))
	return b.function(c.Node.Domain, c.Node.Op, in, []string{"Y"}), nil
}

// bodyFusedGemm writes activation(Gemm(A, B, C)).
func bodyFusedGemm(c *Call) (string, error) {
	var b bodyWriter
	b.like = "A"
	var params []float32
	for _, name := range []string{"activation_alpha", "activation_beta", "activation_gamma"} {
		if c.Node.Attr(name) != nil {
			params = append(params, c.Node.Float(name, 0))
		}
	}
	float := func(name string) string {
		return attr(name, strconv.FormatFloat(float64(c.Node.Float(name, 1)), 'e', -1, 32))
	}
	attrs := []string{float("alpha"), float("beta"), attr("transA", c.Node.Int("transA", 0)), attr("transB", c.Node.Int("transB", 0))}
	in := []string{"A", "B", "C"}[:c.Node.NumIn()]
	y, err := b.fusedActivation(c, b.op("Gemm", strings.Join(attrs, ", "), in...), params)
	b.name("Y", y)
	return b.function(c.Node.Domain, c.Node.Op, in, []string{"Y"}), err
}

// bodyFusedMatMul writes alpha times the product of operands with their axes
// in another order.
func bodyFusedMatMul(c *Call) (string, error) {
	var b bodyWriter
	b.like = "A"
	operands := []string{"A", "B"}
	for i, name := range operands {
		v := c.Node.In(i)
		if v == nil || v.Type == nil || v.Type.Shape == nil {
			return "", fmt.Errorf("the body needs the axes of input %d, which are not known", i)
		}
		if perm := fusedPerm(c, name, len(v.Type.Shape)); perm != nil {
			operands[i] = b.op("Transpose", attr("perm", intsText(perm...)), name)
		}
	}
	y := b.op("MatMul", "", operands...)
	if alpha := float64(c.Node.Float("alpha", 1)); alpha != 1 {
		y = b.op("Mul", "", y, b.number(alpha))
	}
	b.name("Y", y)
	return b.function(c.Node.Domain, c.Node.Op, []string{"A", "B"}, []string{"Y"}), nil
}

// bodyGelu writes BiasGelu, x Phi(x), and FastGelu, its form with a tanh, of
// the sum of the input and a bias.
func bodyGelu(c *Call) (string, error) {
	var b bodyWriter
	b.like = "X"
	x := "X"
	if c.Has(1) {
		x = b.op("Add", "", x, "B")
	}
	scaled := b.op("Mul", "", x, b.number(math.Sqrt(0.5)))
	cdf := "Erf"
	if c.Node.Op == "FastGelu" {
		cube := b.op("Mul", "", b.op("Mul", "", x, x), b.number(0.044715))
		scaled = b.op("Mul", "", b.op("Mul", "", x, b.number(math.Sqrt(2/math.Pi))), b.op("Add", "", b.number(1), cube))
		cdf = "Tanh"
	}
	half := b.op("Mul", "", x, b.number(0.5))
	b.name("Y", b.op("Mul", "", half, b.op("Add", "", b.number(1), b.op(cdf, "", scaled))))
	return b.function(c.Node.Domain, c.Node.Op, []string{"X", "B"}[:c.Node.NumIn()], []string{"Y"}), nil
}

// bodyQuickGelu writes x sigmoid(alpha x).
func bodyQuickGelu(c *Call) (string, error) {
	var b bodyWriter
	b.like = "X"
	alpha := b.number(float64(c.Node.Float("alpha", 1.702)))
	b.name("Y", b.op("Mul", "", "X", b.op("Sigmoid", "", b.op("Mul", "", alpha, "X"))))
	return b.function(c.Node.Domain, c.Node.Op, []string{"X"}, []string{"Y"}), nil
}

// epsilonOf writes attribute epsilon of a fused normalization.
func epsilonOf(c *Call) string {
	return attr("epsilon", strconv.FormatFloat(float64(c.Node.Float("epsilon", 1e-12)), 'e', -1, 32))
}

// bodySkipNorm writes a normalization of input + skip (+ bias).
func bodySkipNorm(c *Call) (string, error) {
	var b bodyWriter
	in, bias, norm := []string{"X", "S", "G", "T", "B"}, 4, "LayerNormalization"
	if c.Node.Op == "SkipSimplifiedLayerNormalization" {
		in, bias, norm = []string{"X", "S", "G", "B"}, 3, "SimplifiedLayerNormalization"
	}
	sum := b.op("Add", "", "X", "S")
	if c.Has(bias) {
		sum = b.op("Add", "", sum, "B")
	}
	b.normalized(c, norm, sum, 2, bias == 4 && c.Has(3))
	b.name("Z", sum)
	return b.function(c.Node.Domain, c.Node.Op, in[:c.Node.NumIn()], []string{"Y", "M", "I", "Z"}[:c.Node.NumOut()]), nil
}

// normalized writes a normalization of x by the scale G, and the shift T where
// there is one, with its statistics as M and I.
func (w *bodyWriter) normalized(c *Call, norm, x string, scale int, shift bool) {
	in := []string{x, "G"}
	if shift {
		in = append(in, "T")
	}
	if norm == "SimplifiedLayerNormalization" {
		y := w.ops(2, norm, epsilonOf(c), in...)
		w.name("Y", y[0])
		w.name("I", y[1])
		w.name("M", w.op("Mul", "", y[1], w.op("CastLike", "", w.op("Constant", "value_float = 0.0"), y[1])))
		return
	}
	y := w.ops(3, norm, epsilonOf(c), in...)
	w.name("Y", y[0])
	w.name("M", y[1])
	w.name("I", y[2])
}

// bodyEmbedNorm writes the normalized sum of embeddings.
func bodyEmbedNorm(c *Call) (string, error) {
	var b bodyWriter
	sum := b.op("Gather", "", "W", "A")
	if c.Has(8) {
		sum = b.op("Add", "", sum, b.op("Gather", "", "P", "Q"))
	} else {
		steps := b.op("Squeeze", "", b.op("Gather", "", b.op("Shape", "", "A"), b.ints(1)))
		sum = b.op("Add", "", sum, b.op("Gather", "", "P", b.op("Range", "", b.int(0), steps, b.int(1))))
	}
	if c.Has(1) && c.Has(4) {
		sum = b.op("Add", "", sum, b.op("Gather", "", "E", "S"))
	}
	in := []string{sum, "G"}
	if c.Has(6) {
		in = append(in, "T")
	}
	b.name("Y", b.op("LayerNormalization", epsilonOf(c), in...))
	b.name("Z", sum)
	if c.Has(7) {
		ones := b.op("Cast", "to = 6", b.op("Equal", "", "M", b.op("CastLike", "", b.int(1), "M")))
		b.name("L", b.op("ReduceSum", "keepdims = 0", ones, b.ints(1)))
	} else {
		zeros := b.op("Mul", "", "A", b.op("CastLike", "", b.int(0), "A"))
		b.name("L", b.op("Cast", "to = 6", b.op("ReduceSum", "keepdims = 0", b.op("Cast", "to = 6", zeros), b.ints(1))))
	}
	formals := []string{"A", "S", "W", "P", "E", "G", "T", "M", "Q"}[:c.Node.NumIn()]
	return b.function(c.Node.Domain, c.Node.Op, formals, []string{"Y", "L", "Z"}[:c.Node.NumOut()]), nil
}

// bodyCDist writes the distances of the rows of A from those of B.
func bodyCDist(c *Call) (string, error) {
	var b bodyWriter
	d := b.op("Sub", "", b.op("Unsqueeze", "", "A", b.ints(1)), b.op("Unsqueeze", "", "B", b.ints(0)))
	y := b.op("ReduceSum", "keepdims = 0", b.op("Mul", "", d, d), b.ints(2))
	if c.Node.Str("metric", "sqeuclidean") == "euclidean" {
		y = b.op("Sqrt", "", y)
	}
	b.name("C", y)
	return b.function(c.Node.Domain, c.Node.Op, []string{"A", "B"}, []string{"C"}), nil
}
