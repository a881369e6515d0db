package kernel

func lookup(dst, src []uint8, table *[256]uint8) {
	for i, v := range src[:len(dst)] {
		dst[i] = table[v]
	}
}

func maxU8(dst, a, b []uint8) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i, v := range a {
		dst[i] = max(v, b[i])
	}
}

func maxS8(dst, a, b []uint8) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i, v := range a {
		dst[i] = uint8(max(int8(v), int8(b[i])))
	}
}

func countU8(dst []int32, src []uint8) {
	for i, v := range src[:len(dst)] {
		dst[i] += int32(v)
	}
}
