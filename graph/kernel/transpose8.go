package kernel

import "encoding/binary"

// TransposeBytes writes dst[c*ldd+r] = src[r*lds+c] for rows x cols bytes, by
// squares of eight.
func TransposeBytes(dst []uint8, ldd int, src []uint8, lds, rows, cols int) {
	r := 0
	for ; r+8 <= rows; r += 8 {
		c := 0
		for ; c+8 <= cols; c += 8 {
			transposeSquare(dst[c*ldd+r:], ldd, src[r*lds+c:], lds)
		}
		transposeRest(dst[r:], ldd, src[r*lds:], lds, 8, c, cols)
	}
	if r < rows {
		transposeRest(dst[r:], ldd, src[r*lds:], lds, rows-r, 0, cols)
	}
}

// transposeRest transposes the columns from and after the given one.
func transposeRest(dst []uint8, ldd int, src []uint8, lds, rows, from, cols int) {
	for c := from; c < cols; c++ {
		for r := range rows {
			dst[c*ldd+r] = src[r*lds+c]
		}
	}
}

// transposeSquare transposes 8x8 bytes, a row in a word, by exchanging the
// quarters of a square, of these, and of these (Hacker's Delight, 7-3).
func transposeSquare(dst []uint8, ldd int, src []uint8, lds int) {
	load := func(r int) uint64 { return binary.LittleEndian.Uint64(src[r*lds:]) }
	r0, r4 := exchange(load(0), load(4), 32, 0x00000000ffffffff)
	r1, r5 := exchange(load(1), load(5), 32, 0x00000000ffffffff)
	r2, r6 := exchange(load(2), load(6), 32, 0x00000000ffffffff)
	r3, r7 := exchange(load(3), load(7), 32, 0x00000000ffffffff)

	r0, r2 = exchange(r0, r2, 16, 0x0000ffff0000ffff)
	r1, r3 = exchange(r1, r3, 16, 0x0000ffff0000ffff)
	r4, r6 = exchange(r4, r6, 16, 0x0000ffff0000ffff)
	r5, r7 = exchange(r5, r7, 16, 0x0000ffff0000ffff)

	r0, r1 = exchange(r0, r1, 8, 0x00ff00ff00ff00ff)
	r2, r3 = exchange(r2, r3, 8, 0x00ff00ff00ff00ff)
	r4, r5 = exchange(r4, r5, 8, 0x00ff00ff00ff00ff)
	r6, r7 = exchange(r6, r7, 8, 0x00ff00ff00ff00ff)

	store := func(c int, w uint64) { binary.LittleEndian.PutUint64(dst[c*ldd:], w) }
	store(0, r0)
	store(1, r1)
	store(2, r2)
	store(3, r3)
	store(4, r4)
	store(5, r5)
	store(6, r6)
	store(7, r7)
}

// exchange swaps the high fields of a with the low ones of b; mask has the low
// fields, of the given number of bits.
func exchange(a, b uint64, bits int, mask uint64) (uint64, uint64) {
	return a&mask | b&mask<<bits, a>>bits&mask | b&^mask
}
