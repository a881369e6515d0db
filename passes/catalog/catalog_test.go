package catalog

import (
	"strings"
	"testing"

	"github.com/onnxpack/onnxpack/passes"
)

func TestAll(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range All() {
		if seen[p.Name] {
			t.Errorf("pass %q is listed twice", p.Name)
		}
		seen[p.Name] = true
		if p.Summary() == "" || strings.HasSuffix(p.Summary(), ".") {
			t.Errorf("pass %q: summary is %q, want a line without a full stop", p.Name, p.Summary())
		}
		for _, o := range p.Options() {
			if o.Help == "" {
				t.Errorf("pass %q: option %q says nothing of what it is for", p.Name, o.Name)
			}
		}
	}
	for _, c := range Order {
		for _, name := range []string{c.Before, c.After} {
			if _, err := passes.Find(name, All()); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestCheck(t *testing.T) {
	steps, err := Parse("quantize-static,simplify")
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(steps); err == nil {
		t.Error("simplify after quantize-static is not refused")
	}
}
