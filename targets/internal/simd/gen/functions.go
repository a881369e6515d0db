package main

import "math"

// exp is e^x: n = round(x/ln 2) and r = x - n ln 2 give 2^n * e^r, with
// e^r = 1 + r + r^2 q(r). The ends of the range of x are those beyond which the
// result is zero or infinite anyway.
func (m *vector) exp(x v) v {
	x = m.atLeast(m.atMost(x, 89), -104)
	n := m.round(m.mulK(x, math.Log2E))
	r := m.fmaMulK(n, -0.693359375, x)
	r = m.fmaMulK(n, 2.12194440e-4, r)
	q := m.polynomial(r, []float64{
		0.4999999403953552, 0.16666515171527863, 0.04166845604777336, 0.008369418792426586, 0.0013813142431899905,
	})
	p := m.addK(m.fma(q, m.mul(r, r), r), 1)
	return m.scale(p, n)
}

// scale is p * 2^n for n within the exponents of subnormal numbers too.
func (m *vector) scale(p, n v) v {
	if m.lanes == 16 {
		return m.op2("VSCALEFPS", n, p)
	}
	whole := m.op1("VCVTPS2DQ", n)
	half := m.shiftSigned(whole, 1)
	return m.mul(m.mul(p, m.power(half)), m.power(m.subInt(whole, half)))
}

// power is 2^n for an integer n within the exponents of normal numbers.
func (m *vector) power(n v) v { return m.shiftLeft(m.addIntK(n, 127), 23) }

// log is ln x: x = 2^e * (1+r) with 1+r in [sqrt(1/2), sqrt 2), and
// ln(1+r) = r - r^2/2 + r^3 q(r). Subnormal x is scaled up first.
func (m *vector) log(x v) v {
	small := m.constant(0x1p-126)
	scaled := m.choose(less, x, small, m.mulK(x, 0x1p25), x)
	bias := m.choose(less, x, small, m.constant(-25), m.constant(0))
	bits := m.addIntK(scaled, 0x3f800000-0x3f3504f3)
	e := m.add(m.op1("VCVTDQ2PS", m.addIntK(m.shiftSigned(bits, 23), ^uint32(126))), bias)
	r := m.addK(m.addIntK(m.andK(bits, 0x7fffff), 0x3f3504f3), -1)
	q := m.polynomial(r, []float64{
		0.3333333134651184, -0.250008225440979, 0.20001226663589478, -0.16623356938362122,
		0.14201761782169342, -0.131601944565773, 0.12761549651622772, -0.07634429633617401,
	})
	square := m.mul(r, r)
	y := m.fmaMulK(e, 2.12194440e-4*-1, m.mul(m.mul(q, r), square))
	y = m.fmaMulK(square, -0.5, y)
	y = m.fmaMulK(e, 0.693359375, m.add(r, y))
	infinity := m.constant(math.Inf(1))
	y = m.choose(less, x, infinity, y, x) // +Inf and NaN
	zero := m.constant(0)
	y = m.choose(less, zero, x, y, m.constant(math.Inf(-1)))
	y = m.choose(less, x, zero, m.constant(math.NaN()), y)
	return m.choose(unordered, x, x, x, y)
}

// tanh is an odd polynomial below 0.6 and 1 - 2/(e^2x + 1) above.
func (m *vector) tanh(x v) v {
	a := m.abs(x)
	square := m.mul(x, x)
	q := m.polynomial(square, []float64{
		-0.3333325982093811, 0.1333083063364029, -0.05368802323937416, 0.02046942338347435, -0.005515167023986578,
	})
	low := m.fma(m.mul(q, square), x, x)
	high := m.sub(m.constant(1), m.div(m.constant(2), m.onePlusExp(m.mulK(a, -2))))
	return m.choose(less, a, m.constant(0.6), low, m.or(high, m.sign(x)))
}

// sigmoid is 1/(1+e^-x): where the power overflows the quotient is zero.
func (m *vector) sigmoid(x v) v { return m.div(m.constant(1), m.onePlusExp(x)) }

// onePlusExp is 1+e^-x, infinite where the power is as good as that.
func (m *vector) onePlusExp(x v) v {
	p, power := m.expNegative(x)
	return m.fmaK(p, power, 1)
}

// expNegative gives p and a power of two whose product is e^-x: n = round(-x/ln 2)
// and s = x + n ln 2 give p = e^-s and 2^n. It is shorter than exp, since it
// knows no subnormal results: below about -88 the power is infinite, above 87 it
// stays. Adding shift rounds n to an integer, which then stands, biased as an
// exponent is, in the low bits of the sum.
func (m *vector) expNegative(x v) (p, power v) {
	const shift = 3<<22 + 127
	x = m.atLeast(m.atMost(x, 87.3), -88.6)
	biased := m.fmaMulK(x, -math.Log2E, m.constant(shift))
	n := m.addK(biased, -shift)
	s := m.fmaMulK(n, 0.693359375, x)
	s = m.fmaMulK(n, -2.12194440e-4, s)
	p = m.polynomial(s, []float64{
		1, -1, 0.5000000596046448, -0.16666364669799805, 0.04166477173566818, -0.008379058912396431, 0.0014061422552913427,
	})
	return p, m.shiftLeft(biased, 23)
}

// erf is an odd polynomial below 1 and 1 - e^-q(|x|) above.
func (m *vector) erf(x v) v {
	square := m.mul(x, x)
	p := m.polynomial(square, []float64{
		0.12837916612625122, -0.3761262595653534, 0.1128358542919159, -0.026853814721107483,
		0.005188333801925182, -0.0008010242017917335, 7.854008435970172e-05,
	})
	low := m.fma(p, x, x)
	a := m.atMost(m.abs(x), 4.1)
	q := m.polynomial(a, []float64{
		0.00034151188447140157, 1.127089262008667, 0.6381447315216064, 0.10310682654380798,
		-0.021838098764419556, 0.0029476673807948828, -0.0001863801444415003,
	})
	power, scale := m.expNegative(q)
	high := m.sub(m.constant(1), m.mul(power, scale))
	return m.choose(less, a, m.constant(1), low, m.or(high, m.sign(x)))
}

func (m *vector) gelu(x v) v {
	e := m.erf(m.mulK(x, math.Sqrt2/2))
	half := m.mulK(x, 0.5)
	return m.fma(half, e, half)
}

// geluTanh is x*sigmoid(2u), which equals x/2*(1+tanh u).
func (m *vector) geluTanh(x v) v {
	slope := m.fmaK(m.mul(x, x), m.constant(2*math.Sqrt(2/math.Pi)*0.044715), 2*math.Sqrt(2/math.Pi))
	return m.div(x, m.onePlusExp(m.mul(x, slope)))
}

func (m *vector) silu(x v) v { return m.div(x, m.onePlusExp(x)) }

func (m *vector) hardSwish(x v) v {
	return m.mul(x, m.unit(m.fmaK(x, m.constant(1.0/6), 0.5)))
}

// unit limits x to [0, 1].
func (m *vector) unit(x v) v { return m.atMost(m.atLeast(x, 0), 1) }
