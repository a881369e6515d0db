package graph

import (
	"math"
	"slices"
)

// Number returns the dimension, or the content of a shape tensor, of the
// given value. A Dim has no room for a negative number as such, so that this
// is a constant expression then.
func Number(n int) Dim {
	if n >= 0 {
		return Known(n)
	}
	return constant(int64(n)).dim()
}

// Number returns the value of a known dimension or constant expression.
func (d Dim) Number() (int, bool) {
	if d.Sym == "" {
		return d.Size, d.Size >= 0
	}
	p, ok := d.poly()
	if !ok {
		return 0, false
	}
	n, ok := p.constant()
	return int(n), ok && int64(int(n)) == n
}

// Plus returns d + e.
func (d Dim) Plus(e Dim) Dim { return combine(d, e, poly.plus) }

// Minus returns d - e.
func (d Dim) Minus(e Dim) Dim { return combine(d, e, poly.minus) }

// Times returns d * e; zero times an unknown dimension is zero.
func (d Dim) Times(e Dim) Dim {
	if d.isZero() || e.isZero() {
		return Known(0)
	}
	return combine(d, e, poly.times)
}

// FloorDiv returns d / e rounded down, unknown if e is zero.
func (d Dim) FloorDiv(e Dim) Dim { return combine(d, e, poly.floorDiv) }

// CeilDiv returns d / e rounded up, for e of at least 1.
func (d Dim) CeilDiv(e Dim) Dim { return combine(d, e, poly.ceilDiv) }

// Mod returns d - e*floor(d/e), unknown if e is zero.
func (d Dim) Mod(e Dim) Dim { return combine(d, e, poly.mod) }

// Min returns the smaller of d and e.
func (d Dim) Min(e Dim) Dim {
	return combine(d, e, func(p, q poly) (poly, bool) { return extremum(opMin, []poly{p, q}) })
}

// Max returns the greater of d and e.
func (d Dim) Max(e Dim) Dim {
	return combine(d, e, func(p, q poly) (poly, bool) { return extremum(opMax, []poly{p, q}) })
}

// Same reports whether d and e are known to be equal for all values of their
// symbols. An unknown dimension is the same as none.
func (d Dim) Same(e Dim) bool {
	n, ok := d.Minus(e).Number()
	return ok && n == 0
}

// Canonical returns d with its expression in canonical text.
func (d Dim) Canonical() Dim {
	p, ok := d.poly()
	if !ok {
		return d
	}
	c := p.dim()
	c.Denotation = d.Denotation
	return c
}

// Symbols returns the symbols that d depends on, in order, without repetition.
func (d Dim) Symbols() []string {
	p, ok := d.poly()
	if !ok {
		return nil
	}
	var names []string
	p.symbols(&names)
	slices.Sort(names)
	return slices.Compact(names)
}

// Subst returns d with dimensions in place of symbols; those that the map
// does not hold stay.
func (d Dim) Subst(values map[string]Dim) Dim {
	p, ok := d.poly()
	if !ok {
		return d
	}
	if p, ok = p.subst(values); !ok {
		return Unknown()
	}
	c := p.dim()
	c.Denotation = d.Denotation
	return c
}

// Eval returns the value of d given those of its symbols, false if one is
// missing or the value cannot be computed.
func (d Dim) Eval(values map[string]int) (int, bool) {
	if n, ok := d.Number(); ok || d.IsUnknown() {
		return n, ok
	}
	known := make(map[string]Dim, len(values))
	for name, n := range values {
		known[name] = Number(n)
	}
	return d.Subst(known).Number()
}

// Len returns the product of the dimensions, unknown if the rank is.
func (d Dims) Len() Dim {
	if d == nil {
		return Unknown()
	}
	n := Known(1)
	for _, x := range d {
		n = n.Times(x)
	}
	return n
}

// Same reports whether two shapes are known to be equal for all values of
// their symbols.
func (d Dims) Same(e Dims) bool {
	return d != nil && e != nil && slices.EqualFunc(d, e, Dim.Same)
}

func (d Dim) isZero() bool { return d.Sym == "" && d.Size == 0 }

func combine(d, e Dim, op func(p, q poly) (poly, bool)) Dim {
	p, ok := d.poly()
	if !ok {
		return Unknown()
	}
	q, ok := e.poly()
	if !ok {
		return Unknown()
	}
	r, ok := op(p, q)
	if !ok {
		return Unknown()
	}
	return r.dim()
}

// poly returns the polynomial that d stands for, false if d is unknown.
func (d Dim) poly() (poly, bool) {
	switch {
	case d.Sym != "":
		return parseSym(d.Sym), true
	case d.Size < 0:
		return nil, false
	}
	return constant(int64(d.Size)), true
}

// maxSymText bounds the length of an expression, in bytes.
const maxSymText = 512

func (p poly) dim() Dim {
	if n, ok := p.constant(); ok && n >= 0 {
		if n > math.MaxInt {
			return Unknown()
		}
		return Known(int(n))
	}
	text := p.topText()
	if len(text) > maxSymText {
		return Unknown()
	}
	return Symbol(text)
}
