package kernel

import "math"

func quantizeU8(dst []uint8, src []float32, scale float32, zero uint8) {
	for i, v := range src[:len(dst)] {
		dst[i] = uint8(quantized(v, scale, int32(zero), 0, math.MaxUint8))
	}
}

func quantizeS8(dst []int8, src []float32, scale float32, zero int8) {
	for i, v := range src[:len(dst)] {
		dst[i] = int8(quantized(v, scale, int32(zero), math.MinInt8, math.MaxInt8))
	}
}

// quantized is round(v/scale)+zero within [lo, hi]; the clamp comes before the
// rounding so that no conversion overflows.
func quantized(v, scale float32, zero, lo, hi int32) int32 {
	q := v / scale
	if q != q {
		return lo
	}
	q = clamp(q, float32(lo-zero), float32(hi-zero))
	return int32(math.RoundToEven(float64(q))) + zero
}

func dequantizeU8(dst []float32, src []uint8, scale float32, zero uint8) {
	for i, v := range src[:len(dst)] {
		dst[i] = float32(int32(v)-int32(zero)) * scale
	}
}

func dequantizeS8(dst []float32, src []int8, scale float32, zero int8) {
	for i, v := range src[:len(dst)] {
		dst[i] = float32(int32(v)-int32(zero)) * scale
	}
}

func f16ToF32(dst []float32, src []uint16) {
	for i, h := range src[:len(dst)] {
		dst[i] = fromF16(h)
	}
}

// fromF16 widens a half float: 5 bits of exponent, 10 of fraction. NaN keeps
// its payload and becomes quiet.
func fromF16(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exponent, fraction := uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch {
	case exponent == 0x1f && fraction != 0:
		return math.Float32frombits(sign | 0x7fc00000 | fraction<<13)
	case exponent == 0x1f:
		return math.Float32frombits(sign | 0x7f800000)
	case exponent == 0:
		v := float32(fraction) * (1.0 / (1 << 24))
		return math.Float32frombits(sign | math.Float32bits(v))
	}
	return math.Float32frombits(sign | (exponent+112)<<23 | fraction<<13)
}

func f32ToF16(dst []uint16, src []float32) {
	for i, v := range src[:len(dst)] {
		dst[i] = toF16(v)
	}
}

// toF16 narrows to a half float. Adding 2^(e+13), where e is the exponent of
// the result's last place, makes the adder round at that place.
func toF16(v float32) uint16 {
	bits := math.Float32bits(v)
	sign := uint16(bits >> 16 & 0x8000)
	abs := bits & 0x7fffffff
	switch {
	case abs > 0x7f800000:
		return sign | 0x7e00 | uint16(abs>>13&0x3ff)
	case abs >= 0x477ff000:
		return sign | 0x7c00
	case abs < 0x38800000:
		const magic = 0.5 // its last place is 2^-24, that of subnormal halves
		return sign | uint16(math.Float32bits(math.Float32frombits(abs)+magic)-math.Float32bits(magic))
	}
	odd := abs >> 13 & 1
	return sign | uint16((abs+0xfff+odd-112<<23)>>13)
}

func bf16ToF32(dst []float32, src []uint16) {
	for i, h := range src[:len(dst)] {
		dst[i] = fromBF16(h)
	}
}

func fromBF16(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

func f32ToBF16(dst []uint16, src []float32) {
	for i, v := range src[:len(dst)] {
		dst[i] = toBF16(v)
	}
}

func toBF16(v float32) uint16 {
	bits := math.Float32bits(v)
	if v != v {
		return uint16(bits>>16) | 0x40
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}
