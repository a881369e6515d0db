package tensor

import (
	"math"
	"sync"
)

// minifloat describes a binary floating-point format of at most 16 bits: a
// sign, exp bits of exponent and man bits of fraction, with subnormals.
type minifloat struct {
	exp, man int
	bias     int
	max      uint16 // largest finite code
	inf      uint16 // code of +infinity, 0 if there is none
	nan      uint16 // code of NaN, 0 if there is none
	unsigned bool   // NaN is the code of -0, so there is no negative zero
}

// The formats of ONNX (docs/docs/float8.md, float4 and the IEEE ones).
var minifloats = [maxDType + 1]*minifloat{
	Float16:        {exp: 5, man: 10, bias: 15, max: 0x7bff, inf: 0x7c00, nan: 0x7e00},
	BFloat16:       {exp: 8, man: 7, bias: 127, max: 0x7f7f, inf: 0x7f80, nan: 0x7fc0},
	Float8E4M3FN:   {exp: 4, man: 3, bias: 7, max: 0x7e, nan: 0x7f},
	Float8E4M3FNUZ: {exp: 4, man: 3, bias: 8, max: 0x7f, nan: 0x80, unsigned: true},
	Float8E5M2:     {exp: 5, man: 2, bias: 15, max: 0x7b, inf: 0x7c, nan: 0x7f},
	Float8E5M2FNUZ: {exp: 5, man: 2, bias: 16, max: 0x7f, nan: 0x80, unsigned: true},
	Float4E2M1:     {exp: 2, man: 1, bias: 1, max: 0x7},
}

// encode rounds x to the format, to nearest with ties to even. Beyond the
// largest finite value it gives that value if saturate is set or the format
// has neither infinity nor NaN, else infinity, else NaN.
func (f *minifloat) encode(x float64, saturate bool) uint16 {
	sign := uint16(math.Float64bits(x)>>63) << (f.exp + f.man)
	if x != x {
		if f.unsigned {
			return f.nan
		}
		return sign | f.nan
	}
	code := f.magnitude(math.Abs(x))
	if code > f.max {
		code = f.overflow(saturate)
	}
	if f.unsigned && (code == 0 || code == f.nan) {
		return code
	}
	return sign | code
}

// magnitude returns the code nearest to x >= 0, as if the exponent had no
// end. With q = x/2^(e-man) rounded, x lying in the binade of e, the codes of
// a binade follow those of the one below: code = (e-min)*2^man + q.
func (f *minifloat) magnitude(x float64) uint16 {
	lowest := 1 - f.bias
	e := int(math.Float64bits(x)>>52) - 1023
	if e > f.bias+1 {
		return math.MaxUint16
	}
	e = max(e, lowest)
	scale := math.Float64frombits(uint64(1023+f.man-e) << 52)
	q := math.RoundToEven(x * scale)
	return uint16((e-lowest)<<f.man) + uint16(q)
}

func (f *minifloat) overflow(saturate bool) uint16 {
	switch {
	case saturate || f.inf == 0 && f.nan == 0:
		return f.max
	case f.inf != 0:
		return f.inf
	}
	return f.nan
}

// decode returns the value of a code.
func (f *minifloat) decode(code uint16) float32 {
	signBit := uint16(1) << (f.exp + f.man)
	mag := code &^ signBit
	var x float64
	switch {
	case f.unsigned && code == f.nan:
		return float32(math.NaN())
	case f.inf != 0 && mag == f.inf:
		x = math.Inf(1)
	case mag > f.max:
		x = math.NaN()
	default:
		e, m := int(mag>>f.man), int(mag&(1<<f.man-1))
		if e == 0 {
			e = 1
		} else {
			m |= 1 << f.man
		}
		x = math.Ldexp(float64(m), e-f.bias-f.man)
	}
	if code&signBit != 0 {
		x = -x
	}
	return float32(x)
}

// Float16 and float8 values, by code.
var (
	half   = sync.OnceValue(func() []float32 { return decodeAll(Float16, 1<<16) })
	minis8 = sync.OnceValue(func() *[maxDType + 1][]float32 {
		var tables [maxDType + 1][]float32
		for _, d := range []DType{Float8E4M3FN, Float8E4M3FNUZ, Float8E5M2, Float8E5M2FNUZ} {
			tables[d] = decodeAll(d, 1<<8)
		}
		tables[Float4E2M1] = decodeAll(Float4E2M1, 1<<4)
		tables[Float8E8M0] = make([]float32, 1<<8)
		for i := range tables[Float8E8M0] {
			tables[Float8E8M0][i] = E8M0ToFloat32(uint8(i))
		}
		return &tables
	})
)

func decodeAll(d DType, n int) []float32 {
	t := make([]float32, n)
	for i := range t {
		t[i] = minifloats[d].decode(uint16(i))
	}
	return t
}

// HalfToFloat32 returns the value of a Float16 bit pattern.
func HalfToFloat32(h uint16) float32 { return half()[h] }

// Float32ToHalf rounds x to Float16, to nearest even; beyond its range it
// gives infinity.
func Float32ToHalf(x float32) uint16 {
	b := math.Float32bits(x)
	sign := uint16(b>>16) & 0x8000
	mag := b & 0x7fffffff
	switch {
	case mag > 0x7f800000:
		return sign | 0x7e00
	case mag >= 0x477ff000: // rounds to 2^16 or more
		return sign | 0x7c00
	case mag >= 0x38800000: // normal: drop 13 bits of fraction, rebias by 112
		mag += 0xfff + mag>>13&1
		return sign | uint16(mag>>13-112<<10)
	}
	// Subnormal: adding 0.5 leaves the code, in units of 2^-24, in the fraction.
	return sign | uint16(math.Float32bits(math.Float32frombits(mag)+0.5)-0x3f000000)
}

// BFloat16ToFloat32 returns the value of a BFloat16 bit pattern.
func BFloat16ToFloat32(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// Float32ToBFloat16 rounds x to BFloat16, to nearest even.
func Float32ToBFloat16(x float32) uint16 {
	b := math.Float32bits(x)
	if x != x {
		return uint16(b>>16)&0x8000 | 0x7fc0
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// MiniFloats returns the values of all codes of an eight- or four-bit float
// type, nil for another type. The caller does not change them.
func MiniFloats(d DType) []float32 {
	if d > maxDType {
		return nil
	}
	return minis8()[d]
}

// Rounding says how a value becomes a power of two (Float8E8M0).
type Rounding uint8

// The ways of rounding to Float8E8M0, ONNX's round_mode.
const (
	RoundUp      Rounding = iota // to the power of two not below
	RoundDown                    // to the power of two not above
	RoundNearest                 // to the nearest, ties up
)

// ParseRounding returns the rounding that ONNX calls "up", "down" or
// "nearest".
func ParseRounding(s string) (Rounding, bool) {
	switch s {
	case "up":
		return RoundUp, true
	case "down":
		return RoundDown, true
	case "nearest":
		return RoundNearest, true
	}
	return 0, false
}

// E8M0ToFloat32 returns the value 2^(code-127); 255 is NaN.
func E8M0ToFloat32(code uint8) float32 {
	switch code {
	case 255:
		return float32(math.NaN())
	case 0:
		return 0x1p-127
	}
	return math.Float32frombits(uint32(code) << 23)
}

// Float32ToE8M0 rounds |x| to a power of two. Infinity and NaN give NaN; what
// is rounded above 2^127 gives 2^127 if saturate is set, else NaN.
func Float32ToE8M0(x float32, saturate bool, r Rounding) uint8 {
	b := math.Float32bits(x)
	e, frac := b>>23&0xff, b&0x7fffff
	if e == 255 {
		return 255
	}
	up := false
	switch r {
	case RoundUp:
		up = frac != 0
	case RoundNearest:
		up = frac > 0x400000 || frac == 0x400000 && e > 0
	}
	if up && !(saturate && e == 254) {
		e++
	}
	return uint8(e)
}
