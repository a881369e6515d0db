package passes

import (
	"errors"
	"strings"
	"testing"
)

type testOptions struct {
	Sparsity float64  `opt:"sparsity" help:"share of zeros"`
	Scope    string   `opt:"scope" oneof:"global|layer"`
	Exclude  []string `opt:"exclude"`
	Rounds   int      `opt:"rounds"`
	Fast     bool     `opt:"fast"`
}

func (o testOptions) Validate() error {
	if o.Sparsity > 1 {
		return errors.New("option \"sparsity\": want at most 1")
	}
	return nil
}

var testPass = Define(Pass{Name: "cut-test", Doc: "cut"}, testOptions{Sparsity: 0.5, Scope: "global"},
	func(*Job, testOptions) error { return nil })

func TestParseSteps(t *testing.T) {
	steps, err := ParseSteps("cut-test=sparsity:0.8;exclude:a*|b:c;fast:true, cut-test", []*Pass{testPass})
	if err != nil {
		t.Fatal(err)
	}
	o := steps[0].options.(testOptions)
	if o.Sparsity != 0.8 || len(o.Exclude) != 2 || o.Exclude[1] != "b:c" || !o.Fast || o.Scope != "global" {
		t.Errorf("got %+v", o)
	}
	if got, want := steps[0].String(), "cut-test=sparsity:0.8;exclude:a*|b:c;fast:true"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
	if got := steps[1].options.(testOptions).Sparsity; got != 0.5 {
		t.Errorf("default sparsity is %v, want 0.5", got)
	}
}

func TestParseStepsErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"cut-tset", `unknown pass "cut-tset", want one of cut-test (did you mean "cut-test"?)`},
		{"cut-test=sparsty:1", `pass "cut-test": unknown option "sparsty", want one of sparsity, scope, exclude, rounds, fast (did you mean "sparsity"?)`},
		{"cut-test=sparsity:much", `pass "cut-test": option "sparsity": got "much", want a number`},
		{"cut-test=sparsity:NaN", `pass "cut-test": option "sparsity": got "NaN", want a number`},
		{"cut-test=sparsity:2", `pass "cut-test": option "sparsity": want at most 1`},
		{"cut-test=scope:globl", `pass "cut-test": option "scope": got "globl", want one of global, layer (did you mean "global"?)`},
		{"cut-test=rounds:1.5", `pass "cut-test": option "rounds": got "1.5", want an integer`},
		{"cut-test=fast", `pass "cut-test": option "fast" has no value, want key:value`},
		{"cut-test=fast:true;fast:true", `pass "cut-test": option "fast" is set twice, want once`},
		{"", "a step has no pass name, want one of cut-test"},
	} {
		_, err := ParseSteps(c.text, []*Pass{testPass})
		if err == nil || err.Error() != c.want {
			t.Errorf("%q: got error %v, want %s", c.text, err, c.want)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"conv", "conv", true}, {"conv", "conv1", false}, {"conv*", "conv1", true}, {"*", "", true},
		{"*1*", "/a/1/b", true}, {"?b", "ab", true}, {"?b", "b", false}, {"a*b*c", "aXXbYYc", true}, {"a*b", "ab_", false},
	} {
		if got := Match([]string{c.pattern}, c.name); got != c.want {
			t.Errorf("Match(%q, %q) = %v", c.pattern, c.name, got)
		}
	}
}

func TestCheckOrder(t *testing.T) {
	a := Define(Pass{Name: "a"}, struct{}{}, func(*Job, struct{}) error { return nil })
	b := Define(Pass{Name: "b", After: []string{"a"}}, struct{}{}, func(*Job, struct{}) error { return nil })
	if err := CheckOrder([]*Pass{a, b}, nil); err != nil {
		t.Error(err)
	}
	if err := CheckOrder([]*Pass{b, a}, nil); err == nil || !strings.Contains(err.Error(), `"a" stands after "b"`) {
		t.Errorf("got %v", err)
	}
	if err := CheckOrder([]*Pass{a, b}, []Constraint{{"b", "a", "because"}}); err == nil || !strings.Contains(err.Error(), "because") {
		t.Errorf("got %v", err)
	}
}
