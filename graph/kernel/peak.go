package kernel

// peakF32 runs multiply-accumulates on eight independent sums.
func peakF32(rounds int) int {
	var sums [8]float32
	a, b := float32(rounds), float32(1)/3
	for range rounds {
		for i := range sums {
			sums[i] = float32(sums[i]*b) + a
		}
	}
	if sums[0] != sums[0] {
		return 0
	}
	return rounds * len(sums)
}

// peakI8 is the same of bytes.
func peakI8(rounds int) int {
	var sums [8]int32
	a, b := uint8(rounds), int8(rounds>>8)
	for range rounds {
		for i := range sums {
			sums[i] += int32(a) * int32(b)
		}
		a, b = a+3, b+5
	}
	if sums[0] == 1 {
		return 0
	}
	return rounds * len(sums)
}
