package main

// elementwise emits the kernels that compute each element by itself.
func elementwise(s isa) func(*file) {
	return func(f *file) {
		m := newVector(f, s)
		if s.lanes == 8 {
			f.maskTable()
		}
		m.arithmetic()
		m.activations()
		m.scalars()
		m.matrices()
		m.end()
	}
}

const (
	unary = "dst, src []float32"
	zip   = "dst, a, b []float32"
)

func (m *vector) arithmetic() {
	for _, op := range []struct{ stem, opcode, sign string }{
		{"add_f32", "VADDPS", "+"}, {"sub_f32", "VSUBPS", "-"}, {"mul_f32", "VMULPS", "*"}, {"div_f32", "VDIVPS", "/"},
	} {
		m.zip(op.stem, "dst[i] = a[i] "+op.sign+" b[i].", func(a, b v) v { return m.op2(op.opcode, b, a) })
	}
	m.zip("max_f32", "dst[i] = max(a[i], b[i]).", func(a, b v) v {
		return m.choose(unordered, a, a, a, m.maxOf(a, b))
	})
	m.zip("min_f32", "dst[i] = min(a[i], b[i]).", func(a, b v) v {
		return m.choose(unordered, a, a, a, m.minOf(a, b))
	})
}

func (m *vector) activations() {
	for _, fn := range []struct {
		stem, doc string
		of        func(v) v
		together  int // vectors that 32 registers hold
	}{
		{"exp_f32", "dst[i] = e^src[i].", m.exp, 4},
		{"log_f32", "dst[i] = ln src[i].", m.log, 1},
		{"tanh_f32", "dst[i] = tanh(src[i]).", m.tanh, 2},
		{"sigmoid_f32", "dst[i] = 1/(1+e^-src[i]).", m.sigmoid, 4},
		{"erf_f32", "dst[i] = erf(src[i]).", m.erf, 2},
		{"gelu_f32", "dst[i] = src[i]/2 * (1+erf(src[i]/sqrt 2)).", m.gelu, 2},
		{"gelutanh_f32", "dst[i] = x/2 * (1+tanh(sqrt(2/pi) * (x+0.044715x^3))) for x = src[i].", m.geluTanh, 4},
		{"silu_f32", "dst[i] = src[i] / (1+e^-src[i]).", m.silu, 4},
		{"hardswish_f32", "dst[i] = src[i] * clamp(src[i]/6+1/2, 0, 1).", m.hardSwish, 4},
		{"sqrt_f32", "dst[i] = sqrt(src[i]).", func(x v) v { return m.op1("VSQRTPS", x) }, 4},
	} {
		if m.lanes < 16 {
			fn.together = 1
		}
		m.unary(fn.stem, unary, fn.doc, fn.together, fn.of)
	}
}

// scalars emits the kernels that have scalar arguments, which are broadcast
// before the loop.
func (m *vector) scalars() {
	var p, q v
	withScalars := func(stem, params, doc string, of func(x v) v, names ...string) {
		m.kernel(stem, params, doc)
		p = m.scalar(names[0])
		if len(names) > 1 {
			q = m.scalar(names[1])
		}
		m.mapRow("src", 4, of)
	}
	withScalars("clamp_f32", "dst, src []float32, lo, hi float32", "dst[i] = min(max(src[i], lo), hi), keeping NaN.",
		func(x v) v { return m.minOf(q, m.maxOf(p, x)) }, "lo", "hi")
	withScalars("leakyrelu_f32", "dst, src []float32, slope float32", "dst[i] = src[i], times slope where negative.",
		func(x v) v { return m.choose(less, x, m.constant(0), m.mul(x, p), x) }, "slope")
	withScalars("hardsigmoid_f32", "dst, src []float32, alpha, beta float32", "dst[i] = clamp(alpha*src[i]+beta, 0, 1).",
		func(x v) v { return m.unit(m.fma(x, p, q)) }, "alpha", "beta")
	withScalars("addscalar_f32", "dst, src []float32, c float32", "dst[i] = src[i] + c.",
		func(x v) v { return m.add(x, p) }, "c")
	withScalars("mulscalar_f32", "dst, src []float32, c float32", "dst[i] = src[i] * c.",
		func(x v) v { return m.mul(x, p) }, "c")
	withScalars("normalize_f32", "dst, src []float32, mean, inv float32", "dst[i] = (src[i]-mean) * inv.",
		func(x v) v { return m.mul(m.sub(x, p), q) }, "mean", "inv")
	m.axpy()
	m.normalizeScaled()
}

func (m *vector) unary(stem, params, doc string, unroll int, of func(v) v) {
	m.kernel(stem, params, doc)
	m.mapRow("src", unroll, of)
}

// mapRow emits dst[i] = of(source[i]) and the end of the function.
func (m *vector) mapRow(source string, unroll int, of func(v) v) {
	dst, src, n := m.slice("dst", 4), m.slice(source, 4), m.length("dst")
	m.row(n, unroll, []cursor{dst, src}, func(vectors int, t *tail) {
		m.interleave(vectors, func(i int) {
			m.store(of(m.load(at(src, i*m.bytes()), t)), at(dst, i*m.bytes()), t)
		})
	})
	m.done()
}

func (m *vector) zip(stem, doc string, of func(a, b v) v) {
	m.kernel(stem, zip, doc)
	dst, a, b, n := m.slice("dst", 4), m.slice("a", 4), m.slice("b", 4), m.length("dst")
	m.row(n, 4, []cursor{dst, a, b}, func(vectors int, t *tail) {
		for i := range vectors {
			o := i * m.bytes()
			m.store(of(m.load(at(a, o), t), m.load(at(b, o), t)), at(dst, o), t)
		}
	})
	m.done()
}

func (m *vector) axpy() {
	m.kernel("axpy_f32", "dst, x []float32, a float32", "dst[i] += a * x[i].")
	a := m.scalar("a")
	dst, x, n := m.slice("dst", 4), m.slice("x", 4), m.length("dst")
	m.row(n, 4, []cursor{dst, x}, func(vectors int, t *tail) {
		for i := range vectors {
			o := i * m.bytes()
			m.store(m.fma(m.load(at(x, o), t), a, m.load(at(dst, o), t)), at(dst, o), t)
		}
	})
	m.done()
}

// normalizeScaled emits the last step of a layer normalization.
func (m *vector) normalizeScaled() {
	m.kernel("normalizescaled_f32", "dst, src, gamma []float32, mean, inv float32",
		"dst[i] = (src[i]-mean) * inv * gamma[i].")
	m.normalizeRow(false)
	m.kernel("normalizeaffine_f32", "dst, src, gamma, beta []float32, mean, inv float32",
		"dst[i] = (src[i]-mean) * inv * gamma[i] + beta[i].")
	m.normalizeRow(true)
}

func (m *vector) normalizeRow(shifted bool) {
	mean, inv := m.scalar("mean"), m.scalar("inv")
	dst, src, gamma, n := m.slice("dst", 4), m.slice("src", 4), m.slice("gamma", 4), m.length("dst")
	cursors := []cursor{dst, src, gamma}
	var beta cursor
	if shifted {
		beta = m.slice("beta", 4)
		cursors = append(cursors, beta)
	}
	m.row(n, 2, cursors, func(vectors int, t *tail) {
		for i := range vectors {
			o := i * m.bytes()
			y := m.mul(m.sub(m.load(at(src, o), t), mean), inv)
			if shifted {
				y = m.fma(y, m.load(at(gamma, o), t), m.load(at(beta, o), t))
			} else {
				y = m.mul(y, m.load(at(gamma, o), t))
			}
			m.store(y, at(dst, o), t)
		}
	})
	m.done()
}
