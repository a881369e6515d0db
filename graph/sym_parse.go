package graph

import (
	"strconv"
	"strings"
)

// parseSym reads the text of a dim_param: an expression of
//
//   - - * / // % **  ( )  floor(x) ceil(x) min(x, …) max(x, …) mod(x, y)
//
// over integers and symbols, where a name that is not made of letters,
// digits, "_" and "." stands in single quotes. A division that leaves a
// remainder outside floor and ceil rounds down. Any other text is a symbol.
func parseSym(text string) poly {
	if isSymName(text) || len(text) > maxSymText {
		return symbolPoly(text)
	}
	p := symParser{text: text}
	r := p.sum(0)
	p.space()
	q, ok := r.floor()
	if p.failed || p.at < len(text) || !ok {
		return symbolPoly(text)
	}
	return q
}

func isSymName(s string) bool {
	if s == "" || !isLetter(s[0]) {
		return false
	}
	for i := range len(s) {
		if !isLetter(s[i]) && !isDigit(s[i]) && s[i] != '.' {
			return false
		}
	}
	return true
}

func isLetter(c byte) bool { return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }

// ratio is num/den, a polynomial divided by one.
type ratio struct{ num, den poly }

func (r ratio) floor() (poly, bool) {
	if r.den == nil {
		return nil, false
	}
	return r.num.floorDiv(r.den)
}

func (r ratio) ceil() (poly, bool) { return r.num.ceilDiv(r.den) }

type symParser struct {
	text   string
	at     int
	failed bool
}

// maxSymDepth bounds the nesting of an expression.
const maxSymDepth = 32

func (p *symParser) space() {
	for p.at < len(p.text) && p.text[p.at] == ' ' {
		p.at++
	}
}

// accept consumes the token if it is next.
func (p *symParser) accept(token string) bool {
	p.space()
	if p.failed || !strings.HasPrefix(p.text[p.at:], token) {
		return false
	}
	p.at += len(token)
	return true
}

func (p *symParser) fail() ratio {
	p.failed = true
	return ratio{}
}

// whole wraps the result of an operation on polynomials.
func (p *symParser) whole(q poly, ok bool) ratio {
	if !ok {
		return p.fail()
	}
	return ratio{q, constant(1)}
}

func (p *symParser) sum(depth int) ratio {
	r := p.product(depth)
	for !p.failed {
		switch {
		case p.accept("+"):
			r = p.add(r, p.product(depth))
		case p.accept("-"):
			s := p.product(depth)
			s.num = s.num.negated()
			r = p.add(r, s)
		default:
			return r
		}
	}
	return r
}

func (p *symParser) add(r, s ratio) ratio {
	a, ok1 := r.num.times(s.den)
	b, ok2 := s.num.times(r.den)
	d, ok3 := r.den.times(s.den)
	n, ok4 := a.plus(b)
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return p.fail()
	}
	return ratio{n, d}
}

func (p *symParser) product(depth int) ratio {
	r := p.unary(depth)
	for !p.failed {
		switch {
		case p.accept("//"):
			r = p.whole(p.divide(r, p.unary(depth)).floor())
		case p.accept("/"):
			r = p.divide(r, p.unary(depth))
		case p.accept("*"):
			s := p.unary(depth)
			r = p.divide(r, ratio{s.den, s.num})
		case p.accept("%"):
			r = p.modulo(r, p.unary(depth))
		default:
			return r
		}
	}
	return r
}

// divide returns r/s; a product is a division by the inverse, whose
// denominator may be zero.
func (p *symParser) divide(r, s ratio) ratio {
	n, ok1 := r.num.times(s.den)
	d, ok2 := r.den.times(s.num)
	if !ok1 || !ok2 {
		return p.fail()
	}
	return ratio{n, d}
}

func (p *symParser) modulo(r, s ratio) ratio {
	a, ok1 := r.floor()
	b, ok2 := s.floor()
	if !ok1 || !ok2 {
		return p.fail()
	}
	return p.whole(a.mod(b))
}

func (p *symParser) unary(depth int) ratio {
	if depth > maxSymDepth {
		return p.fail()
	}
	if p.accept("-") {
		r := p.unary(depth + 1)
		r.num = r.num.negated()
		return r
	}
	r := p.primary(depth)
	if !p.accept("**") && !p.accept("^") {
		return r
	}
	n, ok := p.integer()
	if !ok || n > 16 {
		return p.fail()
	}
	out := ratio{constant(1), constant(1)}
	for range n {
		out = p.divide(out, ratio{r.den, r.num})
	}
	return out
}

func (p *symParser) integer() (int64, bool) {
	p.space()
	from := p.at
	for p.at < len(p.text) && isDigit(p.text[p.at]) {
		p.at++
	}
	n, err := strconv.ParseInt(p.text[from:p.at], 10, 64)
	return n, err == nil
}

func (p *symParser) primary(depth int) ratio {
	p.space()
	if p.failed || p.at >= len(p.text) {
		return p.fail()
	}
	switch c := p.text[p.at]; {
	case isDigit(c):
		n, ok := p.integer()
		return p.whole(constant(n), ok)
	case c == '\'':
		return p.quoted()
	case p.accept("("):
		r := p.sum(depth + 1)
		if !p.accept(")") {
			return p.fail()
		}
		return r
	case isLetter(c):
		return p.name(depth)
	}
	return p.fail()
}

func (p *symParser) quoted() ratio {
	var name strings.Builder
	for p.at++; p.at < len(p.text); p.at++ {
		if p.text[p.at] == '\'' {
			p.at++
			if p.at >= len(p.text) || p.text[p.at] != '\'' {
				return p.whole(symbolPoly(name.String()), true)
			}
		}
		name.WriteByte(p.text[p.at])
	}
	return p.fail()
}

// name reads a symbol, or a function with its arguments.
func (p *symParser) name(depth int) ratio {
	from := p.at
	for p.at < len(p.text) && (isLetter(p.text[p.at]) || isDigit(p.text[p.at]) || p.text[p.at] == '.') {
		p.at++
	}
	name := p.text[from:p.at]
	if !p.accept("(") {
		return p.whole(symbolPoly(name), true)
	}
	args := []ratio{p.sum(depth + 1)}
	for p.accept(",") {
		args = append(args, p.sum(depth+1))
	}
	if p.failed || !p.accept(")") {
		return p.fail()
	}
	return p.call(strings.ToLower(name), args)
}

func (p *symParser) call(name string, args []ratio) ratio {
	switch {
	case name == "floor" && len(args) == 1:
		return p.whole(args[0].floor())
	case (name == "ceil" || name == "ceiling") && len(args) == 1:
		return p.whole(args[0].ceil())
	case name == "mod" && len(args) == 2:
		return p.modulo(args[0], args[1])
	case name == "min" || name == "max":
		polys := make([]poly, len(args))
		for i, a := range args {
			q, ok := a.floor()
			if !ok {
				return p.fail()
			}
			polys[i] = q
		}
		return p.whole(extremum(map[string]symOp{"min": opMin, "max": opMax}[name], polys))
	}
	return p.fail()
}
