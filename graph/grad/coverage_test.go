package grad_test

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

var update = flag.Bool("update", false, "rewrite goldens")

// The operators of ONNX that make floats of floats and have neither a
// gradient nor a body stand in a golden, so that absence is seen.
func TestOperatorsWithoutGradient(t *testing.T) {
	var missing []string
	for d := range op.All() {
		if d.Domain == "" && d.Grad == nil && d.Body == "" && d.BodyFor == nil && mapsFloats(d) && !slices.Contains(missing, d.Name) {
			missing = append(missing, d.Name)
		}
	}
	slices.Sort(missing)
	got := strings.Join(missing, "\n") + "\n"
	const golden = "testdata/without_gradient.txt"
	if *update {
		if err := os.MkdirAll("testdata", 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("operators without a gradient are\n%swant\n%s(-update rewrites them)", got, want)
	}
}

// mapsFloats reports whether an operator takes and gives tensors of floats in
// its newest version.
func mapsFloats(d *op.Def) bool {
	versions := op.Versions(d.Domain, d.Name)
	if len(versions) == 0 {
		return false
	}
	s := d.Schema(versions[len(versions)-1])
	if s == nil {
		return false
	}
	return slices.ContainsFunc(s.In, takesFloat) && slices.ContainsFunc(s.Out, takesFloat)
}

func takesFloat(f op.Formal) bool {
	return slices.ContainsFunc(f.Types, func(t *graph.Type) bool {
		return t.Kind == graph.KindTensor && t.Elem == tensor.Float32
	})
}
