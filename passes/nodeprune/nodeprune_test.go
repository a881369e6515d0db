package nodeprune_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/passes/nodeprune"
)

var weights = regexp.MustCompile(`float\[([0-9,]+)\] (\w)([,>])`)

// filled gives the weights of a model in text their elements.
func filled(model string) string {
	return weights.ReplaceAllStringFunc(model, func(text string) string {
		part := weights.FindStringSubmatch(text)
		n := 1
		for _, d := range strings.Split(part[1], ",") {
			size, _ := strconv.Atoi(d) // the pattern has digits
			n *= size
		}
		list := strings.TrimSuffix(strings.Repeat("0.5, ", n), ", ")
		return fmt.Sprintf("float[%s] %s = {%s}%s", part[1], part[2], list, part[3])
	})
}

// Groups of small models: how many units each has, and which axes it cuts.
func TestAnalyze(t *testing.T) {
	type group struct{ units, cuts int }
	for _, c := range []struct {
		name, model string
		want        []group
	}{
		{"a residual addition ties both its layers", `(float[1,3,8,8] x) => (float[1,2,6,6] y)
			<float[4,3,1,1] a, float[4,4,1,1] b, float[2,4,3,3] c>
			{ p = Conv(x, a)  q = Conv(p, b)  r = Add(p, q)  y = Conv(r, c) }`,
			[]group{{4, 4}}},
		{"the operands of a concatenation go by themselves", `(float[1,3,8,8] x) => (float[1,2,8,8] y)
			<float[4,3,1,1] a, float[5,3,1,1] b, float[2,9,1,1] c>
			{ p = Conv(x, a)  q = Conv(x, b)  r = Concat<axis = 1>(p, q)  y = Conv(r, c) }`,
			[]group{{4, 2}, {5, 2}}},
		{"a channel is many columns once it is flattened", `(float[1,3,4,4] x) => (float[1,2] y)
			<float[6,3,3,3] a, float[24,2] b>
			{ p = Conv(x, a)  q = Flatten(p)  y = MatMul(q, b) }`,
			[]group{{6, 2}}},
		{"channels of a depthwise layer go with their neighbours'", `(float[1,3,4,4] x) => (float[1,2,2,2] y)
			<float[6,3,1,1] a, float[6,1,3,3] b, float[2,6,1,1] c>
			{ p = Conv(x, a)  q = Conv<group = 6>(p, b)  y = Conv(q, c) }`,
			[]group{{6, 3}}},
		{"heads, and places in them", `(float[1,5,8] x) => (float[1,5,8] y)
			<float[8,8] a, float[8,8] b, int64[4] s = {0, 0, 4, 2}, int64[3] f = {0, 0, 8}>
			{ p = MatMul(x, a)  q = Reshape(p, s)  r = Transpose<perm = [0, 2, 1, 3]>(q)
			  u = Transpose<perm = [0, 2, 1, 3]>(r)  v = Reshape(u, f)  y = MatMul(v, b) }`,
			[]group{{4, 2}, {2, 2}}},
		{"what is normalized together stays", `(float[1,8] x) => (float[1,2] y)
			<float[8,6] a, float[6] g, float[6,2] b>
			{ p = MatMul(x, a)  q = LayerNormalization(p, g)  y = MatMul(q, b) }`,
			nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := graph.ParseModel(`<ir_version: 9, opset_import: ["": 17]> g ` + filled(c.model))
			if err != nil {
				t.Fatal(err)
			}
			g := nodeprune.Analyze(m, op.InferModel(m, op.InferOptions{}), nodeprune.Rules{})
			var got []group
			for _, x := range g.List {
				got = append(got, group{len(x.Units), len(x.Cuts)})
			}
			if len(got) != len(c.want) {
				t.Fatalf("groups %v, want %v; refused %+v", got, c.want, g.Refused)
			}
			for _, w := range c.want {
				found := false
				for _, x := range got {
					found = found || x == w
				}
				if !found {
					t.Errorf("groups %v, want %v", got, c.want)
				}
			}
		})
	}
}
