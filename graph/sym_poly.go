package graph

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// poly is a polynomial with integer coefficients: a sum of terms without
// zeros and repeated monomials, in canonical order; empty is 0.
type poly []term

type term struct {
	c int64
	m monomial
}

// monomial is a product of powers of atoms, in order of the atoms.
type monomial []factor

type factor struct {
	*atom
	power int
}

// atom is a symbol, or a function of polynomials that is not one itself.
type atom struct {
	op   symOp
	name string // of a symbol
	args []poly // p and q of floor(p/q); the arguments of min and max
	text string // canonical, which tells atoms apart
}

type symOp uint8

const (
	opSymbol symOp = iota
	opFloor
	opMin
	opMax
)

// Bounds on polynomials, so that hostile text costs little: how many terms
// there are, and how many products of terms one multiplication makes.
const (
	maxTerms    = 32
	maxProducts = 256
)

func constant(n int64) poly {
	if n == 0 {
		return nil
	}
	return poly{{c: n}}
}

func (a *atom) poly() poly { return poly{{1, monomial{{a, 1}}}} }

// checked is poly where the text of a is not too long to be of use.
func (a *atom) checked() (poly, bool) { return a.poly(), len(a.text) <= maxSymText }

func symbolPoly(name string) poly {
	a := &atom{op: opSymbol, name: name, text: name}
	if !isSymName(name) {
		a.text = "'" + strings.ReplaceAll(name, "'", "''") + "'"
	}
	return a.poly()
}

// constant returns the value of a polynomial without atoms.
func (p poly) constant() (int64, bool) {
	switch {
	case len(p) == 0:
		return 0, true
	case len(p) == 1 && len(p[0].m) == 0:
		return p[0].c, true
	}
	return 0, false
}

// constantTerm returns the part without atoms.
func (p poly) constantTerm() int64 {
	if n := len(p); n > 0 && len(p[n-1].m) == 0 {
		return p[n-1].c
	}
	return 0
}

// compare orders symbols before functions, then by text.
func (a *atom) compare(b *atom) int {
	return cmp.Or(cmp.Compare(a.op, b.op), cmp.Compare(a.text, b.text))
}

func (m monomial) degree() int {
	d := 0
	for _, f := range m {
		d += f.power
	}
	return d
}

// compare orders monomials by falling degree, then by their atoms.
func (m monomial) compare(n monomial) int {
	if c := cmp.Compare(n.degree(), m.degree()); c != 0 {
		return c
	}
	for i := range min(len(m), len(n)) {
		if c := m[i].atom.compare(n[i].atom); c != 0 {
			return c
		}
		if c := cmp.Compare(n[i].power, m[i].power); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(m), len(n))
}

// normal returns the sum of terms as a polynomial.
func normal(ts []term) (poly, bool) {
	slices.SortFunc(ts, func(a, b term) int { return a.m.compare(b.m) })
	var p poly
	for _, t := range ts {
		if n := len(p); n > 0 && p[n-1].m.compare(t.m) == 0 {
			c, ok := addInt(p[n-1].c, t.c)
			if !ok {
				return nil, false
			}
			if p[n-1].c = c; c == 0 {
				p = p[:n-1]
			}
			continue
		}
		if t.c != 0 {
			p = append(p, t)
		}
	}
	return p, len(p) <= maxTerms
}

func addInt(a, b int64) (int64, bool) {
	s := a + b
	return s, (a^s)&(b^s) >= 0 && s != math.MinInt64
}

func mulInt(a, b int64) (int64, bool) {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	if a < 0 {
		hi -= uint64(b)
	}
	if b < 0 {
		hi -= uint64(a)
	}
	p := int64(lo)
	return p, hi == uint64(p>>63) && p != math.MinInt64
}

func (p poly) plus(q poly) (poly, bool) {
	return normal(append(slices.Clone(p), q...))
}

func (p poly) minus(q poly) (poly, bool) { return p.plus(q.negated()) }

func (p poly) negated() poly {
	q := slices.Clone(p)
	for i := range q {
		q[i].c = -q[i].c // never the least int64: addInt and mulInt keep it out
	}
	return q
}

func (p poly) times(q poly) (poly, bool) {
	if len(p)*len(q) > maxProducts {
		return nil, false
	}
	var ts []term
	for _, a := range p {
		for _, b := range q {
			c, ok := mulInt(a.c, b.c)
			if !ok {
				return nil, false
			}
			ts = append(ts, term{c, a.m.times(b.m)})
		}
	}
	return normal(ts)
}

func (m monomial) times(n monomial) monomial {
	fs := slices.Concat(m, n)
	slices.SortStableFunc(fs, func(a, b factor) int { return a.atom.compare(b.atom) })
	var out monomial
	for _, f := range fs {
		if k := len(out); k > 0 && out[k-1].text == f.text {
			out[k-1].power += f.power
			continue
		}
		out = append(out, f)
	}
	return out
}

// over returns m/n if n divides m.
func (m monomial) over(n monomial) (monomial, bool) {
	var out monomial
	for _, f := range m {
		for _, g := range n {
			if f.text == g.text {
				f.power -= g.power
			}
		}
		if f.power < 0 {
			return nil, false
		}
		if f.power > 0 {
			out = append(out, f)
		}
	}
	return out, out.degree() == m.degree()-n.degree()
}

// dividedBy returns p/q if q divides p: long division by the first term.
func (p poly) dividedBy(q poly) (poly, bool) {
	var quotient []term
	for rest := p; ; {
		if len(rest) == 0 {
			return normal(quotient)
		}
		m, ok := rest[0].m.over(q[0].m)
		if !ok || rest[0].c%q[0].c != 0 || len(quotient) > maxTerms {
			return nil, false
		}
		t := term{rest[0].c / q[0].c, m}
		quotient = append(quotient, t)
		product, ok := q.times(poly{t})
		if !ok {
			return nil, false
		}
		if rest, ok = rest.minus(product); !ok {
			return nil, false
		}
	}
}

// ceilDiv returns p/q rounded up as floor((p + q - 1)/q), for q of at least 1
// or a negative constant.
func (p poly) ceilDiv(q poly) (poly, bool) {
	if len(q) > 0 && q[0].c < 0 {
		p, q = p.negated(), q.negated()
	}
	if p, ok := p.plus(q); ok {
		if p, ok = p.minus(constant(1)); ok {
			return p.floorDiv(q)
		}
	}
	return nil, false
}

func (p poly) mod(q poly) (poly, bool) {
	d, ok := p.floorDiv(q)
	if !ok {
		return nil, false
	}
	if d, ok = d.times(q); !ok {
		return nil, false
	}
	return p.minus(d)
}

// floorDiv returns floor(p/q).
func (p poly) floorDiv(q poly) (poly, bool) {
	if len(q) == 0 {
		return nil, false
	}
	if q[0].c < 0 {
		p, q = p.negated(), q.negated()
	}
	if d, ok := p.dividedBy(q); ok {
		return d, true
	}
	p, q = cancel(p, q)
	if n, ok := q.constant(); ok {
		return p.floorDivInt(n)
	}
	return floorAtom(p, q)
}

func floorAtom(p, q poly) (poly, bool) {
	a := &atom{op: opFloor, args: []poly{p, q}}
	a.text = "floor(" + p.dividendText() + "/" + q.divisorText() + ")"
	return a.checked()
}

// cancel divides p and q by what all of their terms have in common.
func cancel(p, q poly) (poly, poly) {
	all := slices.Concat(p, q)
	c, m := int64(0), all[0].m
	for _, t := range all {
		c = gcd(c, t.c)
		m = m.common(t.m)
	}
	reduce := func(p poly) poly {
		r := slices.Clone(p)
		for i, t := range p {
			rest, _ := t.m.over(m)
			r[i] = term{t.c / c, rest}
		}
		return r
	}
	return reduce(p), reduce(q)
}

// common returns the greatest monomial that divides both.
func (m monomial) common(n monomial) monomial {
	var out monomial
	for _, f := range m {
		for _, g := range n {
			if f.text == g.text {
				out = append(out, factor{f.atom, min(f.power, g.power)})
			}
		}
	}
	return out
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return max(a, -a)
}

// floorDivInt returns floor(p/n) for n > 0. Multiples of n come out of the
// floor, what then remains is divided by what its coefficients share with n:
//
//	floor((n*a + r)/n)     = a + floor(r/n)
//	floor((g*s + c)/(g*k)) = floor((s + floor(c/g))/k)
func (p poly) floorDivInt(n int64) (poly, bool) {
	var whole, rest []term
	g := n
	for _, t := range p {
		k := floorInt(t.c, n)
		whole = append(whole, term{k, t.m})
		if r := t.c - k*n; r != 0 {
			rest = append(rest, term{r, t.m})
			if len(t.m) > 0 {
				g = gcd(g, r)
			}
		}
	}
	a, ok := normal(whole)
	if !ok {
		return nil, false
	}
	r := poly(rest)
	if _, isConst := r.constant(); isConst {
		return a, true // 0 <= r < n
	}
	for i := range r {
		r[i].c = floorInt(r[i].c, g)
	}
	if r, ok = normal(r); !ok {
		return nil, false
	}
	f, ok := r.floorOf(n / g)
	if !ok {
		return nil, false
	}
	return a.plus(f)
}

// floorOf returns floor(p/n) where coefficients share nothing with n, and
// joins nested divisions: floor((floor(a/b) + c)/n) = floor((a + b*c)/(b*n)).
func (p poly) floorOf(n int64) (poly, bool) {
	if n == 1 {
		return p, true
	}
	first := p[0]
	inner := len(first.m) == 1 && first.c == 1 && first.m[0].power == 1 && first.m[0].op == opFloor
	if _, isConst := p[1:].constant(); !inner || !isConst {
		return floorAtom(p, constant(n))
	}
	a, q := first.m[0].args[0], first.m[0].args[1]
	b, ok := q.constant()
	if !ok {
		return floorAtom(p, constant(n))
	}
	shift, ok1 := mulInt(b, p.constantTerm())
	bn, ok2 := mulInt(b, n)
	if sum, ok := a.plus(constant(shift)); ok && ok1 && ok2 {
		return sum.floorDivInt(bn)
	}
	return nil, false
}

func floorInt(a, b int64) int64 {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}

// extremum returns the least or greatest of polynomials. Arguments that
// differ by a constant, or that bounds of symbols decide between, are one.
func extremum(op symOp, args []poly) (poly, bool) {
	var kept []poly
	for _, p := range flatten(op, args) {
		kept = slices.DeleteFunc(kept, func(q poly) bool { return precedes(op, p, q) })
		if !slices.ContainsFunc(kept, func(q poly) bool { return precedes(op, q, p) }) {
			kept = append(kept, p)
		}
	}
	if len(kept) == 1 {
		return kept[0], true
	}
	slices.SortFunc(kept, func(p, q poly) int { return cmp.Compare(p.text(), q.text()) })
	texts := make([]string, len(kept))
	for i, p := range kept {
		texts[i] = p.text()
	}
	a := &atom{op: op, args: kept, text: op.String() + "(" + strings.Join(texts, ", ") + ")"}
	return a.checked()
}

// flatten puts the arguments of an argument that is the same function in its
// place.
func flatten(op symOp, args []poly) []poly {
	var out []poly
	for _, p := range args {
		if len(p) == 1 && p[0].c == 1 && len(p[0].m) == 1 && p[0].m[0].power == 1 && p[0].m[0].op == op {
			out = append(out, p[0].m[0].args...)
			continue
		}
		out = append(out, p)
	}
	return out
}

// precedes reports whether p is never greater (opMin) or never less (opMax)
// than q.
func precedes(op symOp, p, q poly) bool {
	if op == opMax {
		p, q = q, p
	}
	if d, ok := q.minus(p); ok && d.atLeastZero() {
		return true
	}
	n, isConst := q.constant() // slices end at 2^31-1 or more to mean "all"
	return isConst && n >= math.MaxInt32 && len(p) == 1 && p[0].c == 1 && len(p[0].m) == 1 &&
		p[0].m[0].op == opSymbol && p[0].m[0].power == 1
}

// atLeastZero reports whether p has no negative part.
func (p poly) atLeastZero() bool {
	for _, t := range p {
		if t.c < 0 {
			return false
		}
		for _, f := range t.m {
			if !f.atLeastZero() {
				return false
			}
		}
	}
	return true
}

func (a *atom) atLeastZero() bool {
	if a.op == opMax {
		return slices.ContainsFunc(a.args, poly.atLeastZero)
	}
	for _, p := range a.args {
		if !p.atLeastZero() {
			return false
		}
	}
	return true
}

func (p poly) symbols(names *[]string) {
	for _, t := range p {
		for _, f := range t.m {
			if f.op == opSymbol {
				*names = append(*names, f.name)
			}
			for _, q := range f.args {
				q.symbols(names)
			}
		}
	}
}

func (p poly) subst(values map[string]Dim) (poly, bool) {
	var sum poly
	for _, t := range p {
		product := constant(t.c)
		for _, f := range t.m {
			x, ok := f.subst(values)
			for range f.power {
				if ok {
					product, ok = product.times(x)
				}
			}
			if !ok {
				return nil, false
			}
		}
		var ok bool
		if sum, ok = sum.plus(product); !ok {
			return nil, false
		}
	}
	return sum, true
}

func (a *atom) subst(values map[string]Dim) (poly, bool) {
	if a.op == opSymbol {
		if d, ok := values[a.name]; ok {
			return d.poly()
		}
		return a.poly(), true
	}
	args := make([]poly, len(a.args))
	for i, p := range a.args {
		var ok bool
		if args[i], ok = p.subst(values); !ok {
			return nil, false
		}
	}
	if a.op == opFloor {
		return args[0].floorDiv(args[1])
	}
	return extremum(a.op, args)
}

func (op symOp) String() string {
	return [...]string{opSymbol: "symbol", opFloor: "floor", opMin: "min", opMax: "max"}[op]
}

// topText returns the text of a whole dimension, where a symbol of any name
// stands for itself if it cannot be read as an expression.
func (p poly) topText() string {
	if len(p) == 1 && p[0].c == 1 && len(p[0].m) == 1 && p[0].m[0].power == 1 && p[0].m[0].op == opSymbol {
		if name := p[0].m[0].name; parseSym(name).text() == p.text() {
			return name
		}
	}
	return p.text()
}

func (p poly) text() string {
	if len(p) == 0 {
		return "0"
	}
	var b strings.Builder
	for i, t := range p {
		switch {
		case i == 0 && t.c < 0:
			b.WriteString("-")
		case i > 0 && t.c < 0:
			b.WriteString(" - ")
		case i > 0:
			b.WriteString(" + ")
		}
		t.c = max(t.c, -t.c)
		b.WriteString(t.text())
	}
	return b.String()
}

// text returns the text of a term with a positive coefficient.
func (t term) text() string {
	var parts []string
	if t.c != 1 || len(t.m) == 0 {
		parts = append(parts, strconv.FormatInt(t.c, 10))
	}
	for _, f := range t.m {
		s := f.text
		if f.power > 1 {
			s += "**" + strconv.Itoa(f.power)
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, "*")
}

func (p poly) dividendText() string {
	if len(p) > 1 {
		return "(" + p.text() + ")"
	}
	return p.text()
}

func (p poly) divisorText() string {
	if len(p) > 1 || len(p[0].m) > 1 || len(p[0].m) == 1 && p[0].c != 1 {
		return "(" + p.text() + ")"
	}
	return p.text()
}
