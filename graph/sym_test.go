package graph

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestDimArithmetic(t *testing.T) {
	h, w, n := Symbol("h"), Symbol("w"), Symbol("batch size")
	k := Known
	for _, c := range []struct {
		got  Dim
		want string
	}{
		{k(3).Plus(k(4)), "7"},
		{k(3).Minus(k(4)), "-1"},
		{h.Plus(w).Plus(k(1)).Minus(w), "h + 1"},
		{h.Times(w).Times(k(2)).Plus(k(1)), "2*h*w + 1"},
		{w.Plus(h).Times(w.Minus(h)), "-h**2 + w**2"},
		{h.Minus(h), "0"},
		{h.Minus(k(3)).FloorDiv(k(2)).Plus(k(1)), "floor((h + 1)/2) - 1"},
		{h.Times(k(4)).FloorDiv(k(2)), "2*h"},
		{h.Times(w).Times(k(12)).FloorDiv(h.Times(k(4))), "3*w"},
		{h.Times(w).Plus(h).FloorDiv(w.Plus(k(1))), "h"},
		{h.FloorDiv(k(2)).FloorDiv(k(2)), "floor(h/4)"},
		{h.Plus(k(1)).FloorDiv(k(2)).Plus(k(1)).FloorDiv(k(2)), "floor((h + 3)/4)"},
		{h.Times(k(2)).Plus(k(3)).FloorDiv(k(4)), "floor((h + 1)/2)"},
		{h.CeilDiv(k(2)), "floor((h + 1)/2)"},
		{h.FloorDiv(w.Times(k(2))), "floor(h/(2*w))"},
		{h.Mod(k(2)), "h - 2*floor(h/2)"},
		{h.Times(k(2)).Mod(k(2)), "0"},
		{h.Min(k(math.MaxInt64)), "h"},
		{h.Max(k(0)), "h"},
		{h.Min(w).Min(h), "min(h, w)"},
		{h.Max(h.Plus(k(1))), "h + 1"},
		{h.FloorDiv(k(0)), "?"},
		{Unknown().Plus(h), "?"},
		{Unknown().Times(k(0)), "0"},
		{n.Plus(k(0)), "batch size"},
		{n.Times(k(2)), "2*'batch size'"},
		{n.Times(k(2)).FloorDiv(k(2)), "batch size"},
		{Symbol("w*2 + h"), "w*2 + h"},
		{Symbol("w*2 + h").Canonical(), "h + 2*w"},
		{Symbol("floor(h/2 - 1/2) + 1").Canonical(), "floor((h + 1)/2)"},
		{Symbol("ceiling(h/2)").Canonical(), "floor((h + 1)/2)"},
		{Symbol("Max(1, 3, h)").Canonical(), "max(3, h)"},
		{Symbol("N//2").Plus(k(0)), "floor(N/2)"},
		{Symbol("2**3*x % 8").Canonical(), "0"},
		{k(math.MaxInt).Times(k(2)), "?"},
		{Dims{h, k(2), w}.Len(), "2*h*w"},
	} {
		if c.got.String() != c.want {
			t.Errorf("got %v, want %v", c.got, c.want)
		}
	}
}

func TestDimSameAndEval(t *testing.T) {
	if !Symbol("2*(h+1)").Same(Symbol("h + h + 2")) {
		t.Error("2*(h+1) is not the same as h + h + 2")
	}
	if Unknown().Same(Unknown()) {
		t.Error("an unknown dimension is the same as another")
	}
	d := Symbol("floor((h - 3)/2) + min(h, w)")
	if got := fmt.Sprint(d.Symbols()); got != "[h w]" {
		t.Errorf("symbols %s, want [h w]", got)
	}
	if n, ok := d.Eval(map[string]int{"h": 10, "w": 7}); n != 10 || !ok {
		t.Errorf("value %d %v, want 10", n, ok)
	}
	if _, ok := d.Eval(map[string]int{"h": 10}); ok {
		t.Error("a value without w")
	}
	if got := d.Subst(map[string]Dim{"w": Symbol("h").Plus(Known(1))}).String(); got != "h + floor((h + 1)/2) - 2" {
		t.Errorf("substituted: %s", got)
	}
}

// TestDimLaws holds random expressions, and what their text reads as, to
// integer arithmetic.
func TestDimLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := map[string]int{
			"a": rapid.IntRange(1, 40).Draw(t, "a"),
			"b": rapid.IntRange(1, 40).Draw(t, "b"),
		}
		d, want := drawDim(t, values, 3)
		for _, e := range []Dim{d, d.Canonical(), Symbol("(" + d.String() + ")").Canonical()} {
			if d.IsUnknown() {
				return
			}
			if got, ok := e.Eval(values); !ok || got != want {
				t.Fatalf("%v is %d (%v) for %v, want %d", e, got, ok, values, want)
			}
		}
		if c := d.Canonical(); c.String() != d.String() {
			t.Fatalf("%v reads as %v", d, c)
		}
	})
}

func drawDim(t *rapid.T, values map[string]int, depth int) (Dim, int) {
	kind := rapid.IntRange(0, 8).Draw(t, "kind")
	if depth == 0 {
		kind %= 2
	}
	switch kind {
	case 0:
		n := rapid.IntRange(0, 9).Draw(t, "number")
		return Known(n), n
	case 1:
		s := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "symbol")
		return Symbol(s), values[s]
	}
	d, x := drawDim(t, values, depth-1)
	e, y := drawDim(t, values, depth-1)
	switch kind {
	case 2:
		return d.Plus(e), x + y
	case 3:
		return d.Minus(e), x - y
	case 4:
		return d.Times(e), x * y
	case 5:
		return d.Min(e), min(x, y)
	case 6:
		return d.Max(e), max(x, y)
	}
	y = rapid.IntRange(1, 6).Draw(t, "divisor")
	if kind == 7 {
		return d.FloorDiv(Known(y)), int(math.Floor(float64(x) / float64(y)))
	}
	return d.Mod(Known(y)), ((x % y) + y) % y
}

func FuzzDim(f *testing.F) {
	for _, s := range []string{"N", "2*h + 1", "floor((h - 3)/2)", "min(a, max(b, 'c d'))", "a**16", "1/0", "-", "((((", "a%b//c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := Symbol(s).Canonical()
		if d := c.Canonical(); c.String() != d.String() && c.Sym != "" {
			t.Errorf("%q reads as %v, which reads as %v", s, c, d)
		}
		Symbol(strings.Repeat("(", 100) + s).Times(Symbol(s))
	})
}
